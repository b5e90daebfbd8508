import { isDeepStrictEqual } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import { type Entity, type StreamId, entityKey } from '@kith/protocol';
import { Client, type ClientOptions } from '../src/client.ts';
import { FakeClock, settle } from './fake-clock.ts';
import { ModelServer } from './model-server.ts';

/** A model server, a clock, and a client of them that is not started. */
export function setUp(options: Partial<ClientOptions> = {}): { clock: FakeClock; server: ModelServer; client: Client } {
  const clock = new FakeClock();
  const server = new ModelServer(clock);
  return { clock, server, client: connectTo(server, options) };
}

export function connectTo(server: ModelServer, options: Partial<ClientOptions> = {}): Client {
  const client = new Client({ url: 'http://chat.test', token: 't', WebSocket: server.WebSocket, clock: server.clock, random: () => 0.5, ...options });
  onTestFinished(() => client.stop());
  return client;
}

/** Started, connected, in step. */
export async function ready(client: Client): Promise<void> {
  await client.start();
  for (let n = 0; n < 20 && client.connection.at !== 'ready'; n++) await settle();
  expect(client.connection.at).toBe('ready');
}

/** What of the server's rows is not held, or held otherwise; only old messages may be missing. */
export function differences(client: Client, server: ModelServer, streams: Iterable<StreamId> = server.heads.keys()): { server: Entity; held: Entity | undefined }[] {
  const found: { server: Entity; held: Entity | undefined }[] = [];
  for (const stream of streams) {
    const lowest = Math.max(...server.of(stream).map((row) => (row.kind === 'message' ? row.seq : 0))) - server.snapshotMessages + 1;
    for (const row of server.of(stream)) {
      const held = client.store.get(row.kind, ...entityKey(row).split('/').slice(1));
      if (row.kind === 'message' && row.seq < lowest && !held) continue;
      if (!isDeepStrictEqual(held, row)) found.push({ server: row, held });
    }
  }
  return found;
}

export const texts = (items: readonly { text: string }[]): string[] => items.map((item) => item.text);
