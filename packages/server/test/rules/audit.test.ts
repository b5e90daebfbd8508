import { type AuditEntry, type ErrorBody, limits } from '@kith/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuditBroken, verify } from '../../src/core/audit.ts';
import { fromBase32, totp } from '../../src/core/totp.ts';
import { besideServer } from '../../src/db/open.ts';
import { type Place, type Someone, engines, password, unique, usePlace } from './place.ts';

const dayMs = 86_400_000;

type Told = Pick<AuditEntry, 'event' | 'actorId' | 'subjectId' | 'detail'>;

/** What somebody does, and what the log says of it then: of rows of these events the last ones, in their order. */
type Act = (place: Place) => Promise<Told[]>;

const told = (event: Told['event'], actorId: string | null, subjectId: string | null, detail: Told['detail']): Told => ({ event, actorId, subjectId, detail });

const acts: Record<string, Act> = {
  async 'making an account'({ server }) {
    const { id, sessionId } = await server.register(unique('canary'), { password, name: 'canary' });
    return [told('session.made', id, null, { sessionId, by: 'registration' }), told('account.made', id, null, { guest: false, operator: false, invited: false })];
  },
  async 'signing in'(place) {
    const anna = await place.person('canary');
    const { sessionId } = await place.server.login(anna);
    return [told('session.made', anna.id, null, { sessionId, by: 'password' })];
  },
  async 'failing to sign in'(place) {
    const anna = await place.person('canary');
    await expect(place.server.call('auth.login', { handle: anna.handle!, password: 'canary password' })).rejects.toMatchObject({ code: 'wrong_credentials' });
    return [told('signin.failed', null, anna.id, { by: 'password' })];
  },
  async 'failing to sign in as nobody'({ server }) {
    await expect(server.call('auth.login', { handle: 'canary', password: 'canary password' })).rejects.toMatchObject({ code: 'wrong_credentials' });
    return [told('signin.failed', null, null, { by: 'password' })];
  },
  async 'signing out'(place) {
    const { id, sessionId, token } = await place.person('canary');
    await place.server.call('auth.logout', {}, token);
    return [told('session.ended', id, id, { sessionId, why: 'signed-out' })];
  },
  async 'ending the session of another device'(place) {
    const anna = await place.person('canary');
    const other = await place.device(anna);
    await anna.call('session.revoke', { sessionId: other.sessionId });
    return [told('session.ended', anna.id, anna.id, { sessionId: other.sessionId, why: 'revoked' })];
  },
  async 'changing a password'(place) {
    const anna = await place.person('canary');
    const other = await place.device(anna);
    await anna.call('user.changePassword', { password, newPassword: 'canary, another one' });
    return [told('password.changed', anna.id, null, {}), told('session.ended', anna.id, anna.id, { sessionId: other.sessionId, why: 'password' })];
  },
  async 'adding and removing an app, and signing in with it'(place) {
    const anna = await place.person('canary');
    const { secret, ticket } = await anna.call('app.begin', {});
    const { recoveryCodes } = await anna.call('app.add', { secret, ticket, code: totp(fromBase32(secret), Math.floor(Date.now() / 30_000)) });
    const enter = async (code: string) => {
      const { error } = (await place.server.post('auth.login', { handle: anna.handle, password })).json<{ error: ErrorBody }>();
      return place.server.call('auth.factor', { handle: anna.handle!, ticket: error.ticket!, code });
    };
    const { sessionId } = await enter(recoveryCodes![0]!);
    await expect(enter('canary')).rejects.toMatchObject({ code: 'wrong_credentials' });
    await anna.call('app.remove', {});
    return [
      told('factors.changed', anna.id, null, { what: 'app-added' }),
      told('signin.factor', null, anna.id, { password: true }),
      told('session.made', anna.id, null, { sessionId, by: 'code' }),
      told('signin.factor', null, anna.id, { password: true }),
      told('signin.failed', null, anna.id, { by: 'code' }),
      told('factors.changed', anna.id, null, { what: 'app-removed' }),
    ];
  },
  async 'claiming a guest'(place) {
    const guest = await place.guest('canary');
    await guest.call('auth.claim', { handle: unique('canary'), password });
    return [told('account.claimed', guest.id, null, {})];
  },
  async 'deleting an account'(place) {
    const anna = await place.person('canary');
    await place.server.call('user.delete', { password }, anna.token);
    return [told('account.deleted', anna.id, null, { messages: 'keep' }), told('session.ended', anna.id, anna.id, { sessionId: anna.sessionId, why: 'deleted' })];
  },
  async 'adding and removing members as the owner of a group'(place) {
    const { anna, bert, conversationId } = await place.group();
    const dora = await place.person('canary');
    await anna.call('member.add', { conversationId, userIds: [dora.id] });
    await anna.call('member.remove', { conversationId, userId: bert.id });
    return [told('member.added', anna.id, null, { conversationId, userIds: dora.id }), told('member.removed', anna.id, bert.id, { conversationId })];
  },
  async 'giving somebody a role'(place) {
    const { anna, bert, conversationId } = await place.group();
    await anna.call('member.role', { conversationId, userId: bert.id, role: 'admin' });
    return [told('member.role', anna.id, bert.id, { conversationId, old: 'member', new: 'admin' })];
  },
  async 'dissolving a group'(place) {
    const { anna, conversationId } = await place.group();
    await anna.call('conversation.dissolve', { conversationId });
    return [told('group.dissolved', anna.id, null, { conversationId })];
  },
  async 'recalling the message of somebody else'(place) {
    const { anna, bert, conversationId } = await place.group();
    const { id: messageId } = await bert.say(conversationId, 'canary text');
    await anna.call('message.delete', { messageId });
    return [told('message.deleted', anna.id, bert.id, { conversationId, messageId })];
  },
  async 'reading and settling what people reported'(place) {
    const operator = await place.operator();
    const { anna, bert, conversationId } = await place.group();
    await anna.call('report.send', { conversationId, userId: bert.id, reason: 'abuse', note: 'canary note' });
    const { id } = (await operator.call('admin.reports', { limit: 1 })).reports[0]!;
    await operator.call('admin.settle', { reportId: id });
    return [told('report.read', operator.id, null, { reports: id }), told('report.settled', operator.id, bert.id, { report: id })];
  },
  async 'inviting, disabling and enabling as the operator'(place) {
    const [operator, anna] = [await place.operator(), await place.person('canary')];
    await operator.call('admin.invite', { uses: 3, hours: 5 });
    await operator.call('admin.disable', { userId: anna.id, disabled: true });
    await operator.call('admin.disable', { userId: anna.id, disabled: false });
    return [
      told('invite.made', operator.id, null, { uses: 3, hours: 5 }),
      told('account.disabled', operator.id, anna.id, {}),
      told('session.ended', operator.id, anna.id, { sessionId: anna.sessionId, why: 'disabled' }),
      told('account.enabled', operator.id, anna.id, {}),
    ];
  },
};

