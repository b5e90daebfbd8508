import { type FileRef, type Message, type MethodName, type Params, type Push, type Result, type ServerFrame } from '@kith/protocol';
import type { TestClient, TestServer } from './harness.ts';
import { Replica } from './replica.ts';
import { type Person, type Sound, type World, password, tellPreview, unique } from './scenarios.ts';

/** A world on a real server, in which every device that was opened keeps a replica; or, unwatched, just people who call. */
export class RealWorld implements World {
  readonly #server: TestServer;
  readonly #operator: { token: string } | undefined;
  readonly #watched: { replica: Replica; client: TestClient }[] | undefined;

  constructor(server: TestServer, { operator, watched }: { operator?: { token: string }; watched: boolean }) {
    this.#server = server;
    this.#operator = operator;
    this.#watched = watched ? [] : undefined;
  }

  async register(name: string): Promise<Person> {
    return this.#open(await this.ask('auth.register', { handle: unique(name), password, name }));
  }

  async guest(name: string): Promise<Person> {
    return this.#open(await this.ask('auth.guest', { name }));
  }

  async exchange(jwt: string): Promise<Person> {
    return this.#open(await this.ask('auth.exchange', { jwt }));
  }

  enter(signedIn: Result<'auth.login'>): Promise<Person> {
    return this.#open(signedIn);
  }

  async device({ handle }: Person): Promise<Person> {
    return this.#open(await this.ask('auth.login', { handle: handle!, password }));
  }

  async operator(): Promise<Person> {
    const { token } = this.#operator!;
    const { user, session } = await this.#watch(token);
    return this.#person({ user, sessionId: session, token });
  }

  upload(person: Person, name: string, sound?: Sound): Promise<FileRef> {
    return this.#server.upload(person, Buffer.from(sound ? 'OggS\0' : `what is in ${name}`), { name, ...sound });
  }

  preview(message: Message): Promise<void> {
    return tellPreview(this.#server.running.core, message);
  }

  ask<M extends MethodName>(method: M, params: Params<M>): Promise<Result<M>> {
    return this.#server.call(method, params);
  }

  async #open({ user, token, sessionId }: Result<'auth.login'>): Promise<Person> {
    if (this.#watched) await this.#watch(token!);
    return this.#person({ user, token: token!, sessionId });
  }

  async #watch(token: string): Promise<Result<'hello'>> {
    const client = await this.#server.socket();
    const hello = await client.hello({ token });
    const replica = new Replica(hello.user.id, (method, params) => client.call(method as MethodName, params as never) as never);
    await replica.open(hello.heads);
    this.#watched?.push({ replica, client });
    return hello;
  }

  /** Calls go over HTTP, so that a device whose session ends can still be asked for what it knows. */
  #person({ user, sessionId, token }: { user: Result<'hello'>['user']; sessionId: string; token: string }): Person {
    return { id: user.id, handle: user.handle, sessionId, token, ask: (method, params) => this.#server.call(method, params, token) };
  }

  /**
   * Every device that is still connected is in step, by each of the ways to get there.
   *
   * @returns How many streams were compared
   */
  async check(): Promise<number> {
    let streams = 0;
    for (const { replica, client } of this.#watched ?? []) {
      const ended = await Promise.race([client.closed, client.settle().then(() => undefined)]).catch(() => client.closed);
      if (ended) continue;
      for (const frame of client.frames) if (isPush(frame)) replica.receive(frame);
      await replica.check();
      streams += replica.streams.size;
    }
    return streams;
  }

  close(): void {
    for (const { client } of this.#watched ?? []) client.terminate();
  }
}

const isPush = (frame: ServerFrame): frame is Push => 'stream' in frame;
