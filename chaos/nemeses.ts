import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { WebSocket } from 'ws';
import { canInject, runScript, start } from '../packages/server/test/crash-child.ts';
import type { ServerProcess } from '../packages/server/test/crash-server.ts';
import { post } from '../packages/server/test/api.ts';
import { backUpAndCompare } from './backups.ts';
import type { Bounds } from './checker.ts';
import type { LoadOptions } from './load.ts';
import type { Stage } from './stage.ts';
import { lookAtFiles, sendFiles } from './uploads.ts';

// Those who break things: one each for a fault of the list in docs/trust.md.

export interface Nemesis {
  /** What it does, in words. */
  what: string;
  /** Only with this database. Default: either. */
  only?: 'sqlite' | 'postgres';
  /** @returns what is missing here for it, in words; undefined: nothing */
  missing?(): string | undefined;
  /** A place of its own for the data, instead of a plain folder. */
  folder?(folder: string): Promise<{ path: string; release(): Promise<void> }>;
  env?: NodeJS.ProcessEnv;
  load?: Partial<LoadOptions>;
  bounds?: Partial<Bounds>;
  /** Whether something was committed, the server itself may not know meanwhile: then it tells nobody, and heads do. */
  losesPushes?: true;
  /** Lines of the server's log that it must expect. */
  expected?: RegExp;
  act(stage: Stage): Promise<void>;
  /** Looks once more when all has come to rest. */
  after?(stage: Stage): Promise<void>;
}

const isRoot = process.getuid?.() === 0;
const has = (program: string): boolean => spawnSync(program, ['-V'], { stdio: 'ignore' }).error === undefined;
const needs =
  (...conditions: [boolean, string][]) =>
  () =>
    conditions.find(([met]) => !met)?.[1];
const linux = [process.platform === 'linux', 'Linux'] as [boolean, string];
const root = [isRoot, 'root, for mounts'] as [boolean, string];

