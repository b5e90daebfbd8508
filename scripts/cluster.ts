import fs from 'node:fs';
import { type Socket, connect, createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Child, start } from '../packages/server/test/crash-child.ts';
import { findNatsServer, startNats } from '../packages/server/test/nats.ts';
import { openTestPostgres } from '../packages/server/test/postgres.ts';
import { startS3 } from '../packages/server/test/s3.ts';

// `npm run cluster`: several nodes on one machine, for trying. What they stand on is started here, and is gone at the end with all
// that was written.

interface Node {
  child: Child;
  port: number;
}

const { values } = parseArgs({ options: { port: { type: 'string', default: process.env['PORT'] ?? '3000' }, nodes: { type: 'string', default: '3' } } });
const port = Number(values.port);
const url = `http://localhost:${port}`;
const main = path.join(import.meta.dirname, '../packages/server/src/main.ts');
const say = (text: string): void => void process.stdout.write(text);

if (findNatsServer() === undefined) {
  process.stderr.write('There is no nats-server: install it, or have an apt-get that can download it.\n');
  process.exit(1);
}
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-cluster-'));
const [postgres, nats, store] = await Promise.all([openTestPostgres({ fsync: true }), startNats(), startS3()]);
const { s3Endpoint, s3Bucket, s3AccessKey, s3SecretKey } = store.config;
const files = { KITH_S3_ENDPOINT: s3Endpoint, KITH_S3_BUCKET: s3Bucket, KITH_S3_ACCESS_KEY: s3AccessKey, KITH_S3_SECRET_KEY: s3SecretKey };
const env = { ...process.env, ...files, KITH_DATABASE: postgres.url, KITH_NATS: nats.url, KITH_PUBLIC_URL: url, KITH_TRYING: 'on' };

const nodes: Node[] = [];
let setup: string | undefined;
// One after the other: each start makes a new link for the operator's account, and the last one counts.
for (let at = 1; at <= Number(values.nodes); at += 1) {
  const child = start(process.execPath, [main, '--host', '127.0.0.1', '--port', '0', '--data', path.join(folder, `node-${at}`)], { env });
  const lines: string[] = [];
  do lines.push(await child.line());
  while (lines.at(-1) !== '' || !lines.some((line) => line.includes(' is at ')));
  const listening = lines.find((line) => line.includes('"listening"'))!;
  nodes.push({ child, port: (JSON.parse(listening) as { port: number }).port });
  setup = lines.flatMap((line) => /http\S+\/setup#\S+/.exec(line)?.[0] ?? [])[0] ?? setup;
  void child.ended.then((how) => say(`  Node ${at} has ended (${how}).\n`));
}

let next = 0;
const balancer = createServer((near) => join(near, nodes.length));
balancer.listen(port, '127.0.0.1', () => {
  say(`\n  ${nodes.length} nodes are at ${url}: ${nodes.map(({ child }) => `process ${child.process.pid}`).join(', ')}.\n`);
  if (setup !== undefined) say(`  Make the operator's account, within an hour: ${setup}\n`);
  say(`  PostgreSQL is at ${postgres.url}, NATS at ${nats.url}, files at ${s3Endpoint!}. Ctrl+C ends all, and nothing is kept.\n\n`);
});
balancer.once('error', (error) => void stop(error.message));

/** To the next node that takes connections. */
function join(near: Socket, left: number): void {
  const far = connect(nodes[(next += 1) % nodes.length]!.port, '127.0.0.1');
  near.on('error', () => far.destroy());
  far.once('connect', () => near.pipe(far).pipe(near));
  far.once('error', () => {
    if (far.bytesRead > 0 || far.bytesWritten > 0 || left === 0) near.destroy();
    else join(near, left - 1);
  });
  far.once('close', () => far.bytesRead > 0 && near.destroy());
}

let stopping = false;
async function stop(why?: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  balancer.close();
  for (const { child } of nodes) child.process.kill('SIGTERM');
  await Promise.all(nodes.map(({ child }) => child.ended));
  await Promise.all([postgres.close(), nats.close(), store.close()]);
  fs.rmSync(folder, { recursive: true, force: true });
  if (why !== undefined) process.stderr.write(`${why}\n`);
  process.exit(why === undefined ? 0 : 1);
}
process.on('SIGTERM', () => void stop());
process.on('SIGINT', () => void stop());
