import pg from 'pg';
import { type Append, CommitUnknown, type Place, type Query } from './db.ts';
import type { Prepared } from './prepare.ts';
import { type Step, type Texts, pipeline } from './pipeline.ts';

const divisionByZero = '22012';

/** Answers to questions for rights that are remembered. Each takes some 300 bytes. */
const mostAnswers = 10_000;

/** What came of a question for rights when it was last asked. */
interface Answer {
  /** The rows, as the server writes them in JSON. */
  text: string;
  rows: readonly unknown[];
}

/** An append whose rights are known, as far as they have not changed since. */
interface Ready {
  append: Append<unknown>;
  question: Question;
  answer: Answer;
}

interface Question {
  /** The same for the same question. */
  key: string;
  words: Words;
  parameters: readonly unknown[];
}

/** A query for rights as it is asked, and as it is required to be answered like the last time. */
interface Words {
  number: number;
  ask: string;
  require: string;
}

/**
 * Puts messages at the end of one conversation, all of them in one round trip and one commit, however many they are.
 *
 * Rights are decided where they always are, by `allows`, but on rows that were read before. The transaction then locks the stream, asks
 * the same question again and goes on only if the answer is the same to the letter. So what decided is what stood there under the lock, and
 * nothing has to be told of changes: an answer that is old costs one round trip, and no message slips through.
 *
 * Refusals and repetitions have no words here. When one does not go through, nothing is left behind, and it is said which are to blame.
 */
export class Appends {
  readonly #pool: pg.Pool;
  readonly #q: Query;
  /** By question; the one that was longest not asked comes first. */
  readonly #answers = new Map<string, Answer>();
  readonly #words = new Map<Prepared, Words>();

  constructor(pool: pg.Pool, q: Query) {
    this.#pool = pool;
    this.#q = q;
  }

  /**
   * @param take  Says which, once there is a connection: others that come until then go with them. All of one stream.
   * @returns the places of the messages, in their order; or the positions of those for which none of them went through, as far as that is known
   * @throws CommitUnknown
   */
  async run(take: () => readonly Append<unknown>[]): Promise<{ places: Place[] } | { odd: Set<number> }> {
    const client = await this.#pool.connect();
    let lost: Error | undefined;
    try {
      const appends = take();
      let asked = await this.#ask(client, appends);
      for (let tries = 0; tries < 2 && asked.odd.size === 0; tries++) {
        const written = await write(client, this.#q, asked.ready);
        if (typeof written !== 'string') return { places: written };
        if (written === 'impossible') break;
        // Once more with fresh answers: that somebody came into the conversation changes those of all who are in it.
        const before = asked.ready;
        for (const { question } of before) this.#answers.delete(question.key);
        asked = await this.#ask(client, appends);
        if (asked.ready.every(({ answer }, at) => answer.text === before[at]!.answer.text)) break;
      }
      return { odd: asked.odd.size > 0 ? asked.odd : await findTaken(client, appends) };
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) lost = error as Error;
      throw error;
    } finally {
      client.release(lost);
    }
  }