export const nemeses = {
  none: {
    what: 'nothing at all: what is wrong then is wrong by itself',
    act: (stage) => stage.rest(),
  },

  kill: {
    what: 'N1: kill -9 of the server, again and again, at any moment',
    async act(stage) {
      // However slow the machine is, some kills there are.
      for (let kills = 0; stage.goesOn(kills, stage.database === undefined ? 10 : 4, 40); kills += 1) {
        await stage.wait(50, 1_000, [3_000, 8_000]);
        await stage.restart((server) => server.kill());
      }
    },
  },

  power: {
    what: 'N2: a power cut: what was not flushed to the disk is lost',
    only: 'sqlite',
    missing: needs(linux, root, [canMount(), 'loop devices'], [has('mkfs.ext4'), 'mkfs.ext4 (package e2fsprogs)']),
    folder: (folder) => mountImage(folder),
    async act(stage) {
      for (let cuts = 0; stage.goesOn(cuts, 2, 20); cuts += 1) {
        await stage.wait(300, 2_500, [300, 8_000]);
        await stage.restart(async (server) => {
          const mounted = path.dirname(stage.data);
          await server.kill();
          // What the kernel has not written to the image yet is in its memory alone, and gone with the power: the copy is
          // the disk as it is now. Unmounting would write all of it.
          must('cp', '--sparse=always', `${mounted}.image`, `${mounted}.copy`);
          must('umount', mounted);
          must('mv', `${mounted}.copy`, `${mounted}.image`);
          must('mount', '-o', 'loop', `${mounted}.image`, mounted);
        });
      }
    },
  },

  postgres: {
    what: 'N3: every connection to PostgreSQL is cut, again and again',
    only: 'postgres',
    losesPushes: true,
    expected: /database|connection|commit outcome unknown/i,
    async act(stage) {
      const beside = new pg.Client(stage.database);
      await beside.connect();
      for (let cuts = 0; stage.goesOn(cuts, 4, 15); cuts += 1) {
        await stage.wait(100, 1_500, [1_000, 8_000]);
        stage.fault('connections are cut', true);
        await beside.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()');
        stage.fault('connections may be made again', false);
      }
      await beside.end();
    },
  },

  stop: {
    what: 'N4: stops in good order under load, now and then with a second signal',
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 2, 20); turn += 1) {
        await stage.wait(300, 2_000, [2_000, 6_000]);
        const twice = turn % 3 === 1;
        await stage.restart(async (server) => {
          const asked = performance.now();
          server.process.kill('SIGTERM');
          if (twice) {
            await pause(20);
            server.process.kill('SIGTERM');
          }
          const end = await server.ended;
          if (!twice && end !== 0) stage.wrong(`asked to stop, the server ended with ${end}`);
          if (performance.now() - asked > 10_000) stage.wrong('asked to stop, the server took more than 10 s');
        }, !twice);
      }
    },
  },

  full: {
    what: 'N5: a disk that is full, for some time, again and again',
    only: 'sqlite',
    missing: needs(linux, root, [canMount(), 'mounts']),
    folder: (folder) => mountMemory(folder, 96),
    bounds: { growthMiB: 300 },
    async act(stage) {
      const ballast = path.join(path.dirname(stage.data), 'ballast');
      for (let times = 0; stage.goesOn(times, 2, 5); times += 1) {
        await stage.wait(300, 1_000, [5_000, 10_000]);
        stage.fault('the disk is full', true);
        fill(ballast);
        await stage.wait(500, 2_000, [5_000, 20_000]);
        fs.rmSync(ballast);
        stage.fault('there is room', false);
        await stage.wait(200, 500);
        if (stage.server().process.exitCode !== null) stage.wrong('a full disk ended the server');
      }
    },
  },

  sync: {
    what: 'N6: a disk whose syncs fail; nothing may be acked that was not synced',
    only: 'sqlite',
    missing: needs(linux, [canInject(), 'strace']),
    async act(stage) {
      for (let times = 0; stage.goesOn(times, 1, 20); times += 1) {
        await stage.wait(300, 1_000, [2_000, 6_000]);
        await stage.restart(async (server) => {
          const tracer = inject(server, 'fsync,fdatasync', 'error=EIO');
          const end = await Promise.race([server.ended, pause(15_000, 'still there')]);
          if (end !== 1) stage.wrong(`after a failed sync the server ended not with 1: ${end}`);
          await server.kill();
          await tracer.ended;
        });
      }
    },
  },

  slow: {
    what: 'N6: a disk that takes half a second for every sync',
    only: 'sqlite',
    missing: needs(linux, [canInject(), 'strace']),
    async act(stage) {
      stage.fault('syncs are slow', true);
      const tracer = inject(stage.server(), 'fsync,fdatasync', 'delay_enter=500ms');
      await stage.rest();
      tracer.process.kill('SIGINT');
      await tracer.ended;
      stage.fault('syncs are quick', false);
    },
  },

  locked: {
    what: 'N7: another program holds the database; a second server on the same folder',
    only: 'sqlite',
    async act(stage) {
      while (stage.goesOn()) {
        await stage.wait(200, 800);
        stage.fault('another program holds the database', true);
        const holder = runScript(
          `import { DatabaseSync } from 'node:sqlite';
           const db = new DatabaseSync(process.argv[1]);
           db.exec('pragma busy_timeout = 5000; begin immediate');
           console.log('held');
           process.stdin.once('data', () => { db.exec('rollback'); db.close(); process.exit(0); });`,
          [path.join(stage.data, 'kith.db')],
        );
        await holder.line();
        await stage.wait(500, 2_500);
        holder.process.stdin!.write('\n');
        await holder.ended;
        stage.fault('nobody holds it', false);
        const second = start(process.execPath, [path.join(import.meta.dirname, '../packages/server/src/main.ts'), '--port', '0', '--data', stage.data]);
        const end = await second.ended;
        if (end === 0) stage.wrong('a second server started on the same folder');
      }
    },
  },

  readers: {
    what: 'N10: connections that never read, in the busiest conversations',
    bounds: { growthMiB: 300, growthFiles: 60 },
    async act(stage) {
      stage.fault('some read nothing', true);
      const { token } = await post(stage.server().url, 'auth.login', { handle: 'p0', password: 'correct horse battery' });
      const stalled: WebSocket[] = [];
      for (let index = 0; index < 15; index += 1) {
        const socket = new WebSocket(`${stage.server().url.replace('http', 'ws')}/ws`, { headers: { authorization: `Bearer ${token}` } });
        socket.on('error', () => {});
        await once(socket, 'open');
        socket.send(JSON.stringify({ id: '1', method: 'hello', params: {} }));
        await once(socket, 'message');
        socket.pause();
        stalled.push(socket);
      }
      await stage.rest();
      for (const socket of stalled) socket.terminate();
      stage.fault('everybody reads', false);
    },
  },

  network: {
    what: 'N12: a network that swallows everything for some seconds, and connections that end without a word',
    async act(stage) {
      while (stage.goesOn()) {
        await stage.wait(300, 1_500);
        stage.fault('the network swallows everything', true);
        stage.proxy.stall(true);
        await stage.wait(500, 4_000);
        if (stage.random() < 0.5) stage.proxy.cut();
        stage.proxy.stall(false);
        stage.fault('the network is back', false);
      }
    },
  },

  sleep: {
    what: 'N12: laptops that are closed for a while, all at once',
    bounds: { leakMs: 30_000 },
    async act(stage) {
      while (stage.goesOn()) {
        await stage.wait(500, 1_500);
        stage.fault('everybody sleeps', true);
        stage.people().process.kill('SIGSTOP');
        await stage.wait(1_000, 5_000);
        stage.people().process.kill('SIGCONT');
        stage.fault('everybody is awake', false);
      }
    },
  },

  retries: {
    what: 'N13: every send goes out up to five times, while connections drop',
    load: { copies: 5, drops: 5 },
    act: (stage) => stage.rest(),
  },

  members: {
    what: 'N14: people are removed and let in again all the time',
    load: { changes: 20, drops: 1 },
    act: (stage) => stage.rest(),
  },

  clock: {
    what: 'N15: the clock of the server jumps hours, a day and a year, back and ahead',
    missing: needs(linux, [fakeTime() !== undefined, 'libfaketime (package faketime)']),
    get env() {
      const library = fakeTime();
      return library ? { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: clockFile, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' } : {};
    },
    async folder(folder) {
      fs.writeFileSync(clockFile, '+0\n');
      return { path: path.join(folder, 'data'), release: async () => fs.rmSync(clockFile, { force: true }) };
    },
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 2); turn += 1) {
        await stage.wait(300, 1_200);
        fs.writeFileSync(clockFile, `${['-1h', '+1h', '+0', '-1y', '+1d'][turn % 5]}\n`);
      }
      fs.writeFileSync(clockFile, '+0\n');
    },
  },

  storm: {
    what: 'N16: all connections are dropped at once, again and again, and nobody waits before coming back',
    load: { people: 40, rate: 40 },
    bounds: { growthMiB: 300 },
    async act(stage) {
      while (stage.goesOn()) {
        await stage.wait(500, 2_500);
        stage.fault('everybody is dropped', true);
        stage.proxy.cut();
        stage.fault('everybody may come back', false);
      }
    },
  },

  uploads: {
    what: 'N17: uploads that are cut at any byte and gone on with, everything asked for twice, and kills in between',
    async act(stage) {
      const sent = await sendFiles(stage);
      await lookAtFiles(stage, sent);
    },
  },

  backup: {
    what: 'N18: backups while people write, each of them restored and compared',
    only: 'sqlite',
    load: { drops: 0.5 },
    act: backUpAndCompare,
  },

  memory: {
    what: 'N19: little memory, and people who page through everything',
    env: { NODE_OPTIONS: '--max-old-space-size=96' },
    bounds: { growthMiB: 300 },
    async act(stage) {
      const { url } = stage.server();
      const { token } = await post(url, 'auth.login', { handle: 'p0', password: 'correct horse battery' });
      const { entities } = await post(url, 'stream.snapshot', { stream: await ownStream(url, token!) }, token);
      const conversations = entities.flatMap((entity) => (entity.kind === 'inbox' ? [entity.conversationId] : []));
      const reader = async (): Promise<void> => {
        while (stage.goesOn()) {
          for (const conversationId of conversations) {
            await post(url, 'message.history', { conversationId, limit: 100, before: 1 + Math.floor(stage.random() * 2_000) }, token).catch(() => undefined);
            if (!stage.goesOn()) return;
          }
        }
      };
      await Promise.all(Array.from({ length: 12 }, reader));
      if (stage.server().process.exitCode !== null) stage.wrong('paging through everything ended the server');
    },
  },

  stall: {
    what: 'N20: the process of the server stands still for seconds; nobody may be taken for dead because of it',
    env: { KITH_HEARTBEAT_MS: '1000' },
    async act(stage) {
      while (stage.goesOn()) {
        await stage.wait(500, 1_500);
        stage.fault('the server stands still', true);
        stage.server().process.kill('SIGSTOP');
        await stage.wait(1_000, 2_500);
        stage.server().process.kill('SIGCONT');
        stage.fault('the server goes on', false);
      }
    },
  },

  garbage: {
    what: 'hostile peers: bytes that are no frames and frames that are no requests, beside everybody else',
    async act(stage) {
      stage.fault('hostile peers', true);
      while (stage.goesOn()) {
        await throwGarbage(stage);
        await pause(20);
      }
      stage.fault('they are gone', false);
    },
  },

  mixed: {
    what: 'N21: kills, a bad network, sleepers and a server that stands still, in any order',
    load: { changes: 2, copies: 2, drops: 1 },
    bounds: { leakMs: 15_000 },
    async act(stage) {
      const acts = [
        () => stage.restart((server) => server.kill()),
        () => stage.restart(async (server) => void server.process.kill('SIGTERM')),
        async () => stage.proxy.cut((index) => index % 2 === 0),
        async () => {
          stage.fault('the network swallows everything', true);
          stage.proxy.stall(true);
          await stage.wait(200, 2_000);
          stage.proxy.stall(false);
          stage.fault('the network is back', false);
        },
        async () => {
          stage.fault('the server stands still', true);
          stage.server().process.kill('SIGSTOP');
          await stage.wait(200, 1_500);
          stage.server().process.kill('SIGCONT');
          stage.fault('the server goes on', false);
        },
        () => throwGarbage(stage),
        // A quarter of the time nothing is broken.
        () => stage.wait(1_000, 2_000),
      ];
      while (stage.goesOn()) {
        await acts[Math.floor(stage.random() * acts.length)]!();
        await stage.wait(100, 600);
      }
    },
  },
} satisfies Record<string, Nemesis> as Record<string, Nemesis>;

