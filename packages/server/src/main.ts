#!/usr/bin/env node
import { existsSync } from 'node:fs';
import type { Backup } from './backup.ts';
import { BrokerError } from './broker/broker.ts';
import { type CommandLine, type Config, ConfigError, helpText, isLoopback, mib, readCommandLine } from './config.ts';
import { AuditBroken } from './core/audit.ts';
import { secretsFile } from './core/secrets.ts';
import { DatabaseError } from './db/db.ts';
import { type Log, openLog } from './log.ts';
import { type RunningServer, startServer, version } from './server.ts';

// The process: reads the command line, starts, stops on a signal, and says with its exit code how it went.

/** Milliseconds after which a stop that hangs is cut. It takes less than ten seconds, unless the machine is far too busy. */
const stopMs = 24_000;

async function main(): Promise<void> {
  const line = read();
  if (line.help) return print(helpText());
  if (line.version) return print(`${version}\n`);
  switch (line.command) {
    case 'start':
      return start(line);
    case 'demo': {
      const { demoWelcome, prepareDemo } = await import('./demo.ts');
      return start({ ...line, config: await prepareDemo(line.config).catch((error: unknown) => giveUp(startProblem(error, line.config.port), 1)) }, demoWelcome);
    }
    case 'backup': {
      const to = requireFolder(line);
      const { backUp } = await import('./backup.ts');
      return print(
        `${inWords(await backUp(line.config, to).catch(saySo), `is copied to ${to}`)}  The keys of the server are not in it: keep ${secretsFile(line.config.data)} elsewhere.\n`,
      );
    }
    case 'restore': {
      const from = requireFolder(line);
      const { restore } = await import('./backup.ts');
      return print(`${inWords(await restore(line.config, from).catch(saySo), `is in ${line.config.data}`)}${keysInWords(line.config)}`);
    }
    case 'migrate':
      return migrate(line);
    case 'audit':
      return audit(line);
    case 'admin':
      return admin(line);
    case 'rotate-secrets': {
      if (line.argument !== undefined && line.argument !== 'now') giveUp('kith rotate-secrets, or kith rotate-secrets now', 2);
      const { rotateSecrets } = await import('./secrets-command.ts');
      return print(await rotateSecrets(line.config, { atOnce: line.argument === 'now' }).catch(saySo));
    }
    case 'doctor':
      return doctor(line);
    default:
      giveUp(`There is no command "${line.command}". --help lists what there is.`, 2);
  }
}

function requireFolder({ command, argument }: CommandLine): string {
  return argument ?? giveUp(`Which folder? kith ${command} <folder>`, 2);
}

const saySo = (error: unknown): never => giveUp(startProblem(error, 0), 1);

function inWords({ users, conversations, messages, files, bytes, missing, untold }: Backup, where: string): string {
  const counts = `${users} people, ${conversations} conversations, ${messages} messages, ${files} files (${Math.ceil(bytes / mib)} MiB)`;
  const lost = missing.length === 0 ? '' : `  The bytes of ${missing.length} files are missing: ${missing.slice(0, 5).join(', ')}\n`;
  const unsaid = untold === undefined ? '' : `  The audit log does not know of it: ${untold}\n`;
  return `  Whole, and ${where}: ${counts}.\n${lost}${unsaid}`;
}

/** What somebody has to know who starts Kith on a backup. */
function keysInWords({ data }: CommandLine['config']): string {
  if (existsSync(secretsFile(data))) return `  The keys of the server that are there already, ${secretsFile(data)}, stay.\n`;
  return `  Keys are not in a backup. Put the secrets.json of before into ${data}, or the next start makes new ones: devices then get no pushes until they have opened Kith once.\n`;
}

async function migrate(line: CommandLine): Promise<void> {
  const { endsOf, migrateAll, prepareAll, verifyAll } = await import('./migrate-command.ts');
  const work = { undefined: migrateAll, prepare: prepareAll, verify: verifyAll }[String(line.argument)];
  if (!work) giveUp('kith migrate, kith migrate prepare, or kith migrate verify', 2);
  const equal = await work(endsOf(line), (text) => print(`  ${text}\n`)).catch(saySo);
  if (!equal) process.exitCode = 1;
}

async function admin({ config, argument, subject }: CommandLine): Promise<void> {
  const { disableAccount, inviteOperator, resetTicket } = await import('./admin-command.ts');
  const url = config.publicUrl ?? `http://${config.host}:${config.port}`;
  if (argument === 'create') return print(`  Make an operator's account, within an hour: ${url}/setup#${await inviteOperator(config).catch(saySo)}\n`);
  if (argument === 'reset' && subject !== undefined) {
    return print(`  For a new password of ${subject}, within half an hour: ${url}/reset#${subject}:${await resetTicket(config, subject).catch(saySo)}\n`);
  }
  if (argument === 'disable' && subject !== undefined) {
    await disableAccount(config, subject).catch(saySo);
    return print(`  ${subject} is disabled.\n`);
  }
  giveUp('kith admin create, kith admin reset <user name>, or kith admin disable <user name>', 2);
}

