import { type MethodName, type Params, type Push, type Result, type ServerFrame, type StreamId, conversationStream } from '@kith/protocol';
import { afterAll, beforeAll } from 'vitest';
import { type Person, type TestClient, type TestServer, type TestServerOptions, startTestServer } from '../harness.ts';
import { type Rows, numbers, openRows } from './rows.ts';

/** Rules of behaviour are proven on both databases, each as it is by default: SQLite in its worker, PostgreSQL. */
export const engines = ['sqlite', 'postgres'] as const;

let used = 0;
export const unique = (word: string): string => `${word}-${(used += 1)}`;
export const clientId = (): string => unique('client-id');
/** As everybody's who is registered here. */
export const password = 'correct horse battery';

/** A person at one device: a session and its connection. */
export class Someone implements Person {
  readonly user: Person['user'];
  readonly id: string;
  readonly handle: string | undefined;
  readonly password: string | undefined;
  readonly token: string;
  readonly sessionId: string;
  readonly client: TestClient;

  constructor(person: Person, client: TestClient) {
    ({ user: this.user, id: this.id, handle: this.handle, password: this.password, token: this.token, sessionId: this.sessionId } = person);
    this.client = client;
  }

  /** Over the socket. @throws RequestError */
  call<M extends MethodName>(method: M, params: Params<M>): Promise<Result<M>> {
    return this.client.call(method, params);
  }

  async say(conversationId: string, text = 'hello', id = clientId()): Promise<Result<'message.send'>['message']> {
    return (await this.call('message.send', { conversationId, clientId: id, type: 'text', text })).message;
  }

  /** The pushes of a stream that this connection has got so far. All that are due by now: `settle` first. */
  pushes(stream: StreamId): Push[] {
    return this.client.frames.filter((frame): frame is Push => 'stream' in frame && frame.stream === stream);
  }

  /** What this connection got so far, apart from replies, and from heads, which come with the time. */
  heard(): ServerFrame[] {
    return this.client.frames.filter((frame) => !('id' in frame || 'heads' in frame));
  }

  settle(): Promise<void> {
    return this.client.settle();
  }
}

/** A server, its rows and the people on it. */
export class Place {
  server!: TestServer;
  rows!: Rows;
  readonly #options: TestServerOptions;
  #operator: Promise<Someone> | undefined;

  constructor(options: TestServerOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.server = await startTestServer(this.#options);
    this.rows = await openRows(this.server.config);
  }

  async close(): Promise<void> {
    await this.rows.close();
    await this.server.close();
  }

  /** Registers somebody and connects them. */
  async person(name = 'anna'): Promise<Someone> {
    return this.connect(await this.server.register(unique(name), { name, password }));
  }

  async people(...names: string[]): Promise<Someone[]> {
    return Promise.all(names.map((name) => this.person(name)));
  }

  async guest(name = 'Gast'): Promise<Someone> {
    return this.connect(await this.server.guest(name));
  }

  /** Another connection of the same session: a second tab. */
  async connect(person: Person): Promise<Someone> {
    return new Someone(person, await this.server.connect(person));
  }

  /** Another session of the same person: a second device. */
  async device(person: Pick<Person, 'handle' | 'password'>): Promise<Someone> {
    return this.connect(await this.server.login(person as Person));
  }

  /** The one operator of this server. */
  operator(): Promise<Someone> {
    return (this.#operator ??= this.server.operator(unique('operator')).then((person) => this.connect(person)));
  }

  async friends(): Promise<{ anna: Someone; bert: Someone }> {
    const [anna, bert] = (await this.people('anna', 'bert')) as [Someone, Someone];
    await this.server.befriend(anna, bert);
    return { anna, bert };
  }

  /** Two friends and their conversation. */
  async direct(): Promise<{ anna: Someone; bert: Someone; conversationId: string; stream: StreamId }> {
    const { anna, bert } = await this.friends();
    const { conversation } = await anna.call('conversation.direct', { userId: bert.id });
    return { anna, bert, conversationId: conversation.id, stream: conversationStream(conversation.id) };
  }

  /** A group that anna owns, with bert and cleo, who accepted it. */
  async group(): Promise<{ anna: Someone; bert: Someone; cleo: Someone; conversationId: string; stream: StreamId }> {
    const [anna, bert, cleo] = (await this.people('anna', 'bert', 'cleo')) as [Someone, Someone, Someone];
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [bert.id, cleo.id] });
    for (const person of [bert, cleo]) await person.call('conversation.accept', { conversationId: conversation.id });
    return { anna, bert, cleo, conversationId: conversation.id, stream: conversationStream(conversation.id) };
  }

  /** Messages by the hundred, written behind the server's back: each a commit of its own, its text its seq. */
  async fill(conversationId: string, sender: Someone, count: number): Promise<void> {
    const stream = conversationStream(conversationId);
    const { version, seq } = await this.head(stream);
    await this.rows.run(
      `insert into messages (id, conversation_id, seq, version, sender_id, type, text, at)
      ${numbers(count)} select 'filled-' || substr(?, 1, 36) || '-' || i, ?, ${seq} + i, ${version} + i, ?, 'text', cast(${seq} + i as text), 1790000000000 + i from n`,
      conversationId,
      conversationId,
      sender.id,
    );
    await this.rows.run(`update streams set version = ${version + count}, seq = ${seq + count}, at = 1790000000000 + ${count} where id = ?`, stream);
  }

  /** The version and seq of a stream, as they stand in the database. */
  async head(stream: StreamId): Promise<{ version: number; seq: number }> {
    return (await this.rows.run<{ version: number; seq: number }>('select version, seq from streams where id = ?', stream))[0]!;
  }
}

/** One server for all the tests of the describe block in which this stands. */
export function usePlace(options: TestServerOptions): Place {
  const place = new Place(options);
  beforeAll(() => place.open());
  afterAll(() => place.close());
  return place;
}
