import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { configWith } from '../../packages/server/src/config.ts';
import { startCore } from '../../packages/server/src/core/local-core.ts';
import { openPostgres } from '../../packages/server/src/db/postgres.ts';
import type { BenchPostgres } from '../lib/postgres.ts';

// The floor for PostgreSQL: its own pgbench, which does nothing but send the statements of a message, one message a transaction and one
// transaction a round trip, from as many connections as Kith has.

const connections = 10;

export interface Pgbench {
  version: string;
  /**
   * @param over      Over how many conversations, by chance.
   * @param together  Messages of one transaction.
   * @returns messages a second, and how many there were
   */
  run(over: number, together: number, seconds: number): Promise<{ rate: number; messages: number }>;
}

/**
 * @param sample  Whose messages are looked at, and where they go.
 * @param most    Messages that Kith writes in one transaction.
 * @returns undefined where there is no pgbench
 */
export async function openPgbench(
  server: BenchPostgres,
  folder: string,
  sample: { conversationId: string; senderId: string },
  { conversations, most }: { conversations: number; most: number },
): Promise<Pgbench | undefined> {
  const program = find();
  if (!program) return undefined;
  const statements = new Map([1, most].map((together) => [together, [] as Statement[]]));
  for (const together of statements.keys()) statements.set(together, await statementsOf(server.url, sample, together));
  await makeRows(server, sample, conversations);
  const script = (over: number, together: number): string => {
    const file = path.join(folder, `over-${over}-${together}.sql`);
    const lines = statements.get(together)!.map((statement) => `${forPgbench(statement, sample)};`);
    fs.writeFileSync(file, [`\\set n random(1, ${over})`, '\\startpipeline', ...lines, '\\endpipeline', ''].join('\n'));
    return file;
  };
  return {
    version: program.version,
    async run(over, together, seconds) {
      const args = ['-n', '-M', 'prepared', '-c', String(connections), '-j', '1', '-T', String(seconds), '-f', script(over, together), server.url];
      const child = spawn(program.file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
      await new Promise((resolve) => child.once('close', resolve));
      const [tps, messages] = [/tps = ([\d.]+)/, /actually processed: (\d+)/].map((pattern) => Number(pattern.exec(said)?.[1]));
      if (!tps || !messages || /failed transactions: [1-9]/.test(said) || /error/i.test(said)) throw new Error(`pgbench:\n${said}`);
      return { rate: tps * together, messages: messages * together };
    },
  };
}

function find(): { file: string; version: string } | undefined {
  const debian = '/usr/lib/postgresql';
  const versions = fs.existsSync(debian) ? fs.readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  for (const file of ['pgbench', ...versions.map((version) => path.join(debian, version, 'bin/pgbench'))]) {
    const { stdout, status } = spawnSync(file, ['--version'], { encoding: 'utf8' });
    const version = /PostgreSQL\) (\S+)/.exec(stdout ?? '')?.[1];
    if (status === 0 && version) return { file, version };
  }
  return undefined;
}

interface Statement {
  sql: string;
  values: unknown[];
}

/** What goes over the wire between two Syncs when somebody who has sent before sends so many at once. */
async function statementsOf(url: string, { conversationId, senderId }: { conversationId: string; senderId: string }, count: number): Promise<Statement[]> {
  const texts = new Map<string, string>();
  let sent: Statement[] = [];
  let last: Statement[] = [];
  const wire = pg.Connection.prototype as unknown as Record<'parse' | 'bind' | 'sync', (given?: Record<string, unknown>) => void>;
  const { parse, bind, sync } = wire;
  wire.parse = function (given) {
    texts.set(String(given!['name']), String(given!['text']));
    parse.call(this, given);
  };
  wire.bind = function (given) {
    sent.push({ sql: texts.get(String(given!['statement'])) ?? '', values: given!['values'] as unknown[] });
    bind.call(this, given);
  };
  wire.sync = function () {
    [last, sent] = [sent, []];
    sync.call(this);
  };
  const db = await openPostgres(url);
  const core = await startCore({
    config: configWith({ database: url, logLevel: 'silent' }),
    db,
    now: Date.now,
    onFault: ({ error }) => {
      throw error;
    },
  });
  const caller = { ip: '127.0.0.1', identity: { userId: senderId, sessionId: 'none' } };
  const send = async (clientId: string): Promise<void> => {
    const { error } = await core.handle(caller, JSON.stringify({ id: '1', method: 'message.send', params: { conversationId, clientId, type: 'text', text: 'x'.repeat(120) } }));
    if (error) throw new Error(`the sample was refused: ${error}`);
  };
  await send(`sample-${count}-first`);
  await Promise.all(Array.from({ length: count }, (_, at) => send(`sample-${count}-${at}`)));
  const statements = last;
  Object.assign(wire, { parse, bind, sync });
  await core.close();
  return statements;
}

/** Conversations and people of its own, named by numbers, otherwise like the sample. */
async function makeRows({ query }: BenchPostgres, { conversationId, senderId }: { conversationId: string; senderId: string }, count: number): Promise<void> {
  const like = (table: string, where: string, given: string): string =>
    `insert into ${table} select made.* from (select * from ${table} where ${where}) as sample, generate_series(1, ${count}) as n,
      lateral jsonb_populate_record(null::${table}, to_jsonb(sample) || jsonb_build_object(${given})) as made`;
  for (const text of [
    like('users', `id = '${senderId}'`, `'id', 'floor-person-' || n, 'handle', 'floor' || n`),
    like('streams', `id = 'conversation:${conversationId}'`, `'id', 'conversation:floor-' || n`),
    like('conversations', `id = '${conversationId}'`, `'id', 'floor-' || n`),
    like('members', `conversation_id = '${conversationId}' and user_id = '${senderId}'`, `'conversation_id', 'floor-' || n, 'user_id', 'floor-person-' || n`),
    'analyze',
  ])
    await query(text);
}

/** With the number of a conversation in place of the sample's names. */
function forPgbench({ sql, values }: Statement, { conversationId, senderId }: { conversationId: string; senderId: string }): string {
  let rows = 0;
  const expression = (value: unknown): string => {
    if (typeof value === 'number' || /^\d+$/.test(String(value))) return String(value);
    // Every message has an id and a client id of its own. And what begins with a colon is a variable to pgbench.
    const text = String(value)
      .replaceAll(/"(id|client_id)":"[^"]*"/g, (_, name: string) => `"${name}":"@id-${rows++}"`)
      .replaceAll(conversationId, 'floor-@n')
      .replaceAll(senderId, 'floor-person-@n')
      .replaceAll(':', '@c');
    let replaced = `replace('${text}', '@c', chr(58))`;
    if (text.includes('@n')) replaced = `replace(${replaced}, '@n', :n)`;
    if (text.includes('@id')) replaced = `replace(${replaced}, '@id', gen_random_uuid()::text)`;
    return replaced;
  };
  return sql.replaceAll(/\$(\d+)/g, (_, number: string) => expression(values[Number(number) - 1])).replaceAll(/\s+/g, ' ');
}