async function ownStream(url: string, token: string): Promise<`user:${string}`> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`);
  await once(socket, 'open');
  socket.send(JSON.stringify({ id: '1', method: 'hello', params: { token } }));
  const [bytes] = (await once(socket, 'message')) as [Buffer];
  socket.terminate();
  return `user:${(JSON.parse(bytes.toString()) as { result: { user: { id: string } } }).result.user.id}`;
}

/** One peer that knows no manners, for a moment. */
async function throwGarbage({ server, random }: Stage): Promise<void> {
  const { hostname, port } = new URL(server().url);
  const socket = net.connect(Number(port), hostname);
  socket.on('error', () => {});
  const bytes = Buffer.from(Array.from({ length: 1 + Math.floor(random() * 4_000) }, () => Math.floor(random() * 256)));
  const upgrade =
    'GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';
  const first = random() < 0.7 ? upgrade.replace('Host: 127.0.0.1', `Host: ${hostname}:${port}`) : '';
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.write(first);
    socket.write(bytes);
    setTimeout(() => socket.resetAndDestroy(), 5 + random() * 100);
  });
}

/** The system calls of a process fail, or take long, from here on. */
function inject(server: ServerProcess, calls: string, how: string) {
  return start('strace', ['-f', '-o', '/dev/null', '-e', `trace=${calls}`, '-e', `inject=${calls}:${how}`, '-p', String(server.process.pid)]);
}

const clockFile = path.join(fs.realpathSync('/tmp'), `kith-chaos-clock-${process.pid}`);

function fakeTime(): string | undefined {
  return ['/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1'].find((file) => fs.existsSync(file));
}

function must(command: string, ...args: string[]): void {
  const done = spawnSync(command, args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${done.stderr || done.error?.message}`);
}

