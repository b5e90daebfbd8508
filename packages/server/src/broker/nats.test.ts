import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type TestNats, findNatsServer, startNats } from '../../test/nats.ts';
import { openProxy } from '../../test/proxy.ts';
import { openLog } from '../log.ts';
import { openMetrics } from '../metrics.ts';
import { type Broker, BrokerError } from './broker.ts';
import { describeBroker } from './broker.contract.ts';
import { openNats } from './nats.ts';

const parts = { log: openLog({ logLevel: 'silent' }), metrics: openMetrics() };
const program = findNatsServer();
if (program === undefined) console.warn('NOT RUN: everything about NATS needs nats-server on PATH, or apt-get');

describe.skipIf(program === undefined)('NATS', () => {
  let nats: TestNats;
  beforeAll(async () => {
    nats = await startNats();
  });
  afterAll(() => nats.close());

  const underTest = async () => {
    const proxy = await openProxy(() => nats.port);
    const nodes = new Map<Broker, string>();
    let settled = 0;
    return {
      async open() {
        const name = `node ${nodes.size}`;
        const node = await openNats({ url: `nats://127.0.0.1:${proxy.port}`, node: name, patienceMs: 1_500 }, parts);
        nodes.set(node, name);
        return node;
      },
      async settle() {
        // Whoever has an answer to this has sent all before, and then got all before.
        for (let round = 0; round < 2; round++) for (const node of nodes.keys()) await node.follow([`conversation:settled ${(settled += 1)}`]);
      },
      outage: {
        async begin() {
          proxy.refuse(true);
          proxy.cut();
        },
        async end() {
          proxy.refuse(false);
        },
      },
      nameOf: (node: Broker) => nodes.get(node)!,
      async close() {
        await Promise.all([...nodes.keys()].map((node) => node.close()));
        await proxy.close();
      },
    };
  };
  describeBroker('NATS', underTest, { between: true });

  test('[BK7] a server that swallows everything is found, and what was lost there is told of when it answers again', async () => {
    const proxy = await openProxy(() => nats.port);
    const node = await openNats({ url: `nats://127.0.0.1:${proxy.port}`, node: 'one' }, parts);
    onTestFinished(async () => {
      await node.close();
      await proxy.close();
    });
    proxy.stall(true);
    await expect.poll(() => node.reaches([])).toBe(false);
    const told = new Promise<void>((resolve) => node.onInterrupted(resolve));
    proxy.stall(false);
    await told;
    await expect.poll(() => node.reaches([])).toBe(true);
  });

  test('[BK10] a node that was cut off alone makes the others compare heads when it is back: they have not heard what it published', async () => {
    const proxy = await openProxy(() => nats.port);
    const cutOff = await openNats({ url: `nats://127.0.0.1:${proxy.port}`, node: 'cut off' }, parts);
    const other = await openNats({ url: nats.url, node: 'other' }, parts);
    onTestFinished(async () => {
      await Promise.all([cutOff.close(), other.close()]);
      await proxy.close();
    });
    await expect.poll(() => other.reaches(['cut off'])).toBe(true);
    proxy.refuse(true);
    proxy.cut();
    await expect.poll(() => other.reaches(['cut off'])).toBe(false);
    let told = 0;
    other.onInterrupted(() => (told += 1));
    proxy.refuse(false);
    await expect.poll(() => told).toBe(1);
    await expect.poll(() => other.reaches(['cut off'])).toBe(true);
  });

  test('[BK8] a node opens while no server is there, and follows with the first that comes', async () => {
    const late = await startNats();
    onTestFinished(() => late.close());
    await late.kill();
    // The second of the list, the first is never there.
    const [node, other] = await Promise.all(['one', 'two'].map((name) => openNats({ url: `nats://127.0.0.1:1,nats://127.0.0.1:${late.port}`, node: name }, parts)));
    onTestFinished(async () => void (await Promise.all([node!.close(), other!.close()])));
    await node!.follow(['conversation:one']);
    const got: unknown[] = [];
    node!.onPublication((publication) => got.push(publication));
    expect(node!.reaches([])).toBe(false);
    await late.start();
    await expect.poll(() => node!.reaches(['two']) && other!.reaches(['one'])).toBe(true);
    other!.publish({ kind: 'signal', topic: 'conversation:one', frame: 'ring' });
    await expect.poll(() => got).toEqual([{ kind: 'signal', topic: 'conversation:one', frame: 'ring' }]);
  });

  describe('a server with a lock', () => {
    let folder: string;
    let guarded: TestNats;
    beforeAll(async () => {
      folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-nats-'));
      const openssl = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
      const made = spawnSync('openssl', [...openssl, '-addext', 'subjectAltName=DNS:localhost', '-keyout', 'key.pem', '-out', 'cert.pem'], { cwd: folder, encoding: 'utf8' });
      if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`);
      const file = path.join(folder, 'nats.conf');
      fs.writeFileSync(file, `authorization { user: kith, password: "s p/ce" }\ntls { cert_file: "${folder}/cert.pem", key_file: "${folder}/key.pem" }\n`);
      guarded = await startNats(['-c', file]);
    });
    afterAll(async () => {
      await guarded.close();
      fs.rmSync(folder, { recursive: true });
    });

    const open = async (user: string, more: { ca?: string } = {}): Promise<boolean> => {
      const node = await openNats({ url: `tls://${user}localhost:${guarded.port}`, node: 'one', ...more }, parts);
      try {
        return node.reaches([]);
      } finally {
        await node.close();
      }
    };

    test('[BK9] opens to the right user by TLS, and refuses a wrong password and an unknown certificate in words, without the password', async () => {
      const ca = path.join(folder, 'cert.pem');
      expect(await open('kith:s%20p%2Fce@', { ca })).toBe(true);
      for (const [user, more] of [
        ['kith:wr0ng-word@', { ca }],
        ['', { ca }],
        ['kith:s%20p%2Fce@', {}],
      ] as const) {
        const refused: unknown = await open(user, more).catch((error: unknown) => error);
        expect(refused).toBeInstanceOf(BrokerError);
        expect((refused as Error).message).toMatch(/^NATS refuses this node: .*(authorization|certificate|authentication)/i);
        expect((refused as Error).message).not.toContain('wr0ng-word');
      }
    });

    test('[BK9] a server without TLS is refused where the URL asks for it', async () => {
      const refused: unknown = await openNats({ url: `tls://127.0.0.1:${nats.port}`, node: 'one' }, parts).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(BrokerError);
      expect((refused as Error).message).toMatch(/tls/i);
    });
  });
});
