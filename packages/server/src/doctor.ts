import fs from 'node:fs';
import path from 'node:path';
import { examine } from './backup.ts';
import { type Config, mib } from './config.ts';
import { AuditBroken, verify } from './core/audit.ts';
import { ageOf, readSecrets, secretsFile } from './core/secrets.ts';
import type { Standing } from './core/core.ts';
import { readLoss } from './core/losses.ts';
import { hasFactor } from './core/factors.ts';
import { DatabaseError } from './db/db.ts';
import { besideServer } from './db/open.ts';

/** One thing that was looked at, and what to do where it is not well. */
export interface Finding {
  what: string;
  state: 'well' | 'look' | 'broken';
  words: string;
}

/** Milliseconds that an answer of the server itself may take. */
const answerMs = 5_000;
/** Milliseconds by which messages may seem to come from the future before the clock is doubted. */
const futureMs = 120_000;
/** Days after which keys are old. */
const keysDays = 400;

/** Looks at everything that a server needs, without changing anything; beside a running server, too. */
export async function examineServer(config: Config, now = Date.now()): Promise<Finding[]> {
  const found: Finding[] = [];
  const say = (what: string, state: Finding['state'], words: string): void => void found.push({ what, state, words });

  say('Node', satisfies(process.versions.node) ? 'well' : 'broken', `${process.version}${satisfies(process.versions.node) ? '' : '; 24.15 or newer is needed'}`);
  folder(config, say);
  if (config.database === 'sqlite') await sqlite(config, now, say);
  else await postgres(config, say);
  await keys(config, now, say);
  await auditLog(config, now, say);
  if (config.publicUrl === undefined) say('address', 'well', 'this machine only; KITH_PUBLIC_URL is not set');
  else await reach(config.publicUrl, say);
  if (config.publicUrl !== undefined && config.trustProxy === undefined) {
    say('proxy', 'look', 'KITH_TRUST_PROXY is not set: behind a proxy all people seem to have its address, and limits count them as one');
  }
  await operators(config, say);
  const files = openFiles();
  if (files !== undefined && files < config.maxConnections + 500) {
    say('open files', 'look', `the system allows ${files}, and KITH_MAX_CONNECTIONS is ${config.maxConnections}: raise LimitNOFILE or ulimit -n, or lower it`);
  } else say('open files', 'well', files === undefined ? 'not known on this system' : String(files));
  return found;
}

type Say = (what: string, state: Finding['state'], words: string) => void;

const satisfies = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 24 || (major === 24 && minor >= 15);
};

function folder(config: Config, say: Say): void {
  if (!fs.existsSync(config.data)) return say('data directory', 'look', `${config.data} is not there yet; the first start makes it`);
  try {
    fs.accessSync(config.data, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
  } catch {
    return say('data directory', 'broken', `${config.data} may not be written to by this user (${process.getuid?.() ?? '?'})`);
  }
  const { mode } = fs.statSync(config.data);
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) say('data directory', 'look', `${config.data} can be read by other users of this machine: chmod 700`);
  else say('data directory', 'well', config.data);
  const { bavail, bsize } = fs.statfsSync(config.data);
  const free = Math.floor((bavail * bsize) / mib);
  if (free < config.diskReserve) say('disk', 'broken', `${free} MiB free, less than KITH_DISK_RESERVE (${config.diskReserve}): nothing new is stored`);
  else if (free < config.diskReserve + config.uploadReserve) say('disk', 'look', `${free} MiB free: no uploads are taken below ${config.uploadReserve}`);
  else say('disk', 'well', `${free} MiB free`);
}

async function sqlite(config: Config, now: number, say: Say): Promise<void> {
  const file = path.join(config.data, 'kith.db');
  if (!fs.existsSync(file)) return say('database', 'look', 'there is none yet; the first start makes it');
  try {
    const { users, messages, newestAt, missing, files, bytes } = await examine(file, path.join(config.data, 'files'));
    say('database', 'well', `whole: ${users} people, ${messages} messages`);
    if (missing.length === 0) say('files', 'well', `${files} with ${Math.round(bytes / mib)} MiB`);
    else say('files', 'broken', `the bytes of ${missing.length} are missing (${missing.slice(0, 3).join(', ')}…): bring ${path.join(config.data, 'files')} back from a backup`);
    if (newestAt > now + futureMs)
      say('clock', 'broken', `the newest message is of ${new Date(newestAt).toISOString()}, which is still to come: is the clock of this machine right?`);
    else say('clock', 'well', new Date(now).toISOString());
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    say('database', 'broken', `${error.message} Restore a backup: kith restore <folder>`);
  }
}