/** May this process mount something? Tried, because containers differ. */
function canMount(): boolean {
  if (process.platform !== 'linux' || !isRoot) return false;
  const folder = fs.mkdtempSync('/tmp/kith-mount-');
  const done = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
  if (done.status === 0) spawnSync('umount', [folder]);
  fs.rmdirSync(folder);
  return done.status === 0;
}

async function mountMemory(folder: string, mebibytes: number): Promise<{ path: string; release(): Promise<void> }> {
  const mounted = path.join(folder, 'disk');
  fs.mkdirSync(mounted);
  must('mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', mounted);
  return { path: path.join(mounted, 'data'), release: async () => must('umount', mounted) };
}

async function mountImage(folder: string): Promise<{ path: string; release(): Promise<void> }> {
  const mounted = path.join(folder, 'disk');
  const image = `${mounted}.image`;
  fs.mkdirSync(mounted);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, 96 * 1_048_576);
  must('mkfs.ext4', '-q', '-F', image);
  must('mount', '-o', 'loop', image, mounted);
  return { path: path.join(mounted, 'data'), release: async () => void spawnSync('umount', [mounted]) };
}

/** Takes all the room that is left. */
function fill(file: string): void {
  const handle = fs.openSync(file, 'w');
  const chunk = Buffer.alloc(65_536);
  try {
    for (;;) fs.writeSync(handle, chunk);
  } catch {
    // Full, which is what was wanted.
  } finally {
    fs.closeSync(handle);
  }
}
