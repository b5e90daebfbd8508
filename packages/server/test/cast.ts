import { type TestServer, tus } from './harness.ts';
import { type Kind, type Role, type Stage, gone } from './permissions.ts';
import { png } from './pictures.ts';
import { type Person, befriend, group, password, say, unique } from './scenarios.ts';
import { RealWorld } from './world.ts';

/** What a cell of the matrix is about, as far as its kind goes. */
type Target = Partial<Pick<Stage, 'conversationId' | 'messageId' | 'fileId' | 'userId' | 'handle' | 'sessionId'>>;

const never = 'never-was';

/** The people of the matrix and their things, on one server. Each is made when it is first asked for, and then is there. */
export class Cast {
  readonly #server: TestServer;
  readonly #world: RealWorld;
  readonly #operator: Person;
  readonly #made = new Map<string, Promise<unknown>>();

  /** @param operator  The one of this server, who opens rooms and disables accounts here; who acts in that role has another session. */
  constructor(server: TestServer, operator: Person) {
    this.#server = server;
    this.#world = new RealWorld(server, { watched: false });
    this.#operator = operator;
  }

  /** The operator is the same person for all casts, and nobody has more than so many sessions. */
  async close(): Promise<void> {
    if (this.#made.has('operator')) await (await this.actor('operator')).ask('auth.logout', {}).catch(() => {});
  }

  #once<T>(name: string, make: () => Promise<T>): Promise<T> {
    if (!this.#made.has(name)) this.#made.set(name, make());
    return this.#made.get(name) as Promise<T>;
  }

  /** anna's group, with an admin and a member. */
  #group() {
    return this.#once('group', async () => {
      const { anna, bert: admin, cleo: member, conversationId } = await group(this.#world);
      await befriend(anna, member);
      await anna.ask('member.role', { conversationId, userId: admin.id, role: 'admin' });
      const bystander = await this.#world.register('bystander');
      await anna.ask('member.add', { conversationId, userIds: [bystander.id] });
      return { anna, admin, member, bystander, conversationId };
    });
  }

  /** Whoever has this role; without a token the one who never had any. */
  actor(role: Role): Promise<Person> {
    return this.#once(role, async () => {
      const { anna, admin, member } = await this.#group();
      const former = (): Promise<Person> => this.#former(role);
      const stranger = (): Promise<Person> => this.#world.register('stranger');
      const made: Record<Role, () => Person | Promise<Person>> = {
        owner: () => anna,
        admin: () => admin,
        member: () => member,
        blocked: async () => (await this.#direct()).blocked,
        stranger,
        nobody: stranger,
        guest: () => this.#world.guest('Gast'),
        operator: () => this.#again(this.#operator),
        removed: former,
        'signed-out': former,
        deleted: former,
        disabled: former,
      };
      return made[role]();
    });
  }

  /** Somebody who was in the group, said something there, and is not in it any more in one way or another. */
  async #former(role: Role): Promise<Person> {
    const { anna, conversationId } = await this.#group();
    const person = await this.#world.register('person');
    await befriend(anna, person);
    await anna.ask('member.add', { conversationId, userIds: [person.id] });
    await this.#words(role, person, conversationId);
    if (role === 'removed') await anna.ask('member.remove', { conversationId, userId: person.id });
    else if (role === 'signed-out') await person.ask('auth.logout', {});
    else if (role === 'deleted') await person.ask('user.delete', { password });
    else await this.#operator.ask('admin.disable', { userId: person.id, disabled: true });
    return person;
  }

  /** Another session of somebody. */
  #again(person: Person): Promise<Person> {
    return this.#world.device(person);
  }

  /** anna's conversation with the one she blocked afterwards, and what they said. */
  #direct() {
    return this.#once('direct', async () => {
      const { anna } = await this.#group();
      const blocked = await this.#world.register('blocked');
      await befriend(anna, blocked);
      const { conversation } = await anna.ask('conversation.direct', { userId: blocked.id });
      const { message } = await say(anna, conversation.id);
      await this.#words('blocked', blocked, conversation.id);
      const fileId = await this.#sent(anna, conversation.id);
      await anna.ask('block.add', { userId: blocked.id });
      return { blocked, conversationId: conversation.id, messageId: message.id, fileId: fileId.fileId };
    });
  }

  /** A message of somebody's own, and one that they took back. */
  #words(role: Role, person: Person, conversationId: string): Promise<{ own: string; recalled: string }> {
    return this.#once(`words of ${role}`, async () => {
      const [own, recalled] = [await say(person, conversationId), await say(person, conversationId)];
      await person.ask('message.delete', { messageId: recalled.message.id });
      return { own: own.message.id, recalled: recalled.message.id };
    });
  }

  async #sent(person: Person, conversationId: string): Promise<{ fileId: string; messageId: string }> {
    const { id: fileId } = await this.#world.upload(person, 'sent.txt');
    const { message } = await person.ask('message.send', { conversationId, clientId: unique('client-id'), type: 'file', text: '', fileId });
    return { fileId, messageId: message.id };
  }

  /** A group that everybody was in who could be, with what was said in it, and then it was dissolved. */
  #dissolved(actor: Person) {
    return this.#once(`dissolved of ${actor.id}`, async () => {
      const { anna, admin, member } = await this.#group();
      const memberIds = [...new Set([admin.id, member.id, actor.id])].filter((id) => id !== anna.id);
      const { conversation } = await anna.ask('conversation.create', { title: 'Over', memberIds });
      const { fileId, messageId } = await this.#sent(anna, conversation.id);
      await anna.ask('conversation.dissolve', { conversationId: conversation.id });
      return { conversationId: conversation.id, fileId, messageId };
    });
  }

  async #avatar(person: Person): Promise<string> {
    const { id } = await this.#server.upload(person, png(8, 8), { name: 'face.png', avatar: true });
    return id;
  }

  async #reserve(person: Person): Promise<string> {
    return (await person.ask('file.reserve', { name: 'notes.txt', size: 10 })).fileId;
  }

  /**
   * The thing of a cell, seen from a role.
   *
   * @param series  Things that a call uses up are made anew for each of these.
   */
  thing(kind: Kind, thing: string, role: Role, series = ''): Promise<Target> {
    return this.#once(`${kind} ${thing} ${role} ${series}`, () => this.#make(kind, thing, role, series));
  }

  async #make(kind: Kind, thing: string, role: Role, series: string): Promise<Target> {
    const { anna, conversationId } = await this.#group();
    // Who has no session cannot make anything any more: what is anna's will do, because they come to nothing.
    const actor = gone.includes(role) ? anna : await this.actor(role);
    switch (`${kind} ${thing}`) {
      case 'conversation group':
      case 'room group':
        return { conversationId };
      case 'conversation direct':
        return { conversationId: (await this.#direct()).conversationId };
      case 'conversation own':
        return { conversationId: (await actor.ask('conversation.create', { title: 'Mine', memberIds: [] })).conversation.id };
      case 'conversation dissolved':
        return { conversationId: (await this.#dissolved(actor)).conversationId };
      case 'conversation missing':
      case 'room missing':
        return { conversationId: never };

      case 'room open':
        return this.#once(`room ${series}`, async () => ({ conversationId: (await this.#operator.ask('room.create', { title: 'Garden' })).conversation.id }));
      case 'room barred': {
        const { conversation } = await this.#operator.ask('room.create', { title: 'Cellar' });
        if (role !== 'operator') {
          await actor.ask('room.join', { conversationId: conversation.id });
          await this.#operator.ask('member.remove', { conversationId: conversation.id, userId: actor.id });
        }
        return { conversationId: conversation.id };
      }

      case 'message annas':
        return { messageId: (await say(anna, conversationId)).message.id };
      case 'message own':
      case 'message recalled': {
        const there = ['owner', 'admin', 'member'].includes(role) || gone.includes(role);
        const where = there ? conversationId : (await actor.ask('conversation.direct', { userId: actor.id })).conversation.id;
        return { messageId: (await this.#words(role, actor, where))[thing === 'own' ? 'own' : 'recalled'] };
      }
      case 'message direct':
        return { messageId: (await this.#direct()).messageId };
      case 'message dissolved':
        return { messageId: (await this.#dissolved(actor)).messageId };
      case 'message missing':
        return { messageId: never };

      case 'file unsent':
        return { fileId: (await this.#world.upload(anna, 'unsent.txt')).id };
      case 'file own':
        return { fileId: (await this.#world.upload(actor, 'own.txt')).id };
      case 'file group':
        return { fileId: (await this.#sent(anna, conversationId)).fileId };
      case 'file direct':
        return { fileId: (await this.#direct()).fileId };
      case 'file recalled': {
        const { fileId, messageId } = await this.#sent(anna, conversationId);
        await anna.ask('message.delete', { messageId });
        return { fileId };
      }
      case 'file dissolved':
        return { fileId: (await this.#dissolved(actor)).fileId };
      case 'file missing':
      case 'upload missing':
      case 'avatar missing':
        return { fileId: never };

      case 'upload annas':
        // She herself uses hers up; the others are shown another, of which she has only so many.
        return role === 'owner' ? { fileId: await this.#reserve(anna) } : this.#once('a place of anna', async () => ({ fileId: await this.#reserve(anna) }));
      case 'upload own':
        return gone.includes(role) ? this.thing(kind, 'annas', role) : { fileId: await this.#reserve(actor) };
      case 'upload dropped': {
        if (gone.includes(role)) return this.thing(kind, 'annas', role);
        const fileId = await this.#reserve(actor);
        await this.#server.http('DELETE', `/files/${fileId}`, { headers: { ...tus, authorization: `Bearer ${actor.token}` } });
        return { fileId };
      }

      case 'avatar annas':
      case 'avatar own': {
        const whose = thing === 'own' ? actor : anna;
        return this.#once(`avatar of ${whose.id}`, async () => {
          const fileId = await this.#avatar(whose);
          await whose.ask('user.update', { avatar: `file:${fileId}` });
          return { fileId };
        });
      }
      case 'avatar group':
        return this.#once('avatar of the group', async () => {
          const fileId = await this.#avatar(anna);
          await anna.ask('conversation.update', { conversationId, avatar: `file:${fileId}` });
          return { fileId };
        });

      case 'person anna':
        return { userId: anna.id, handle: anna.handle! };
      case 'person self':
        return { userId: actor.id, handle: actor.handle ?? never };
      case 'person unknown':
        return this.#unknown();
      case 'person deleted':
        return this.#once('a deleted person', async () => {
          const dora = await this.#world.register('dora');
          await befriend(anna, dora);
          await anna.ask('member.add', { conversationId, userIds: [dora.id] });
          await say(dora, conversationId);
          await dora.ask('user.delete', { password });
          return { userId: dora.id, handle: dora.handle! };
        });
      case 'person missing':
        return { userId: never, handle: never };

      case 'session annas':
        return this.#once('another session of anna', async () => ({ sessionId: (await this.#again(anna)).sessionId }));
      case 'session own':
        // A guest has but one.
        return { sessionId: actor.handle === null || gone.includes(role) ? actor.sessionId : (await this.#again(actor)).sessionId };
      case 'session ended': {
        if (actor.handle === null || gone.includes(role)) return { sessionId: never };
        const ended = await this.#again(actor);
        await ended.ask('auth.logout', {});
        return { sessionId: ended.sessionId };
      }
      case 'session missing':
        return { sessionId: never };

      case 'nothing nothing':
      case 'nothing missing':
        return {};
    }
    throw new Error(`Nobody makes the ${thing} ${kind} of the matrix. packages/server/test/cast.ts is the place.`);
  }

  async #unknown(): Promise<{ userId: string; handle: string }> {
    const { id, handle } = await this.#once('unknown', () => this.#world.register('unknown'));
    return { userId: id, handle: handle! };
  }

  /** Everything that the parameters of a row may ask for. */
  async stage(kind: Kind, thing: string, role: Role, series = ''): Promise<Stage> {
    const { anna, bystander, conversationId } = await this.#group();
    const actor = await this.actor(role);
    const stranger = await this.#once('somebody', () => this.#world.register('somebody'));
    const rest = { messageId: never, fileId: never, sessionId: never, userId: stranger.id, handle: stranger.handle!, conversationId };
    return { ...rest, ...(await this.thing(kind, thing, role, series)), actor, anna, bystander, stranger };
  }
}