async function audit({ config, argument }: CommandLine): Promise<void> {
  const { exportAudit, verifyAudit } = await import('./audit-command.ts');
  if (argument === 'verify') return print(await verifyAudit(config).catch(saySo));
  if (argument === 'export') return exportAudit(config, print).catch(saySo);
  giveUp('kith audit verify, or kith audit export', 2);
}

async function doctor({ config, unknownVariables }: CommandLine): Promise<void> {
  const { examineServer } = await import('./doctor.ts');
  const marks = { well: '✓', look: '!', broken: '✗' };
  const found = await examineServer(config);
  for (const name of unknownVariables) found.push({ what: 'settings', state: 'look', words: `${name} is no setting of this server. Misspelt?` });
  for (const { what, state, words } of found) print(`  ${marks[state]} ${what}: ${words}\n`);
  if (found.some(({ state }) => state === 'broken')) process.exitCode = 1;
}

function read(): CommandLine {
  try {
    return readCommandLine(process.argv.slice(2), process.env);
  } catch (error) {
    if (error instanceof ConfigError) giveUp(error.message, 2);
    throw error;
  }
}

/** @param welcome  What to say besides the address. */
async function start({ config, unknownVariables }: CommandLine, welcome = ''): Promise<void> {
  const log = openLog(config);
  for (const name of unknownVariables) log.warn(`${name} is no setting of this server. Misspelt?`);
  if (config.publicUrl !== undefined && config.trustProxy === undefined && isLoopback(config.host) && !isLoopback(new URL(config.publicUrl).hostname)) {
    log.warn('Behind a proxy, all people seem to have its address. Set KITH_TRUST_PROXY to the address of the proxy, so that limits count people.');
  }
  endOn(log, config);
  let server: RunningServer;
  try {
    server = await startServer(config, { log, onFatal: (error) => die(log, config, error, 'the core cannot go on') });
  } catch (error) {
    giveUp(startProblem(error, config.port), 1);
  }
  stopOnSignal(server, log, config);
  log.info({ url: server.url, port: server.port, version, registration: config.registration }, 'listening');
  print(`\n  ${config.siteName ?? 'Kith'} is at ${server.url}\n${welcome === '' ? '' : `\n${welcome}`}`);
  const code = await server.core.setupLink();
  if (code !== undefined) print(`  Make the operator's account, within an hour: ${server.url}/setup#${code}\n`);
  if (config.registration !== 'open') print(`  People join ${config.registration === 'invite' ? 'by invitation' : 'not at all'} (KITH_REGISTRATION).\n`);
  print('\n');
}

/** First signal: an orderly stop. Second: at once; what was acknowledged is on disk either way. */
function stopOnSignal(server: RunningServer, log: Log, config: Config): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) endAtOnce(config);
    stopping = true;
    log.info({ signal }, 'asked to stop');
    setTimeout(() => {
      log.error('the stop took too long');
      endAtOnce(config);
    }, stopMs).unref();
    server.close().then(
      () => process.exit(0),
      (error: unknown) => die(log, config, error, 'the stop failed'),
    );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

/** A promise nobody waits for, an exception nobody caught: the state is unknown, and a fresh start is the known one. */
function endOn(log: Log, config: Config): void {
  process.on('unhandledRejection', (error) => die(log, config, error, 'unhandled rejection'));
  process.on('uncaughtException', (error) => die(log, config, error, 'uncaught exception'));
}

function die(log: Log, config: Config, error: unknown, what: string): never {
  log.fatal({ err: error }, what);
  endAtOnce(config);
}

/**
 * Where the database is a file, not by `exit`: that ends the core's thread in good order, and SQLite with it, which copies the rest of its log into the file and takes
 * the log away. The reason may be a disk of which nobody knows what it has of the file, and then the log is all there is.
 */
function endAtOnce({ database }: Config): never {
  if (database !== 'sqlite') process.exit(1);
  process.kill(process.pid, 'SIGKILL');
  // The first process of a container is not killed by itself.
  process.abort();
}

function startProblem(error: unknown, port: number): string {
  if (error instanceof DatabaseError || error instanceof ConfigError || error instanceof AuditBroken || error instanceof BrokerError) return error.message;
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return `Port ${port} is taken. Stop what uses it, or choose another with --port.`;
    case 'EACCES':
      return `This user may not listen on port ${port}, or not write to the data directory.`;
    case 'EADDRNOTAVAIL':
      return 'This machine does not have the address given as HOST.';
    default:
      return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

function giveUp(message: string, code: number): never {
  process.stderr.write(`${message}\n`);
  process.exit(code);
}

function print(text: string): void {
  process.stdout.write(text);
}

await main();
