import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { WebSocket } from 'ws';
import { type Child, canInject, runScript, start } from '../packages/server/test/crash-child.ts';
import type { ServerProcess } from '../packages/server/test/crash-server.ts';
import { openProxy } from '../packages/server/test/proxy.ts';
import { insist, post } from '../packages/server/test/api.ts';
import { backUpAndCompare } from './backups.ts';
import { copyRepository } from './copy.ts';
import type { Bounds } from './checker.ts';
import type { LoadOptions } from './load.ts';
import { type OwnPostgres, openOwnPostgres } from './own-postgres.ts';
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
  folder?(folder: string, long: boolean): Promise<{ path: string; release(): Promise<void> }>;
  /** A PostgreSQL of its own. @param data  The place for the data of Kith. */
  postgres?(data: string): Promise<OwnPostgres>;
  /** What starts the server, before its own command. */
  through?(): string[];
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

/** What the server says of a PostgreSQL that is away. */
const whileAway = /database|connection|commit outcome unknown/i;

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
    act: cutPower,
  },

  'power-xfs': {
    what: 'N2: the same on xfs',
    only: 'sqlite',
    missing: needs(linux, root, [canMount(), 'loop devices'], [has('mkfs.xfs'), 'mkfs.xfs (package xfsprogs)']),
    folder: (folder) => mountImage(folder, 'xfs'),
    act: cutPower,
  },

  'power-files': {
    what: 'N2: power cuts while files arrive',
    only: 'sqlite',
    missing: needs(linux, root, [canMount(), 'loop devices'], [has('mkfs.ext4'), 'mkfs.ext4 (package e2fsprogs)']),
    folder: (folder) => mountImage(folder),
    async act(stage) {
      const sent = await sendFiles(stage, async (server) => {
        await server.kill();
        forgetUnwritten(stage.data);
      });
      await lookAtFiles(stage, sent);
    },
  },

  'power-postgres': {
    what: 'N2: power cuts of a machine with PostgreSQL on it',
    only: 'postgres',
    losesPushes: true,
    expected: whileAway,
    missing: needs(linux, root, [canMount(), 'loop devices'], [has('mkfs.ext4'), 'mkfs.ext4 (package e2fsprogs)']),
    folder: (folder) => mountImage(folder),
    postgres: (data) => openOwnPostgres(path.dirname(data)),
    async act(stage) {
      for (let cuts = 0; stage.goesOn(cuts, 2, 20); cuts += 1) {
        await stage.wait(300, 2_500, [300, 8_000]);
        await stage.restart(async (server) => {
          await Promise.all([server.kill(), stage.postgres!.crash('SIGKILL')]);
          forgetUnwritten(stage.data);
          await stage.postgres!.start();
        });
      }
    },
  },

  database: {
    what: 'N3: PostgreSQL is killed with all its processes, or told to stop at once, and comes back',
    only: 'postgres',
    losesPushes: true,
    expected: whileAway,
    missing: needs(linux),
    postgres: () => openOwnPostgres(),
    async act(stage) {
      for (let crashes = 0; stage.goesOn(crashes, 2, 15); crashes += 1) {
        await stage.wait(300, 2_000, [2_000, 8_000]);
        stage.fault('PostgreSQL is gone', true);
        await stage.postgres!.crash(stage.random() < 0.5 ? 'SIGKILL' : 'SIGQUIT');
        await stage.wait(100, 1_000, [500, 5_000]);
        await stage.postgres!.start();
        stage.fault('PostgreSQL is back', false);
        if (hasEnded(stage.server())) stage.wrong(`a PostgreSQL that went away ended the server: ${lastWords(stage.server())}`);
      }
    },
  },

  postgres: {
    what: 'N3: every connection to PostgreSQL is cut, again and again',
    only: 'postgres',
    losesPushes: true,
    expected: whileAway,
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
    what: 'N4: stops in good order under load, now and then with a second signal or a pause in the middle',
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
          } else if (turn % 3 === 2) {
            // In the middle of it the machine has no time for it.
            await stage.wait(0, 50);
            server.process.kill('SIGSTOP');
            await stage.wait(200, 1_500);
            server.process.kill('SIGCONT');
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
    folder: (folder, long) => mountMemory(folder, long ? 1_024 : 96),
    bounds: { growthMiB: 300 },
    async act(stage) {
      const ballast = path.join(path.dirname(stage.data), 'ballast');
      // Files arrive at the same time.
      const sending = stage.long ? sendFiles(stage) : undefined;
      for (let times = 0; stage.goesOn(times, 2, 5); times += 1) {
        await stage.wait(300, 1_000, [5_000, 10_000]);
        stage.fault('the disk is full', true);
        fill(ballast);
        const copying = stage.long ? copyLog(stage) : undefined;
        await stage.wait(500, 2_000, times === 0 ? [20_000, 20_000] : [2_000, 8_000]);
        await copying?.kill();
        fs.rmSync(ballast);
        stage.fault('there is room', false);
        await stage.wait(200, 500);
        if (hasEnded(stage.server())) stage.wrong(`a full disk ended the server: ${lastWords(stage.server())}`);
      }
      if (sending) await lookAtFiles(stage, await sending);
    },
  },

  sync: {
    what: 'N6: a disk whose syncs or writes fail; nothing may be acked that is not on it',
    only: 'sqlite',
    missing: needs(linux, [canInject(), 'strace']),
    async act(stage) {
      for (let times = 0; stage.goesOn(times, 1, 20); times += 1) {
        await stage.wait(300, 1_000, [2_000, 6_000]);
        const [calls, which] = times % 2 === 0 ? ['fsync,fdatasync', 'sync'] : ['pwrite64', 'write'];
        const from = 1 + Math.floor(stage.random() * 10);
        await stage.restart(async (server) => {
          const tracer = inject(server, calls, `error=EIO:when=${from}+`);
          const end = await Promise.race([server.ended, pause(15_000, 'still there')]);
          if (end !== 'SIGKILL') stage.wrong(`after a failed ${which} the server did not end itself at once: ${end}`);
          await server.kill();
          await tracer.ended;
        });
      }
    },
  },

  writes: {
    what: 'N6: a disk that refuses every write for want of room, for some time',
    only: 'sqlite',
    missing: needs(linux, [canInject(), 'strace']),
    async act(stage) {
      for (let times = 0; stage.goesOn(times, 2, 10); times += 1) {
        await stage.wait(300, 1_000, [2_000, 6_000]);
        stage.fault('nothing can be written', true);
        const tracer = inject(stage.server(), 'pwrite64', 'error=ENOSPC');
        await stage.wait(500, 2_000, [1_000, 5_000]);
        await letGo(stage.server(), tracer);
        stage.fault('there is room', false);
        if (hasEnded(stage.server())) stage.wrong(`a disk without room ended the server: ${lastWords(stage.server())}`);
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
        await stage.wait(200, 800, [3_000, 8_000]);
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

  view: {
    what: 'N7: another program reads one state of the database for long, so that the log grows; afterwards it is short again',
    only: 'sqlite',
    bounds: { growthMiB: 400 },
    async act(stage) {
      for (let times = 0; stage.goesOn(times, 1, 2); times += 1) {
        await stage.wait(200, 800, [5_000, 10_000]);
        stage.fault('another program reads', true);
        const reader = runScript(
          `import { DatabaseSync } from 'node:sqlite';
           const db = new DatabaseSync(process.argv[1], { readOnly: true });
           db.exec('begin');
           db.prepare('select count(*) from messages').get();
           console.log('held');
           process.stdin.once('data', () => { db.close(); process.exit(0); });`,
          [path.join(stage.data, 'kith.db')],
        );
        await reader.line();
        await stage.wait(2_000, 5_000, [60_000, 60_000]);
        reader.process.stdin!.write('\n');
        await reader.ended;
        stage.fault('nobody reads for long', false);
      }
      // What is written now begins the log anew.
      await stage.wait(500, 1_000, [5_000, 10_000]);
    },
  },

  readers: {
    what: 'N10: connections that never read, in the busiest conversations',
    bounds: { growthMiB: 300, growthFiles: 60 },
    async act(stage) {
      stage.fault('some read nothing', true);
      const people = await Promise.all(Array.from({ length: stage.long ? 8 : 1 }, (_, index) => signIn(stage, `p${index}`)));
      // Those whose network has swallowed everything, which the server cannot know.
      const gone = await openProxy(() => Number(new URL(stage.server().url).port));
      const [stalled, slow, halfOpen] = stage.long ? [100, 100, 20] : [15, 0, 0];
      const sockets: WebSocket[] = [];
      for (let index = 0; index < stalled + slow + halfOpen; index += 1) {
        const socket = await enter(index < halfOpen ? gone.url : stage.server().url, people[index % people.length]!);
        if (index >= halfOpen) socket.pause();
        sockets.push(socket);
      }
      gone.stall(true);
      // The slow ones get on a little once a second.
      const getOn = setInterval(() => {
        for (const socket of sockets.slice(halfOpen, halfOpen + slow)) {
          socket.resume();
          setImmediate(() => socket.pause());
        }
      }, 1_000);
      await stage.rest();
      clearInterval(getOn);
      for (const socket of sockets) socket.terminate();
      await gone.close();
      stage.fault('everybody reads', false);
    },
  },

  network: {
    what: 'N12: a network that swallows everything for some seconds, and connections that end without a word',
    async act(stage) {
      while (stage.goesOn()) {
        await stage.wait(300, 1_500, [3_000, 8_000]);
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
        await stage.wait(500, 1_500, [5_000, 10_000]);
        stage.fault('everybody sleeps', true);
        stage.people().process.kill('SIGSTOP');
        await stage.wait(1_000, 5_000, [1_000, 30_000]);
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
    what: 'N15: the clock of the server jumps hours, days and years, back and ahead, and runs twice as fast',
    missing: needs(linux, [fakeTime() !== undefined, 'libfaketime (package faketime)']),
    get env() {
      // A clock that goes on by more than a session may be old ends it, as it has to.
      return { KITH_SESSION_IDLE_DAYS: '3650', KITH_SESSION_MAX_DAYS: '3650', ...serverClock.env() };
    },
    async folder(folder) {
      serverClock.turn('+0');
      return { path: path.join(folder, 'data'), release: async () => serverClock.forget() };
    },
    async act(stage) {
      for (let turn = 0; stage.goesOn(turn, 2, 28); turn += 1) {
        await stage.wait(300, 1_200, [1_000, 5_000]);
        serverClock.turn(['-1h', '+1h', '+0', '-1y', '+1d', '+0 x2', '+9y'][turn % 7]!);
      }
      serverClock.turn('+0');
    },
  },

  storm: {
    what: 'N16: all connections are dropped at once, again and again, and nobody waits before coming back',
    load: { people: 40, rate: 40 },
    bounds: { growthMiB: 300 },
    async act(stage) {
      while (stage.goesOn()) {
        await stage.wait(500, 2_500, [4_000, 10_000]);
        stage.fault('everybody is dropped', true);
        stage.proxy.cut();
        stage.fault('everybody may come back', false);
      }
    },
  },

  uploads: {
    what: 'N17: uploads that are cut at any byte and gone on with, everything asked for twice, and kills in between',
    async act(stage) {
      const sent = await sendFiles(stage, (server) => server.kill());
      await lookAtFiles(stage, sent);
    },
  },

  backup: {
    what: 'N18: backups while people write, each of them restored and compared',
    only: 'sqlite',
    load: { drops: 0.5 },
    act: backUpAndCompare,
  },

  upgrade: {
    what: 'N18: a newer version takes over and is killed while it changes the database; the older one is refused afterwards',
    // What is made of versions that are thrown away is not kept.
    env: { NODE_DISABLE_COMPILE_CACHE: '1' },
    async act(stage) {
      for (let versions = 0; stage.goesOn(versions, 1, 3); versions += 1) {
        await stage.wait(500, 1_500, [5_000, 10_000]);
        const older = stage.program();
        const newer = makeNewer(stage.folder, versions + 1);
        await stage.restart(async (server) => {
          server.process.kill('SIGTERM');
          await server.ended;
          for (let kills = 0; kills < 3; kills += 1) await stage.startInVain(400 + stage.random() * 1_600, newer);
          stage.setProgram(newer);
        });
        await stage.wait(200, 800, [5_000, 10_000]);
        await stage.restart(async (server) => {
          server.process.kill('SIGTERM');
          await server.ended;
          const file = path.join(stage.data, 'kith.db');
          const before = fs.existsSync(file) && fs.readFileSync(file);
          const { end, words } = await stage.startInVain(60_000, older);
          if (typeof end === 'string' || end === 0 || !words.includes('made by a newer Kith')) stage.wrong(`an older version on a newer database ended with ${end}`);
          if (before && !before.equals(fs.readFileSync(file))) stage.wrong('an older version changed a newer database');
        });
      }
    },
  },

  memory: {
    what: 'N19: little memory, and people who page through everything',
    env: { NODE_OPTIONS: '--max-old-space-size=96' },
    bounds: { growthMiB: 300 },
    async act(stage) {
      await pageThroughEverything(stage);
      if (hasEnded(stage.server())) stage.wrong(`paging through everything ended the server: ${lastWords(stage.server())}`);
    },
  },

  limit: {
    what: 'N19: the kernel gives the server 256 MiB and kills it beyond that, while people page through everything',
    missing: needs(linux, root, [memoryGroups() !== undefined, 'control groups for memory']),
    through: () => limitMemory(256),
    bounds: { growthMiB: 300 },
    async act(stage) {
      const reading = pageThroughEverything(stage);
      while (stage.goesOn()) {
        await pause(20);
        if (stage.server().process.signalCode === 'SIGKILL') await restartKilled(stage);
        else if (stage.server().process.exitCode !== null) stage.wrong(`for want of memory the server ended with ${stage.server().process.exitCode}`);
      }
      await reading;
      if (stage.server().process.signalCode !== null) await restartKilled(stage);
    },
  },

  stall: {
    what: 'N20: the process of the server stands still for seconds; nobody may be taken for dead because of it',
    env: { KITH_HEARTBEAT_MS: '1000' },
    async act(stage) {
      while (stage.goesOn()) {
        await stage.wait(500, 1_500, [3_000, 8_000]);
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
        await stage.wait(100, 600, [2_000, 6_000]);
      }
    },
  },
} satisfies Record<string, Nemesis> as Record<string, Nemesis>;

const signIn = async (stage: Stage, handle: string): Promise<string> =>
  (await insist(() => post(stage.server().url, 'auth.login', { handle, password: 'correct horse battery' }))).token!;

/** A connection that has said who it is. */
export async function enter(url: string, token: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, { headers: { authorization: `Bearer ${token}` } });
  socket.on('error', () => {});
  await once(socket, 'open');
  socket.send(JSON.stringify({ id: '1', method: 'hello', params: {} }));
  await once(socket, 'message');
  return socket;
}

const hasEnded = ({ process: { exitCode, signalCode } }: ServerProcess): boolean => exitCode !== null || signalCode !== null;

const lastWords = (server: ServerProcess): string => (server.output().out.findLast((line) => line.startsWith('{')) ?? '').slice(0, 400);

/** The kernel may have killed it; a server that cannot go on kills itself, and says so. */
async function restartKilled(stage: Stage): Promise<void> {
  const server = stage.server();
  await server.ended;
  const fatal = server.output().out.find((line) => line.includes('"level":"fatal"'));
  if (fatal !== undefined) stage.wrong(`for want of memory the server ended itself: ${fatal.slice(0, 400)}`);
  await stage.restart(async () => {});
}

/** A dozen at once, for as long as there is time. */
async function pageThroughEverything(stage: Stage): Promise<void> {
  const url = (): string => stage.server().url;
  const { user, token } = await insist(() => post(url(), 'auth.login', { handle: 'p0', password: 'correct horse battery' }));
  const { entities } = await insist(() => post(url(), 'stream.snapshot', { stream: `user:${user.id}` }, token));
  const conversations = entities.flatMap((entity) => (entity.kind === 'inbox' ? [entity.conversationId] : []));
  const reader = async (): Promise<void> => {
    while (stage.goesOn()) {
      for (const conversationId of conversations) {
        await post(url(), 'message.history', { conversationId, limit: 100, before: 1 + Math.floor(stage.random() * 2_000) }, token).catch(() => pause(20));
        if (!stage.goesOn()) return;
      }
    }
  };
  await Promise.all(Array.from({ length: 12 }, reader));
}

/** A version of ours that is so many migrations ahead; they copy all messages, so that there is time to kill it. @returns its program */
function makeNewer(below: string, ahead: number): string {
  const { folder } = copyRepository(below);
  const db = path.join(folder, 'packages/server/src/db');
  const numbers = Array.from({ length: ahead }, (_, index) => index + 1);
  for (const number of numbers) {
    fs.writeFileSync(
      path.join(db, `migrations/9000_newer_${number}.ts`),
      `import { type Kysely, sql } from 'kysely';
       export async function up(db: Kysely<unknown>): Promise<void> {
         await sql.raw('create table newer_${number} as select * from messages').execute(db);
         await sql.raw('create index newer_${number}_id on newer_${number} (id)').execute(db);
       }`,
    );
  }
  const list = path.join(db, 'migrate.ts');
  const text = fs
    .readFileSync(list, 'utf8')
    .replace('const migrations = {', () => `${numbers.map((number) => `import * as newer${number} from './migrations/9000_newer_${number}.ts';`).join('\n')}\nconst migrations = {`)
    .replace(/\n\};/, () => `\n${numbers.map((number) => `  '9000_newer_${number}': newer${number},`).join('\n')}\n};`);
  fs.writeFileSync(list, text);
  return path.join(folder, 'packages/server/src/main.ts');
}

/** Where groups of processes with a limit of memory are made, and the file for the limit. */
function memoryGroups(): { folder: string; limit: string } | undefined {
  if (!isRoot) return undefined;
  const known = [
    { folder: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
    { folder: '/sys/fs/cgroup', limit: 'memory.max' },
  ];
  return known.find(({ folder, limit }) => {
    const tried = path.join(folder, `kith-chaos-try-${process.pid}`);
    try {
      fs.mkdirSync(tried);
    } catch {
      return false;
    }
    const there = fs.existsSync(path.join(tried, limit));
    fs.rmdirSync(tried);
    return there;
  });
}

/** @returns what starts a program in a group of this process's that has so many mebibytes */
function limitMemory(mebibytes: number): string[] {
  const { folder, limit } = memoryGroups()!;
  const group = path.join(folder, `kith-chaos-${process.pid}`);
  fs.mkdirSync(group, { recursive: true });
  fs.writeFileSync(path.join(group, limit), String(mebibytes * 1_048_576));
  // As soon as nobody is in it any more.
  process.once('exit', () => spawnSync('sh', ['-c', 'for n in 1 2 3 4 5 6 7 8 9 10; do rmdir "$0" 2>/dev/null && break; sleep 0.1; done', group]));
  return ['sh', '-c', `echo $$ > ${path.join(group, 'cgroup.procs')} && exec "$0" "$@"`];
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

/**
 * The system calls work again. A call that is under way in this moment would fail in a way of its own, which no disk knows: so the process stands
 * still meanwhile, after its call and before the next.
 */
async function letGo({ process: server }: ServerProcess, tracer: Child): Promise<void> {
  server.kill('SIGSTOP');
  await pause(200);
  tracer.process.kill('SIGINT');
  await tracer.ended;
  server.kill('SIGCONT');
}

const clockFile = path.join(fs.realpathSync('/tmp'), `kith-chaos-clock-${process.pid}`);

/** The clock of a server that is started with its environment: it is turned to what the file says, and none but the wall clock. */
export const serverClock = {
  env(): NodeJS.ProcessEnv {
    const library = fakeTime();
    return library ? { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: clockFile, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' } : {};
  },
  turn: (to: string): void => fs.writeFileSync(clockFile, `${to}\n`),
  forget: (): void => fs.rmSync(clockFile, { force: true }),
};

export function fakeTime(): string | undefined {
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

/** A disk in a file: as large as 100,000 messages and PostgreSQL need, but only what is used of it takes room. */
async function mountImage(folder: string, type: 'ext4' | 'xfs' = 'ext4'): Promise<{ path: string; release(): Promise<void> }> {
  const mounted = path.join(folder, 'disk');
  const image = `${mounted}.image`;
  fs.mkdirSync(mounted);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, 2_048 * 1_048_576);
  must(`mkfs.${type}`, '-q', type === 'ext4' ? '-F' : '-f', image);
  must('mount', '-o', 'loop', image, mounted);
  // PostgreSQL runs as nobody, who has to get there.
  fs.chmodSync(folder, 0o711);
  fs.chmodSync(mounted, 0o777);
  return { path: path.join(mounted, 'data'), release: async () => void spawnSync('umount', [mounted]) };
}

/** Under load, while the log is copied into the file, and while hardly anybody writes. */
async function cutPower(stage: Stage): Promise<void> {
  const first = Math.floor(stage.random() * 3);
  for (let cuts = 0; stage.goesOn(cuts, 2, 20); cuts += 1) {
    const [copies, quiet] = [(first + cuts) % 3 === 1, (first + cuts) % 3 === 2];
    stage.quiet(quiet);
    await stage.wait(300, 2_500, [300, 8_000]);
    const copying = copies ? copyLog(stage) : undefined;
    await copying?.line();
    await stage.restart(async (server) => {
      if (copying) await stage.wait(0, 30);
      await Promise.all([server.kill(), copying?.kill()]);
      forgetUnwritten(stage.data);
    });
    stage.quiet(false);
  }
}

/** The disk as it is without what the kernel has in its memory alone. Nobody may use it any more. @param data  A folder right on it. */
function forgetUnwritten(data: string): void {
  const mounted = path.dirname(data);
  // The copy is the disk as it is now: unmounting would write all of it.
  must('cp', '--sparse=always', `${mounted}.image`, `${mounted}.copy`);
  must('umount', mounted);
  must('mv', `${mounted}.copy`, `${mounted}.image`);
  must('mount', '-o', 'loop', `${mounted}.image`, mounted);
}

/** Another program copies the log into the database file: it says so, and begins. */
function copyLog(stage: Stage): Child {
  return runScript(
    `import { DatabaseSync } from 'node:sqlite';
     const db = new DatabaseSync(process.argv[1], { timeout: 250 });
     process.stdin.resume();
     console.log('now');
     for (;;) {
       try {
         db.exec('pragma wal_checkpoint(truncate)');
         break;
       } catch {}
     }`,
    [path.join(stage.data, 'kith.db')],
  );
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