/** Everything that is in it, the first line first. */
async function readLog(operator: Someone): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for (let before: number | undefined; ; before = entries.at(-1)!.seq) {
    const page = await operator.call('admin.audit', { ...(before !== undefined && { before }), limit: limits.historyPage });
    entries.push(...page.entries);
    if (!page.more) return entries.reverse();
  }
}

describe.each(engines)('the audit log on %s', (engine) => {
  let time = Date.now();
  const place = usePlace({ engine: engine === 'sqlite' ? 'sqlite-direct' : engine, now: () => time });
  const chain = (now = time) => besideServer(place.server.config, 'read', (q) => verify(q, now));
  let operator: Someone;
  beforeAll(async () => {
    operator = await place.operator();
  });

  test.each(Object.keys(acts))('[LG1] %s is in it, with who and from where', async (name) => {
    const expected = await acts[name]!(place);
    const events = new Set(expected.map(({ event }) => event));
    const { entries } = await operator.call('admin.audit', {});
    const found = entries.reverse().filter(({ event }) => events.has(event));
    expect(found.slice(-expected.length)).toEqual(
      expected.map((one) => ({ ...one, seq: expect.any(Number), at: time, ip: '127.0.0.1', hash: expect.stringMatching(/^[0-9a-f]{64}$/) })),
    );
  });

  test('[LG1] it is written in the transaction of what it tells of: where it cannot be, nothing is done', async () => {
    const anna = await place.person();
    const other = await place.device(anna);
    const before = await place.rows.run<{ seq: number }>('select seq from audit_head');
    await place.rows.run('update audit_head set id = 2');
    try {
      await expect(anna.call('session.revoke', { sessionId: other.sessionId })).rejects.toMatchObject({ code: 'internal' });
      expect((await anna.call('session.list', {})).sessions).toHaveLength(2);
    } finally {
      await place.rows.run('update audit_head set id = 1');
    }
    expect(await place.rows.run('select seq from audit_head')).toEqual(before);
    await anna.call('session.revoke', { sessionId: other.sessionId });
  });

  test('[LG2] nothing that people wrote, and nothing that signs anybody in, is in it', async () => {
    const { anna, conversationId } = await place.group();
    await anna.say(conversationId, 'canary text');
    const all = JSON.stringify(await place.rows.run('select * from audit')) + JSON.stringify(await place.rows.run('select * from audit_head'));
    expect(all).not.toContain('canary');
    for (const secret of [password, anna.token, anna.token.slice(5), anna.handle!]) expect(all).not.toContain(secret);
  });

  test('[LG3] sending, reading and marking write nothing into it', async () => {
    const { anna, bert, conversationId } = await place.group();
    const before = (await chain()).seq;
    const { seq } = await anna.say(conversationId);
    await bert.call('read.mark', { conversationId, seq });
    await bert.call('message.history', { conversationId });
    expect((await chain()).seq).toBe(before);
  });

  test('[LG4] changing any field of a row is found, and so is taking one out, adding one and exchanging two', async () => {
    await acts['inviting, disabling and enabling as the operator']!(place);
    const { seq: last, rows } = await chain();
    expect(rows).toBe(last);
    const broken = async (damage: string[], repair: string[]): Promise<void> => {
      for (const sql of damage) await place.rows.run(sql);
      try {
        await expect(chain()).rejects.toThrow(AuditBroken);
      } finally {
        for (const sql of repair) await place.rows.run(sql);
      }
      await chain();
    };
    const columns: Record<string, string> = {
      at: 'at + 1',
      event: `'session.made '`,
      actor: `'somebody'`,
      subject: `'somebody'`,
      detail: `'{}'`,
      ip: `'10.0.0.1'`,
      salt: `'salt'`,
      ip_seal: `'seal'`,
      prev: `'${'0'.repeat(64)}'`,
      hash: `'${'0'.repeat(64)}'`,
    };
    const known = Object.keys((await place.rows.run('select * from audit where seq = 1'))[0]!);
    expect([...Object.keys(columns), 'seq'].sort()).toEqual(known.sort());
    const keep = ['create table kept as select * from audit'];
    const back = ['delete from audit', 'insert into audit select * from kept', 'drop table kept'];
    const target = last - 1;
    for (const [column, value] of Object.entries(columns)) await broken([...keep, `update audit set ${column} = ${value} where seq = ${target}`], back);
    for (const column of ['ip = null', 'ip = null, salt = null', 'actor = null']) await broken([...keep, `update audit set ${column} where seq = ${target}`], back);
    for (const gone of [1, target, last]) await broken([...keep, `delete from audit where seq = ${gone}`], back);
    await broken([...keep, `update audit set seq = seq + 1000000 where seq = ${target}`], back);
    await broken([...keep, `insert into audit select ${last + 1}, at, event, actor, subject, detail, ip, salt, ip_seal, prev, hash from kept where seq = ${last}`], back);
    await broken(
      [
        ...keep,
        `delete from audit where seq in (${target}, ${target - 1})`,
        `insert into audit select ${2 * target - 1} - seq, at, event, actor, subject, detail, ip, salt, ip_seal, prev, hash from kept where seq in (${target}, ${target - 1})`,
      ],
      back,
    );
    // The whole beginning, with a head that says that it went by age.
    await broken(
      [
        ...keep,
        'create table kept_head as select * from audit_head',
        `delete from audit where seq <= ${target}`,
        `update audit_head set pruned_seq = ${target}, pruned_hash = (select hash from kept where seq = ${target})`,
      ],
      [...back, 'delete from audit_head', 'insert into audit_head select * from kept_head', 'drop table kept_head'],
    );
    await broken([`update audit_head set seq = seq + 1`], ['update audit_head set seq = seq - 1']);
  });

  test('[LG5] addresses go after 30 days, entries after 365, and the chain stays whole', async () => {
    const began = time;
    const tidy = () => place.server.running.core.tidy();
    const withAddress = async () => (await readLog(operator)).filter(({ ip }) => ip !== null).length;
    await tidy();
    expect(await withAddress()).toBeGreaterThan(0);
    time = began + 31 * dayMs;
    // The session of the operator is over by then.
    operator = await place.device({ handle: operator.handle, password: operator.password });
    await tidy();
    expect((await readLog(operator)).filter(({ ip }) => ip !== null).every(({ at }) => at === time)).toBe(true);
    expect(await chain()).toMatchObject({ first: 1 });
    expect(await place.rows.run(`select seq from audit where at < ${time} and salt is not null`)).toEqual([]);
    time = began + 366 * dayMs;
    operator = await place.device({ handle: operator.handle, password: operator.password });
    await tidy();
    const left = await readLog(operator);
    expect(left.every(({ at }) => at > began)).toBe(true);
    expect(left.at(-1)).toMatchObject({ event: 'audit.pruned', detail: { through: left[0]!.seq - 1 } });
    expect(await chain()).toMatchObject({ first: left[0]!.seq, seq: left.at(-1)!.seq });
  });

  test('[LG6] the operator reads it page by page, with the names of people as they are now', async () => {
    const bert = await place.person('bert');
    await operator.call('admin.disable', { userId: bert.id, disabled: true });
    const first = await operator.call('admin.audit', { limit: 2 });
    expect(first.entries.map(({ event }) => event)).toEqual(['session.ended', 'account.disabled']);
    expect(first.names).toEqual({ [bert.id]: 'bert', [operator.id]: operator.user.name });
    expect(first.more).toBe(true);
    const second = await operator.call('admin.audit', { before: first.entries[1]!.seq, limit: 2 });
    expect(second.entries.map(({ seq }) => seq)).toEqual([1, 2].map((back) => first.entries[1]!.seq - back));
  });
});

describe('limits in the audit log', () => {
  let time = Date.now();
  const place = usePlace({ engine: 'sqlite-direct', now: () => time, config: { rateLimits: true, registrationsPerHour: 3 } });
  afterAll(() => (time = 0));

  test('[LG7] a limit that an address runs into is in it, once a minute', async () => {
    const operator = await place.operator();
    await place.server.register(unique('anna'));
    await place.server.register(unique('anna'));
    const tooMany = () => expect(place.server.register(unique('anna'))).rejects.toMatchObject({ code: 'rate_limited' });
    await tooMany();
    await tooMany();
    const hits = async () => (await readLog(operator)).filter(({ event }) => event === 'limit.hit');
    expect(await hits()).toMatchObject([{ actorId: null, ip: '127.0.0.1', detail: { limit: 'registration' } }]);
    time += 60_000;
    await tooMany();
    expect(await hits()).toHaveLength(2);
    // And whoever asks without end.
    const client = await place.server.connect(operator);
    for (let id = 0; id < 3_000; id += 1) client.send({ id: String(id), method: 'session.list' });
    expect((await client.closed).code).toBe(4029);
    await expect.poll(async () => (await hits()).map(({ detail }) => detail['limit'])).toContain('requests');
  });
});