/** Are they there, nobody else's to read, whole, and not too old? */
async function keys(config: Config, now: number, say: Say): Promise<void> {
  try {
    const kept = await readSecrets(config);
    if (!kept) return say('keys', 'look', 'there are none yet; the next start makes them');
    const days = Math.floor(ageOf(kept, now) / 86_400_000);
    const where = config.database === 'sqlite' ? `${secretsFile(config.data)}, which is in no backup: keep it elsewhere, too` : 'in the table secrets';
    if (days > keysDays) say('keys', 'look', `${days} days old: kith rotate-secrets makes new ones, and nobody notices`);
    else say('keys', 'well', where);
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    say('keys', 'broken', error.message);
  }
}

/** The log of what was done. */
async function auditLog(config: Config, now: number, say: Say): Promise<void> {
  if (config.database === 'sqlite' && !fs.existsSync(path.join(config.data, 'kith.db'))) return;
  try {
    await besideServer(config, 'read', async (q) => {
      const { rows } = await verify(q, now);
      say('audit log', 'well', `${rows} entries, as they were written`);
    });
  } catch (error) {
    if (error instanceof AuditBroken) say('audit log', 'broken', `${error.message} Somebody changed it: compare with the last export.`);
    // What else there is to say of the database was said.
    else if (!(error instanceof DatabaseError)) throw error;
  }
}

/** What the loss of the database server would cost. */
const standings: Record<Standing, [state: Finding['state'], words: string]> = {
  alone: ['well', 'none: what is acknowledged is on one machine'],
  asynchronous: ['look', 'not waited for: if it takes over, the last acknowledged messages may be lost. Set synchronous_standby_names, with synchronous_commit=on'],
  synchronous: ['well', 'what is acknowledged is on two machines'],
  missing: ['broken', 'it is waited for and is not there: nothing can be written. Start it, or change synchronous_standby_names'],
};

async function postgres(config: Config, say: Say): Promise<void> {
  const { openDatabase } = await import('./db/open.ts');
  try {
    const db = await openDatabase(config);
    try {
      say('database', 'well', 'PostgreSQL answers, and is safe in a power cut');
      const standing = await db.primary!.look();
      say('standby', ...standings[standing]);
      const lost = await db.read((q) => readLoss(q, 0));
      if (lost) say('failover', 'look', `the one of ${new Date(lost.at).toISOString()} lost ${lost.messages} acknowledged messages, ${lost.commits} changes in all`);
    } finally {
      await db.close();
    }
  } catch (error) {
    say('database', 'broken', error instanceof Error ? error.message : String(error));
  }
}

/** Whoever takes over an operator's account has the whole server. */
async function operators(config: Config, say: Say): Promise<void> {
  try {
    const bare = await besideServer(config, 'read', async (q) => {
      const rows = await q.selectFrom('users').select(['id', 'handle']).where('operator', '=', 1).where('deleted_at', 'is', null).execute();
      const without: string[] = [];
      for (const { id, handle } of rows) if (!(await hasFactor(q, id))) without.push(handle ?? id);
      return { all: rows.length, without };
    });
    if (bare.all === 0) return;
    if (bare.without.length === 0) say('operators', 'well', `${bare.all}, each with a second factor`);
    else say('operators', 'look', `${bare.without.join(', ')} without a second factor: settings, security; KITH_OPERATOR_FACTOR=on demands it`);
  } catch {
    // There is no database yet, or it is of another version: said elsewhere.
  }
}

/** Does the address that people use lead here? */
async function reach(publicUrl: string, say: Say): Promise<void> {
  try {
    const answer = await fetch(`${publicUrl}/healthz`, { signal: AbortSignal.timeout(answerMs), redirect: 'manual' });
    if (answer.ok) say('address', 'well', `${publicUrl} answers`);
    else say('address', 'broken', `${publicUrl}/healthz answers ${answer.status}: does the proxy lead to this server, and does it run?`);
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code ?? (error instanceof Error ? error.name : 'unknown');
    say('address', 'broken', `${publicUrl} cannot be reached from here (${cause}): is the server started, the name right, the certificate valid?`);
  }
}

function openFiles(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const [, soft] = /Max open files\s+(\d+)/.exec(fs.readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return soft === undefined ? undefined : Number(soft);
}
