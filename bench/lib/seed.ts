import { createHash, randomUUIDv7 } from 'node:crypto';
import path from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { openSqlite } from '../../packages/server/src/db/sqlite.ts';

export interface Person {
  id: string;
  token: string;
}

/** Milliseconds since 1970 of what is seeded first; later rows are a second apart. */
const firstAt = Date.now() - 20_000_000_000;

/**
 * A database full of people, conversations and messages, written past the server, because through it ten million messages would
 * take their time. The rows are those that the server itself would have written.
 */
export class Seed {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #people = 0;
  #conversations = 0;

  private constructor(file: string) {
    this.#db = new DatabaseSync(file);
    this.#db.exec('pragma journal_mode = wal; pragma synchronous = off; pragma cache_size = -400000; pragma wal_autocheckpoint = 100000; begin');
  }

  /** @param folder  The data directory of a server that is to be started. */
  static async open(folder: string): Promise<Seed> {
    await (await openSqlite(folder)).close();
    return new Seed(path.join(folder, 'kith.db'));
  }

  people(count: number): Person[] {
    return Array.from({ length: count }, () => this.#person());
  }

  #person(): Person {
    const person = { id: randomUUIDv7(), token: `kith_bench_${this.#people++}` };
    const at = firstAt;
    // Registered and signed in today: an hour later the server would write down that the session was used.
    const now = Date.now();
    this.#insert('streams', { id: `user:${person.id}`, version: 1, seq: 0, at: 0 });
    this.#insert('users', { id: person.id, version: 1, handle: `bench${this.#people}`, name: `Person ${this.#people}`, accepts: 'anyone', created_at: at });
    const hash = createHash('sha256').update(person.token).digest('hex');
    this.#insert('sessions', { id: randomUUIDv7(), user_id: person.id, version: 1, token_hash: hash, device: 'bench', created_at: now, used_at: now });
    return person;
  }

  /** A conversation of these, everyone joined and read up to its end. @returns its id */
  conversation(people: readonly Person[], { type = 'group', seq = 0 }: { type?: 'direct' | 'group' | 'room'; seq?: number } = {}): string {
    const id = randomUUIDv7();
    const [first, second] = people;
    this.#insert('streams', { id: `conversation:${id}`, version: 1 + seq, seq, at: firstAt + seq * 1_000 });
    const key = type === 'direct' ? [first!.id, second!.id].sort().join(' ') : null;
    const title = type === 'direct' ? null : `Conversation ${++this.#conversations}`;
    this.#insert('conversations', { id, version: 1, type, title, created_by: first!.id, created_at: firstAt, member_count: people.length, direct_key: key });
    for (const { id: userId } of people) {
      this.#insert('members', { conversation_id: id, user_id: userId, version: 1, role: 'member', state: 'joined', joined_at: firstAt });
      this.#insert('inbox', { user_id: userId, conversation_id: id, version: 1, joined: 1, read_seq: seq });
    }
    return id;
  }

  /** Messages of a conversation from its first on; its stream must have been made with as many. */
  messages(conversationId: string, sender: Person, from: number, to: number, text: string): void {
    for (let seq = from; seq <= to; seq++) {
      const hash = 'x'.repeat(22);
      this.#insert('messages', {
        id: randomUUIDv7(),
        conversation_id: conversationId,
        seq,
        version: seq + 1,
        sender_id: sender.id,
        client_id: randomUUIDv7(),
        type: 'text',
        text,
        sent_hash: hash,
        at: firstAt + seq * 1_000,
      });
    }
  }

  /** Writes what was made so far: a long transaction would keep all of it in the log. */
  flush(): void {
    this.#db.exec('commit; begin');
  }

  close(): void {
    // Not analysed: no server does it to its own, and with samples of the values SQLite prepares some statements anew for each of them.
    this.#db.exec('commit');
    this.#db.close();
  }

  #insert(table: string, row: Record<string, string | number | null>): void {
    const columns = Object.keys(row);
    const key = `${table} ${columns.length}`;
    let statement = this.#statements.get(key);
    if (!statement) {
      statement = this.#db.prepare(`insert into ${table} (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')})`);
      this.#statements.set(key, statement);
    }
    statement.run(...Object.values(row));
  }
}
