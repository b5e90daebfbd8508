import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Child, start } from '../packages/server/test/crash-child.ts';

// A network of the kernel's own that nobody else can see: every part lives in a network namespace, and all of them meet in the one that
// this process was started in, which routes between them and can swallow what goes one way. None of them has a name: each is there as
// long as a process is in it, and so nothing is left behind, however this ends.

/** A part of the network: what is started through it sees nothing but its own addresses and the way to the others. */
export interface Space {
  readonly through: string[];
  readonly address: string;
  close(): Promise<void>;
}

const programs = ['ip', 'unshare', 'nsenter'];

/** @returns what is missing here, in words: tried, because containers differ */
export function missingForNamespaces(): string | undefined {
  if (process.platform !== 'linux') return 'Linux';
  if (process.getuid?.() !== 0) return 'root, for network namespaces';
  const absent = programs.find((program) => spawnSync(program, ['-V'], { stdio: 'ignore' }).error !== undefined);
  if (absent !== undefined) return `${absent} (packages iproute2 and util-linux)`;
  const tried = 'ip link add near type veth peer name far && ip rule add from 10.0.0.1 to 10.0.0.2 blackhole && echo 1 > /proc/sys/net/ipv4/ip_forward';
  return spawnSync('unshare', ['--net', 'sh', '-c', tried], { stdio: 'ignore' }).status === 0 ? undefined : 'network namespaces, which are not allowed here';
}

/** Runs a module of this folder in a network of its own. @returns the child, whose network ends with it */
export function startApart(module: string, args: string[]): Child {
  return start('unshare', ['--net', process.execPath, fileURLToPath(new URL(module, import.meta.url)), ...args]);
}

/** This process becomes the one in the middle. @throws when it is not in a network of its own */
export function openMiddle(): void {
  const routes = fs.readFileSync('/proc/net/route', 'utf8').trim().split('\n');
  if (routes.length > 1) throw new Error('This is the network of the machine: start it by startApart().');
  must('ip', 'link', 'set', 'lo', 'up');
  fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
}

let spaces = 0;

/** Adds a part. */
export async function openSpace(): Promise<Space> {
  const at = (spaces += 1);
  const [near, far] = [`10.77.${at}.1`, `10.77.${at}.2`];
  // Ends when our end of its pipe closes.
  const holder = start('unshare', ['--net', 'cat']);
  const own = fs.readlinkSync('/proc/self/ns/net');
  const file = `/proc/${holder.process.pid}/ns/net`;
  while (!fs.existsSync(file) || fs.readlinkSync(file) === own) await pause(5);
  const through = ['nsenter', `--net=${file}`];
  const inside = (...args: string[]): void => must('nsenter', `--net=${file}`, ...args);
  must('ip', 'link', 'add', `to${at}`, 'type', 'veth', 'peer', 'name', `from${at}`);
  must('ip', 'link', 'set', `from${at}`, 'netns', String(holder.process.pid));
  must('ip', 'address', 'add', `${near}/24`, 'dev', `to${at}`);
  must('ip', 'link', 'set', `to${at}`, 'up');
  inside('ip', 'link', 'set', 'lo', 'up');
  inside('ip', 'address', 'add', `${far}/24`, 'dev', `from${at}`);
  inside('ip', 'link', 'set', `from${at}`, 'up');
  inside('ip', 'route', 'add', 'default', 'via', near);
  return { through, address: far, close: () => holder.kill() };
}

/** From now on everything from one address to another is swallowed on the way, without a word to anybody; or it is no more. */
export function swallow(on: boolean, from: string, to: string): void {
  must('ip', 'rule', on ? 'add' : 'delete', 'from', from, 'to', to, 'blackhole');
}

/** An address that leads to whichever of several parts has it now. All of them take it for theirs. */
export function float(address: string, spaceThatHasIt: Space, all: Space[] = []): void {
  for (const space of all) must(...(space.through as [string, ...string[]]), 'ip', 'address', 'add', `${address}/32`, 'dev', 'lo');
  must('ip', 'route', 'replace', `${address}/32`, 'via', spaceThatHasIt.address);
}

function must(command: string, ...args: string[]): void {
  const done = spawnSync(command, args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${[path.basename(command), ...args].join(' ')}: ${done.stderr || done.error?.message}`);
}
