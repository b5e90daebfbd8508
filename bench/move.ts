import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { createTestDatabase, openTestPostgres } from '../packages/server/test/postgres.ts';
import { fill } from './growth.ts';
import type { Bench, Figure, Outcome, Scenario } from './lib/bench.ts';
import { type Program, startKith } from './lib/programs.ts';
import { Wire } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'Moving: a server with 10⁶ messages (--messages) to PostgreSQL and back while people write, as kith migrate does it.',
  run: (bench) => move(bench, Number(bench.options['messages'] ?? (bench.small ? 10_000 : 1_000_000))),
};

/** Messages a second meanwhile. */
const perSecond = 50;
const text = 'x'.repeat(120);

async function move(bench: Bench, messages: number): Promise<Outcome> {
  const postgres = await openTestPostgres({ fsync: true });
  try {
    const { url } = await createTestDatabase(postgres.url);
    const [first, second, files] = [bench.folder('before'), bench.folder('after'), bench.folder('files')];
    const { people, conversations } = await fill(first, messages);
    const places = conversations.slice(0, 40).map(({ id, member }) => ({ id, token: people[member]!.token }));
    const figures: Figure[] = [];
    for (const { name, start, args } of [
      { name: 'to PostgreSQL', start: () => startKith(bench, first), args: ['--from', first, '--to', url] },
      { name: 'back', start: () => startKith(bench, files, { env: { KITH_DATABASE: url } }), args: ['--from', url, '--to', second] },
    ]) {
      const program = await start();
      const load = await write(program, places);
      const moved = await kith(['migrate', ...args, '--data', files], bench.say);
      load.stop();
      await program.stop();
      const verified = await kith(['migrate', 'verify', ...args, '--data', files], () => {});
      if (moved.code !== 0 || verified.code !== 0) throw new Error(`${name}: not equal`);
      const held = Number(/Nobody could write for ([\d.]+) s/.exec(moved.out)![1]);
      bench.say(`  ${name}: ${moved.seconds.toFixed(0)} s, nobody could write for ${held} s; ${/✓ (messages: .*)/.exec(verified.out)![1]}; ${load.acked()} written meanwhile`);
      figures.push(
        { name: `${name}: all of it`, unit: 's', values: [moved.seconds] },
        { name: `${name}: nobody can write`, unit: 's', values: [held], atMost: 180, of: 'kith' },
        { name: `${name}: written meanwhile`, unit: 'messages', values: [load.acked()] },
        { name: `${name}: verified anew`, unit: 's', values: [verified.seconds] },
      );
    }
    return {
      figures,
      notes: [
        `${messages} messages, ${people.length} people; ${perSecond} messages a second meanwhile; PostgreSQL with fsync on the same machine. Equal by count and hash of every table, both ways.`,
      ],
    };
  } finally {
    await postgres.close();
  }
}

/** People who write. */
async function write(program: Program, places: { id: string; token: string }[]): Promise<{ acked: () => number; stop: () => void }> {
  const wires = await Promise.all(
    places.map(async ({ id, token }) => {
      const wire = new Wire({ port: program.port });
      await wire.hello(token);
      return { wire, id };
    }),
  );
  let [acked, next] = [0, 0];
  const send = (clientId: string): void => {
    const { wire, id } = wires[next++ % wires.length]!;
    if (!wire.isOpen) return;
    wire.callThen(`m${next}`, 'message.send', { conversationId: id, clientId, type: 'text', text }, (reply) => {
      if (!reply.includes('"error"')) acked += 1;
    });
  };
  const timer = setInterval(() => send(randomUUID()), 1_000 / perSecond);
  return {
    acked: () => acked,
    stop() {
      clearInterval(timer);
      for (const { wire } of wires) wire.destroy();
    },
  };
}

/** `kith …` as an operator runs it. */
async function kith(args: string[], say: (line: string) => void): Promise<{ code: number | null; out: string; seconds: number }> {
  const began = performance.now();
  const child = spawn(process.execPath, [path.resolve(import.meta.dirname, '../packages/server/src/main.ts'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
    for (const line of chunk.split('\n')) if (line !== '') say(`  ${line}`);
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, out, seconds: (performance.now() - began) / 1_000 };
}