  /** @returns of each what decides about it, and the positions of those that may not be written by it */
  async #ask(client: pg.PoolClient, appends: readonly Append<unknown>[]): Promise<{ ready: Ready[]; odd: Set<number> }> {
    const asked = appends.map((append) => {
      const { of, parameters } = append.rights(this.#q);
      const words = this.#wordsOf(of);
      return { append, question: { key: `${words.number} ${JSON.stringify(parameters)}`, words, parameters } };
    });
    const unknown = new Map(asked.flatMap(({ question }) => (this.#answers.has(question.key) ? [] : [[question.key, question] as const])));
    if (unknown.size > 0) {
      const found = await pipeline(
        client,
        [...unknown.values()].map(({ words, parameters }) => ({ sql: words.ask, parameters })),
      );
      for (const [at, key] of [...unknown.keys()].entries()) {
        const text = found[at]![0]![0]!;
        this.#answers.set(key, { text, rows: text === '' ? [] : (JSON.parse(text) as unknown[]) });
      }
    }
    const ready = asked.map(({ append, question }) => {
      const answer = this.#answers.get(question.key)!;
      // Behind all that were asked longer ago.
      this.#answers.delete(question.key);
      this.#answers.set(question.key, answer);
      return { append, question, answer };
    });
    const odd = new Set([...ready.keys()].filter((at) => !ready[at]!.append.allows(ready[at]!.answer.rows)));
    // Asked anew next time: it may be another by then, and nobody would tell.
    for (const at of odd) this.#answers.delete(ready[at]!.question.key);
    while (this.#answers.size > mostAnswers) this.#answers.delete(this.#answers.keys().next().value!);
    return { ready, odd };
  }

  #wordsOf(query: Prepared): Words {
    let words = this.#words.get(query);
    if (!words) {
      const answer = `coalesce((select json_agg(answer)::text from (${query.sql}) as answer), '')`;
      words = { number: this.#words.size, ask: `select ${answer}`, require: `select 1 / (${answer} = $${query.parameters.length + 1})::int` };
      this.#words.set(query, words);
    }
    return words;
  }
}

/** One round trip. What must be so and is not divides by zero, which undoes all of it: `doubtful`. */
async function write(client: pg.PoolClient, q: Query, ready: readonly Ready[]): Promise<Place[] | 'doubtful' | 'impossible'> {
  const { append } = ready[0]!;
  const count = ready.length;
  const required = new Map(ready.map(({ question, answer }) => [question.key, { sql: question.words.require, parameters: [...question.parameters, answer.text] }]));
  const { of, parameters } = append.advance(q, count);
  const steps: Step[] = [{ sql: of.sql, parameters }, ...required.values(), insert(ready)];
  let found: Texts[][];
  try {
    found = await pipeline(client, steps);
  } catch (error) {
    if (isUnknown(error)) throw new CommitUnknown(error, false);
    if (isBusy(error)) throw error;
    return (error as pg.DatabaseError).code === divisionByZero ? 'doubtful' : 'impossible';
  }
  const row = found[0]![0];
  // There is no such stream, and so the insert found nowhere to insert.
  if (!row) return 'impossible';
  const [version, seq, at] = row.map(Number) as [number, number, number];
  return ready.map((_, index) => ({ version: version - count + 1 + index, seq: seq - count + 1 + index, at }));
}

/** The rows say how far each is before the end of the stream. */
function insert(ready: readonly Ready[]): Step {
  const rows = ready.map(({ append }, at) => ({ ...append.message(), seq: ready.length - 1 - at }));
  return { sql: insertOf(Object.keys(ready[0]!.append.message())), parameters: [ready[0]!.append.stream, JSON.stringify(rows)] };
}

let inserts: string | undefined;

/** In one statement with the look whether one was taken back before it came. */
const insertOf = (columns: string[]): string =>
  (inserts ??= `
    insert into messages (${columns.join(', ')}, version, at, seq)
    select ${columns.map((column) => `one.${column}`).join(', ')}, streams.version - one.seq, streams.at,
      streams.seq - one.seq / (not exists (select from withdrawn where withdrawn.sender_id = one.sender_id and withdrawn.client_id = one.client_id))::int
    from streams, json_populate_recordset(null::messages, $2::json) as one where streams.id = $1`);

const taken = `
  select one.seq from json_populate_recordset(null::messages, $1::json) as one
  where exists (select from messages where messages.sender_id = one.sender_id and messages.client_id = one.client_id)
    or exists (select from withdrawn where withdrawn.sender_id = one.sender_id and withdrawn.client_id = one.client_id)`;

/** Which repeat what there is, or one of those before them, or were taken back. */
async function findTaken(client: pg.PoolClient, appends: readonly Append<unknown>[]): Promise<Set<number>> {
  const keys = appends.map((append, seq) => {
    const { sender_id, client_id } = append.message();
    return { sender_id, client_id, seq };
  });
  const [found] = await pipeline(client, [{ sql: taken, parameters: [JSON.stringify(keys)] }]);
  const odd = new Set(found!.map(([seq]) => Number(seq)));
  const seen = new Set<string>();
  for (const { sender_id, client_id, seq } of keys) {
    const key = `${sender_id} ${client_id}`;
    if (seen.has(key)) odd.add(seq);
    seen.add(key);
  }
  return odd;
}

/** Did the connection end with it? */
function isUnknown(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || error.code === undefined || /^(?:08|57P|25P0[34])/.test(error.code);
}

/** Not the fault of any of the messages: the work would fare no better. */
const isBusy = (error: unknown): boolean => /^(?:53|57)/.test((error as pg.DatabaseError).code!);
