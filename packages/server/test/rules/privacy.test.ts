import { type MethodName, type Params, type Result, type ServerFrame, conversationStream, userStream } from '@kith/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Someone, engines, unique, usePlace } from './place.ts';

// Whoever hides something leaves no trace of it: what others get, by every way there is, is the same to the byte whether the
// person did anything or not. And with the switch the other way it is not the same, so the comparison can tell.

describe.each(engines)('privacy on %s', (engine) => {
  const place = usePlace({ engine, config: { offlineGraceMs: 0 } });

  /** The person; a friend; somebody of the same group; of the same room; a stranger; somebody to be blocked; a friend who is away; and two by whom it can be seen that all before has been told. */
  const names = ['person', 'friend', 'member', 'neighbour', 'stranger', 'blocked', 'away', 'sentinel', 'usher'] as const;
  type Name = (typeof names)[number];
  let people: Record<Name, Someone>;
  /** Groups of the person and the member, where nobody has typed yet: somebody is heard once in three seconds in each. */
  const unheard: string[] = [];
  /** With the friend; all but the neighbour, the stranger and the blocked; with the blocked; what the stranger made and the person has not accepted; the room. */
  let at: Record<'direct' | 'group' | 'other' | 'begun' | 'room', string>;

  beforeAll(async () => {
    const all = await place.people(...names);
    people = Object.fromEntries(names.map((name, index) => [name, all[index]])) as Record<Name, Someone>;
    const { person, friend, member, neighbour, stranger, blocked, away, sentinel, usher } = people;
    for (const other of [friend, member, blocked, away, sentinel]) await place.server.befriend(person, other);
    for (const other of [friend, member, neighbour, stranger, blocked]) await place.server.befriend(sentinel, other);
    await place.server.befriend(friend, member);
    const group = (await person.call('conversation.create', { title: 'Club', memberIds: [friend.id, member.id, sentinel.id] })).conversation.id;
    const room = (await (await place.operator()).call('room.create', { title: unique('Garden') })).conversation.id;
    for (const other of [person, neighbour, blocked]) await other.call('room.join', { conversationId: room });
    for (let n = 0; n < 4; n++) {
      const { conversation } = await person.call('conversation.create', { title: 'Quiet', memberIds: [member.id, friend.id] });
      unheard.push(conversation.id);
    }
    // They share the groups, and no more.
    await person.call('friend.remove', { userId: member.id });
    const directWith = async (other: Someone): Promise<string> => (await person.call('conversation.direct', { userId: other.id })).conversation.id;
    at = {
      group,
      room,
      direct: await directWith(friend),
      other: await directWith(blocked),
      begun: (await stranger.call('conversation.create', { title: 'You are invited', memberIds: [person.id] })).conversation.id,
    };
    await neighbour.call('room.online', { conversationId: room });
    await usher.call('room.join', { conversationId: room });
    await tells(neighbour, usher);
    // From here on these are there only when they are to be.
    for (const one of [person, away, sentinel]) await one.client.close();
    ushered = async () => void (await usher.client.close());
  });

  const call = <M extends MethodName>(name: Name, method: M, params: Params<M>): Promise<Result<M>> => place.server.call(method, params, people[name].token);
  const lastSeen = async ({ id }: Someone): Promise<unknown> =>
    (await place.rows.run<{ last_seen_at: unknown }>('select last_seen_at from users where id = ?', id))[0]!.last_seen_at;

  /** They are online. That they go when this is called has been told when it comes back; of rooms, soon. */
  async function come(someone: Someone): Promise<() => Promise<void>> {
    const before = await lastSeen(someone);
    const socket = await place.connect(someone);
    await expect.poll(() => place.rows.run('select user_id from presence where user_id = ?', someone.id)).toHaveLength(1);
    return async () => {
      await socket.client.close();
      await expect.poll(() => lastSeen(someone)).not.toEqual(before);
    };
  }

  const marks = new Map<Someone, number>();
  /** Pushes and signals since the last look, without what comes of draining. */
  function heard(someone: Someone): string[] {
    const frames = someone.client.frames.slice(marks.get(someone) ?? 0);
    marks.set(someone, someone.client.frames.length);
    return frames.flatMap((frame) => ('id' in frame || 'heads' in frame ? [] : (news(frame) ?? [])));
  }
  function news(frame: ServerFrame): string | undefined {
    if ('signal' in frame && frame.signal === 'presence' && frame.data.userId === people.sentinel.id) return undefined;
    if (!('signal' in frame && frame.signal === 'room.online')) return JSON.stringify(frame);
    // Where nobody waits for them they come when they like.
    if (engine !== 'sqlite') return undefined;
    const joined = frame.data.joined.filter(({ id }) => id !== people.usher.id);
    const left = frame.data.left.filter((id) => id !== people.usher.id);
    return joined.length + left.length === 0 ? undefined : JSON.stringify({ joined, left });
  }

  const isInRoom = (someone: Someone): boolean => someone === people.neighbour || someone === people.blocked;
  /** A change of somebody in the room has been told. */
  const tells = (one: Someone, { id }: Someone) =>
    one.client.signal((signal) => signal.signal === 'room.online' && (signal.data.left.includes(id) || signal.data.joined.some((user) => user.id === id)));

  /** All that somebody can get about a person by asking. */
  async function asked(someone: Someone, about: Someone): Promise<string[]> {
    const ask = async (method: string, params: unknown): Promise<string> => (await place.server.post(method, params, { token: someone.token })).text;
    const answers = Object.values(at).flatMap((conversationId) => {
      const stream = conversationStream(conversationId);
      return [ask('stream.snapshot', { stream }), ask('stream.changes', { stream, since: 1 }), ask('member.list', { conversationId })];
    });
    answers.push(ask('stream.snapshot', { stream: userStream(someone.id) }), ask('presence.watch', { userIds: [about.id] }));
    answers.push(ask('user.get', { userId: about.id }), ask('user.search', { query: about.handle }));
    // How many are in a room, everybody may know.
    if (isInRoom(someone)) answers.push(whoIsThere(someone));
    return [...(await Promise.all(answers)), ...(await copyOf(someone))];
  }

  /** In the room, by both ways of asking, without the usher. */
  async function whoIsThere({ token }: Someone): Promise<string> {
    const { rooms } = await place.server.call('room.list', {}, token);
    const { count, users } = await place.server.call('room.online', { conversationId: at.room }, token);
    const usher = isUsherThere ? 1 : 0;
    const listed = rooms.map(({ conversation, online }) => [conversation.id, conversation.id === at.room ? online - usher : online]);
    return JSON.stringify([listed, count - usher, users.map(({ id }) => id).filter((id) => id !== people.usher.id)]);
  }

  /** What somebody may take along of all that is theirs. */
  async function copyOf(someone: Someone): Promise<string[]> {
    const parts: string[] = [];
    for (let next: string | undefined = ''; next !== undefined;) {
      const part = await place.server.running.core.exportPart({ userId: someone.id, fileId: 'none' }, next);
      parts.push(JSON.stringify(part));
      next = part!.next;
    }
    return parts;
  }

  /** Follows what can be followed, over the socket. */
  async function follow(someone: Someone, about: Someone): Promise<void> {
    await someone.call('presence.watch', { userIds: [about.id, people.sentinel.id] });
    if (isInRoom(someone)) await someone.call('room.online', { conversationId: at.room });
  }

  let isUsherThere = true;
  let ushered: () => Promise<void>;
  /** All that was told so far has arrived at these: something later has, by the same ways. */
  async function drain(observers: Someone[]): Promise<void> {
    const { id } = people.sentinel;
    const go = await come(people.sentinel);
    const watch = (one: Someone) => one.client.signal(({ signal, data }) => signal === 'presence' && data.userId === id && data.online);
    await Promise.all(observers.filter((one) => one !== people.person).map(watch));
    await go();
    // Changes of a room are gathered for a second: that they are told is looked at on one database, what is answered on both.
    const inRoom = observers.filter((one) => engine === 'sqlite' && isInRoom(one));
    if (inRoom.length > 0) {
      if (isUsherThere) await ushered();
      else ushered = await come(people.usher);
      isUsherThere = !isUsherThere;
      await Promise.all(inRoom.map((one) => tells(one, people.usher)));
    }
    for (const one of observers) await one.settle();
  }

  interface Row {
    /** The row of the baseline, and the switch. */
    row: string;
    /** Who must not learn anything, and about whom; default: about the person. */
    blind: Name[];
    about?: Name;
    /** Who is told all the same. */
    seeing?: Name[];
    off: () => Promise<unknown>;
    on: () => Promise<unknown>;
    /** Not part of what is hidden; once before each time. */
    before?: () => Promise<unknown>;
    /** Step by step: it is looked after each. */
    act: (() => Promise<unknown>)[];
  }

  const settings = (changes: Params<'settings.update'>) => call('person', 'settings.update', changes);
  const speak = async (): Promise<void> => {
    for (const conversationId of [at.direct, at.group]) await people.friend.say(conversationId, unique('hello'));
  };
  let leave: () => Promise<void>;
  const visit = [async () => void (leave = await come(people.person)), () => leave()];
  const readAll = async (someone: Someone, ...conversationIds: string[]): Promise<void> => {
    for (const conversationId of conversationIds) {
      const { seq } = await place.head(conversationStream(conversationId));
      await place.server.call('receipt.delivered', { conversationId, seq }, someone.token);
      await place.server.call('read.mark', { conversationId, seq }, someone.token);
    }
  };
  const type = async (someone: Someone, ...conversationIds: string[]): Promise<void> => {
    for (const conversationId of conversationIds) await place.server.call('typing.set', { conversationId }, someone.token).catch(() => {});
  };

  const typed = ['group', 'direct'].map((where) => () => at[where as 'group' | 'direct']);
  const rows: Row[] = [
    {
      row: 'online and last seen: nobody',
      blind: ['friend', 'member', 'neighbour'],
      off: () => settings({ presence: 'nobody' }),
      on: () => settings({ presence: 'everyone' }),
      act: visit,
    },
    {
      row: 'online and last seen: friends',
      blind: ['member'],
      seeing: ['friend'],
      off: () => settings({ presence: 'friends' }),
      on: () => settings({ presence: 'everyone' }),
      act: visit,
    },
    {
      row: 'online and last seen of others, for who hides from everybody',
      blind: ['person'],
      about: 'away',
      off: () => settings({ presence: 'nobody' }),
      on: () => settings({ presence: 'everyone' }),
      act: [async () => void (leave = await come(people.away)), () => leave()],
    },
    {
      row: 'read receipts',
      blind: ['friend', 'member'],
      off: () => settings({ readReceipts: false }),
      on: () => settings({ readReceipts: true }),
      before: speak,
      act: [() => readAll(people.person, at.direct, at.group)],
    },
    {
      row: 'typing',
      blind: ['friend', 'member'],
      off: () => settings({ typing: false }),
      on: () => settings({ typing: true }),
      act: [() => type(people.person, at.direct, at.group)],
    },
    {
      row: 'read receipts of the other one, for who tells none',
      blind: ['person'],
      about: 'friend',
      off: () => settings({ readReceipts: false }),
      on: () => settings({ readReceipts: true }),
      before: () => call('person', 'message.send', { conversationId: at.direct, clientId: unique('client-id'), type: 'text', text: 'hello' }),
      act: [() => readAll(people.friend, at.direct)],
    },
    {
      row: 'typing of others, for who hides it',
      blind: ['person'],
      about: 'friend',
      off: () => settings({ typing: false }),
      on: () => settings({ typing: true }),
      // Somebody is heard once in three seconds, in each conversation.
      act: [() => type(people.friend, typed.pop()!())],
    },
    {
      row: 'a block, for whom it is against',
      blind: ['blocked'],
      off: () => call('person', 'block.add', { userId: people.blocked.id }),
      on: () => call('person', 'block.remove', { userId: people.blocked.id }),
      before: async () => void (await people.blocked.say(at.other, unique('hello')).catch(() => {})),
      act: [visit[0]!, () => Promise.all([leave(), readAll(people.person, at.other), type(people.person, at.other)])],
    },
    {
      row: 'typing in a shared group, for whom a block is against',
      blind: ['member'],
      seeing: ['friend'],
      off: () => call('person', 'block.add', { userId: people.member.id }),
      on: () => call('person', 'block.remove', { userId: people.member.id }),
      act: [() => type(people.person, unheard.pop()!)],
    },
    {
      row: 'typing in a shared group, of whom a block is against',
      blind: ['person'],
      about: 'member',
      off: () => call('person', 'block.add', { userId: people.member.id }),
      on: () => call('person', 'block.remove', { userId: people.member.id }),
      act: [() => type(people.member, unheard.pop()!)],
    },
    {
      row: 'a conversation of a stranger, until it is accepted',
      blind: ['stranger'],
      off: async () => {},
      on: () => call('person', 'conversation.accept', { conversationId: at.begun }),
      before: () => people.stranger.say(at.begun, unique('hello')),
      act: [visit[0]!, () => Promise.all([leave(), readAll(people.person, at.begun), type(people.person, at.begun)])],
    },
    {
      row: 'found by user name: by friends alone',
      blind: ['stranger'],
      about: 'member',
      seeing: ['friend'],
      off: () => call('member', 'settings.update', { findable: false }),
      on: () => call('member', 'settings.update', { findable: true }),
      act: [() => call('member', 'user.update', { name: unique('Renamed') })],
    },
    {
      row: 'groups: by friends alone',
      blind: ['person'],
      about: 'stranger',
      off: () => settings({ groups: 'friends' }),
      on: () => settings({ groups: 'anyone' }),
      act: [
        async () => {
          const { conversation } = await call('stranger', 'conversation.create', { title: 'Join us', memberIds: [people.person.id] });
          await call('stranger', 'member.add', { conversationId: conversation.id, userIds: [people.person.id] });
          await people.stranger.say(conversation.id, unique('hello'));
        },
      ],
    },
    {
      row: 'conversations: by friends alone',
      blind: ['person'],
      about: 'stranger',
      off: async () => {},
      on: () => call('person', 'user.update', { accepts: 'anyone' }),
      act: [
        async () => {
          const made = await call('stranger', 'conversation.direct', { userId: people.person.id }).catch(() => undefined);
          if (made) await people.stranger.say(made.conversation.id, unique('hello'));
        },
      ],
    },
  ];

  /** What each of these gets more by the act; nothing, if it cannot be told. */
  async function told({ before, act, about = 'person', seeing = [], blind }: Row): Promise<Map<Someone, string[]>> {
    const observers = [...blind, ...seeing].map((name) => people[name]);
    for (const one of observers) await follow(one, people[about]);
    await before?.();
    await drain(observers);
    const quiet = new Map<Someone, string[]>();
    for (const one of observers) quiet.set(one, (heard(one), await asked(one, people[about])));
    const more = new Map(observers.map((one): [Someone, string[]] => [one, []]));
    for (const step of act) {
      await step();
      await drain(observers);
      for (const one of observers) more.get(one)!.push(...heard(one), ...(await asked(one, people[about])).filter((text) => !quiet.get(one)!.includes(text)));
    }
    return more;
  }

  test.each(rows.map((row) => [row.row, row] as const))('[PV1] %s: what others get is the same to the byte, whatever is done', { timeout: 30_000 }, async (_, row) => {
    if (row.blind.includes('person')) people.person = await place.connect(people.person);
    for (const name of [...row.blind, ...(row.seeing ?? [])]) await follow(people[name], people[row.about ?? 'person']);
    await row.off();
    const hidden = await told(row);
    for (const name of row.blind) expect(hidden.get(people[name]), `what the ${name} learns`).toEqual([]);
    for (const name of row.seeing ?? []) expect(hidden.get(people[name]), `what the ${name} learns`).not.toEqual([]);
    await row.on();
    const shown = await told(row);
    for (const name of row.blind) expect(shown.get(people[name]), `what the ${name} learns once it is on`).not.toEqual([]);
    if (row.blind.includes('person')) await people.person.client.close();
  });
});
