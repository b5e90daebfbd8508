import { globSync, readFileSync } from 'node:fs';
import { type ErrorBody, type MethodName, conversationStream, limits, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { countedAs, openMetrics, refusingNobody } from '../../src/metrics.ts';
import { numbers } from './rows.ts';
import { type Place, engines, password, unique, usePlace } from './place.ts';

type LimitName = keyof typeof limits;
/** How a limit is proven: here, by going up to it and beyond; by a test elsewhere that names it; or not at all, since nothing asks for it yet. */
type Proof = ((place: Place) => Promise<void>) | { by: string } | 'bounds nothing yet';

const refusal = async (place: Place, token: string, method: MethodName, params: object): Promise<ErrorBody | undefined> =>
  (await place.server.post(method, params, { token })).json<{ error?: ErrorBody }>().error;

/** A text field takes so many units and not one more, of letters and of emoji, which have two each, and says how many. */
const units =
  (max: number, method: MethodName, field: string, others: (place: Place) => Promise<object>, texts = ['x', '😀']) =>
  async (place: Place): Promise<void> => {
    const anna = await place.server.register(unique('anna'), { password });
    for (const text of texts) {
      const most = text.repeat(max / text.length);
      expect(await refusal(place, anna.token, method, { ...(await others(place)), [field]: most })).toBeUndefined();
      expect(await refusal(place, anna.token, method, { ...(await others(place)), [field]: `${most}x` })).toMatchObject(tooLong(max, `params.${field}`));
    }
  };
const tooLong = (max: number, path: string) => ({ code: 'bad_request', path, message: `${path}: must be at most ${max} UTF-16 units` });
const tooShort = (min: number, path: string) => ({ code: 'bad_request', path, message: `${path}: must be at least ${min} UTF-16 units` });
/** A token takes so many units, though none as long means anything, and not one more. */
const tokenUnits =
  (max: number, method: MethodName, field: string, others: object = {}) =>
  async (place: Place): Promise<void> => {
    const anna = await place.server.guest();
    const ask = (length: number) => refusal(place, anna.token, method, { ...others, [field]: 'x'.repeat(length) });
    expect(await ask(max)).not.toMatchObject(tooLong(max, `params.${field}`));
    expect(await ask(max + 1)).toMatchObject(tooLong(max, `params.${field}`));
  };
/** A list takes so many entries and not one more, and says how many. */
const entries =
  (max: number, method: MethodName, field: string, others: (place: Place, token: string) => Promise<object>) =>
  async (place: Place): Promise<void> => {
    const anna = await place.server.guest();
    const params = async (length: number) => ({ ...(await others(place, anna.token)), [field]: Array.from({ length }, (_, index) => `nobody-${index}`) });
    expect(await refusal(place, anna.token, method, await params(max))).not.toMatchObject({ code: 'bad_request' });
    expect(await refusal(place, anna.token, method, await params(max + 1))).toMatchObject({
      code: 'bad_request',
      path: `params.${field}`,
      message: expect.stringContaining(String(max)),
    });
  };
/** What a sender says of a file's looks and sound: up to a bound, and not one more. */
const mediaBound =
  (field: string, of: (size: number) => unknown, max: number) =>
  async (place: Place): Promise<void> => {
    const anna = await place.server.guest();
    const ask = (size: number) => refusal(place, anna.token, 'file.commit', { fileId: 'nobody-1', sha256: '0'.repeat(64), [field]: of(size) });
    expect(await ask(max)).toMatchObject({ code: 'not_found' });
    expect(await ask(max + 1)).toMatchObject({ code: 'bad_request', path: `params.${field}`, message: expect.stringContaining(String(max)) });
  };
const nothing = async () => ({});
const somebody = async (place: Place) => ({ userId: (await place.server.guest()).id });
const newcomer = async () => ({ handle: unique('anna'), name: 'Anna' });

/** People who exist only as rows. */
const crowd = async (place: Place, count: number): Promise<string> => {
  const prefix = unique('crowd');
  await place.rows.run(`insert into users (id, version, name, created_at) ${numbers(count)} select '${prefix}-' || i, 1, 'One of many', 0 from n`);
  return prefix;
};

const proofs: { [L in LimitName]: Proof } = {
  tokenMs: { by: 'packages/server/test/rules/session-tokens.test.ts' },
  tokenOverlapMs: { by: 'packages/server/test/rules/session-tokens.test.ts' },
  async frameBytes({ server }) {
    const post = (length: number) => server.http('POST', '/api/session.list', { headers: { 'content-type': 'application/json' }, body: '{}'.padEnd(length) });
    expect((await post(limits.frameBytes)).error).toBe('unauthenticated');
    const answer = await post(limits.frameBytes + 1);
    expect([answer.status, answer.error]).toEqual([413, 'too_large']);
    const socket = await server.connect(await server.guest());
    socket.send('{"id":"1","method":"session.list"}'.padEnd(limits.frameBytes));
    expect((await socket.reply('1')).error).toBeUndefined();
    socket.send('{"id":"2","method":"session.list"}'.padEnd(limits.frameBytes + 1));
    expect((await socket.closed).code).toBe(1009);
  },
  policyReportBytes: { by: 'packages/server/test/rules/policy-reports.test.ts' },
  unauthenticatedBytes: { by: 'packages/server/src/gateway/connection.test.ts' },
  helloMs: { by: 'packages/server/src/gateway/connection.test.ts' },
  outboundBytes: { by: 'packages/server/src/gateway/send-queue.test.ts' },
  outboundMs: { by: 'packages/server/src/gateway/send-queue.test.ts' },
  outboundMost: { by: 'packages/server/src/gateway/send-queue.test.ts' },
  connectionMs: { by: 'packages/server/src/gateway/drain.test.ts' },
  coreRequests: { by: 'packages/server/test/core.test.ts' },
  coreRequestUnits: { by: 'packages/server/test/core.test.ts' },
  coreUnread: { by: 'packages/server/test/core.test.ts' },
  jsonDepth: { by: 'packages/server/test/rules/requests.test.ts' },
  messageText: { by: 'packages/server/test/rules/messages.test.ts' },
  combiningMarks: { by: 'packages/server/test/rules/requests.test.ts' },
  id: tokenUnits(limits.id, 'user.get', 'userId'),
  async requestId(place) {
    const { client } = await place.guest();
    expect((await client.request('session.list', {}, 'x'.repeat(limits.requestId))).error).toBeUndefined();
    client.send({ id: 'x'.repeat(limits.requestId + 1), method: 'session.list' });
    expect((await client.reply('')).error).toMatchObject(tooLong(limits.requestId, 'id'));
  },
  async clientIdMin(place) {
    const { anna, conversationId } = await place.direct();
    const send = (length: number) => refusal(place, anna.token, 'message.send', { conversationId, type: 'text', text: 'hello', clientId: 'x'.repeat(length) });
    expect(await send(limits.clientIdMin)).toBeUndefined();
    expect(await send(limits.clientIdMin - 1)).toMatchObject(tooShort(limits.clientIdMin, 'params.clientId'));
  },
  clientIdMax: units(limits.clientIdMax, 'conversation.create', 'clientId', async () => ({ title: 'Club', memberIds: [] }), ['x']),
  avatar: units(limits.avatar, 'user.update', 'avatar', async () => ({}), ['x']),
  invite: tokenUnits(limits.invite, 'auth.guest', 'invite', { name: 'Gast' }),
  async token({ server }) {
    const hello = async (length: number) => (await (await server.socket()).request('hello', { token: 'x'.repeat(length) })).error;
    expect(await hello(limits.token)).toMatchObject({ code: 'unauthenticated' });
    expect(await hello(limits.token + 1)).toMatchObject(tooLong(limits.token, 'params.token'));
  },
  jwt: tokenUnits(limits.jwt, 'auth.exchange', 'jwt'),
  timeZone: tokenUnits(limits.timeZone, 'settings.update', 'timeZone'),
  attachments: { by: 'e2e/files.test.ts' },
  fileBytes: { by: 'packages/server/test/rules/files.test.ts' },
  fileName: units(limits.fileName, 'file.reserve', 'name', async () => ({ size: 1 }), ['x', '😀x']),
  preview: { by: 'packages/server/test/rules/pictures.test.ts' },
  waveformBars: mediaBound('waveform', (count) => Array.from({ length: count }, () => 0), limits.waveformBars),
  durationMs: mediaBound('durationMs', (ms) => ms, limits.durationMs),
  pictureSide: mediaBound('width', (pixels) => pixels, limits.pictureSide),
  async linkUrl(place) {
    const { anna, conversationId } = await place.group();
    const url = 'https://example.org/'.padEnd(limits.linkUrl, 'x');
    const kept = async (text: string) => {
      const { id } = await anna.say(conversationId, text);
      return (await place.rows.run<{ link_url: string | null }>('select link_url from messages where id = ?', id))[0]!.link_url;
    };
    expect(await kept(url)).toBe(url);
    expect(await kept(`${url}x`)).toBeNull();
  },
  pictureBytes: { by: 'packages/server/src/pictures/pictures.test.ts' },
  picturePixels: { by: 'packages/server/src/pictures/pictures.test.ts' },
  pictureFrames: { by: 'packages/server/src/pictures/pictures.test.ts' },
  pictureMs: { by: 'packages/server/src/pictures/pictures.test.ts' },
  pictureMemoryMib: { by: 'packages/server/src/pictures/pictures.test.ts' },
  async avatarBytes({ server }) {
    const anna = await server.guest();
    const reserve = (size: number) => refusal({ server } as Place, anna.token, 'file.reserve', { name: 'a.png', size, avatar: true });
    expect(await reserve(limits.avatarBytes)).toBeUndefined();
    expect(await reserve(limits.avatarBytes + 1)).toMatchObject({ code: 'too_large', message: expect.stringContaining('4 MiB') });
  },
  linkTitle: { by: 'packages/server/test/rules/links.test.ts' },
  linkDescription: { by: 'packages/server/test/rules/links.test.ts' },
  openUploads: { by: 'packages/server/test/rules/files.test.ts' },
  uploadsAtOnce: { by: 'packages/server/test/rules/files.test.ts' },
  uploadBytesPerSecond: { by: 'packages/server/test/rules/files.test.ts' },
  async handleMin(place) {
    const register = (handle: string) => place.server.call('auth.register', { handle, password, name: 'Anna' });
    expect((await register('x'.repeat(limits.handleMin))).user.handle).toHaveLength(limits.handleMin);
    await expect(register('x'.repeat(limits.handleMin - 1))).rejects.toMatchObject({ message: tooShort(limits.handleMin, 'params.handle').message });
  },
  handleMax: { by: 'packages/server/test/rules/sign-in.test.ts' },
  name: units(limits.name, 'user.update', 'name', nothing),
  title: units(limits.title, 'conversation.create', 'title', async () => ({ memberIds: [] })),
  bio: units(limits.bio, 'user.update', 'bio', nothing),
  note: units(limits.note, 'friend.request', 'note', somebody),
  remark: units(limits.remark, 'friend.remark', 'remark', somebody),
  device: units(limits.device, 'auth.guest', 'device', async () => ({ name: 'Gast' })),
  passkeysPerUser: { by: 'packages/server/test/rules/passkeys.test.ts' },
  passkeyPart: tokenUnits(limits.passkeyPart, 'passkey.add', 'id', { name: 'Key', clientDataJSON: 'x', attestationObject: 'x' }),
  factorCode: tokenUnits(limits.factorCode, 'auth.factor', 'code', { handle: 'nobody', ticket: 'x' }),
  recoveryCodes: { by: 'packages/server/test/rules/proof.test.ts' },
  ticketMs: { by: 'packages/server/test/rules/proof.test.ts' },
  confirmedMs: { by: 'packages/server/test/rules/proof.test.ts' },
  async passwordMin(place) {
    const register = async (length: number) =>
      (await place.server.post('auth.register', { ...(await newcomer()), password: 'correct horse'.slice(0, length) })).json<{ error?: ErrorBody }>().error;
    expect(await register(limits.passwordMin)).toBeUndefined();
    expect(await register(limits.passwordMin - 1)).toMatchObject({ code: 'bad_request', path: 'params.password', message: expect.stringContaining(String(limits.passwordMin)) });
  },
  async passwordMax(place) {
    const register = async (length: number) =>
      (await place.server.post('auth.register', { ...(await newcomer()), password: 'xy'.repeat(length).slice(0, length) })).json<{ error?: ErrorBody }>().error;
    expect(await register(limits.passwordMax)).toBeUndefined();
    expect(await register(limits.passwordMax + 1)).toMatchObject({ code: 'bad_request', path: 'params.password', message: expect.stringContaining(String(limits.passwordMax)) });
  },
  async groupMembers(place) {
    const { anna, conversationId } = await place.group();
    const [dora, emil] = [await place.server.guest(), await place.server.guest()];
    await place.rows.run(`update conversations set member_count = ${limits.groupMembers - 1} where id = ?`, conversationId);
    await anna.call('member.add', { conversationId, userIds: [dora.id] });
    const before = await place.head(conversationStream(conversationId));
    await expect(anna.call('member.add', { conversationId, userIds: [emil.id] })).rejects.toMatchObject({
      code: 'too_many',
      message: expect.stringContaining(String(limits.groupMembers)),
    });
    // Whole or not at all.
    expect(await place.head(conversationStream(conversationId))).toEqual(before);
    expect((await anna.call('member.list', { conversationId })).members.map(({ userId }) => userId)).not.toContain(emil.id);
  },
  roomBarMs: { by: 'packages/server/test/rules/rooms.test.ts' },
  async membersPerCall(place) {
    await entries(limits.membersPerCall, 'conversation.create', 'memberIds', async () => ({ title: 'Crowd' }))(place);
    await entries(limits.membersPerCall, 'member.add', 'userIds', async ({ server }, token) => ({
      conversationId: (await server.call('conversation.create', { title: 'Club', memberIds: [] }, token)).conversation.id,
    }))(place);
  },
  groupsPerHour: { by: 'packages/server/test/rules/quotas.test.ts' },
  groupsPerDay: { by: 'packages/server/test/rules/quotas.test.ts' },
  addedPerHour: { by: 'packages/server/test/rules/quotas.test.ts' },
  strangersPerHour: { by: 'packages/server/test/rules/quotas.test.ts' },
  newAccountMs: { by: 'packages/server/test/rules/quotas.test.ts' },
  uploadsPerHour: { by: 'packages/server/test/rules/quotas.test.ts' },
  uploadKibPerDay: { by: 'packages/server/test/rules/quotas.test.ts' },
  renamesPerMinute: { by: 'packages/server/test/rules/quotas.test.ts' },
  comingsPerMinute: { by: 'packages/server/test/rules/quotas.test.ts' },
  async openInvites(place) {
    const operator = await place.operator();
    await place.rows.run(
      `insert into invites (code_hash, operator, uses_left, expires_at, created_by) ${numbers(limits.openInvites - 1)} select '${unique('invite')}-' || i, 0, 1, ${Date.now() + 3_600_000}, ? from n`,
      operator.id,
    );
    await operator.call('admin.invite', {});
    await expect(operator.call('admin.invite', {})).rejects.toMatchObject({ code: 'too_many', message: expect.stringContaining(String(limits.openInvites)) });
    await place.rows.run('delete from invites where created_by = ?', operator.id);
  },
  async conversationsPerUser(place) {
    const { anna, bert } = await place.friends();
    // One is the announcements.
    await place.rows.run(`insert into inbox (user_id, conversation_id, version, joined) ${numbers(limits.conversationsPerUser - 2)} select ?, 'many-' || i, 1, 1 from n`, anna.id);
    await anna.call('conversation.create', { title: 'The last', memberIds: [] });
    const tooMany = { code: 'too_many', message: expect.stringContaining(String(limits.conversationsPerUser)) };
    await expect(anna.call('conversation.create', { title: 'One more', memberIds: [] })).rejects.toMatchObject(tooMany);
    await expect(anna.call('conversation.direct', { userId: bert.id })).rejects.toMatchObject(tooMany);
    await expect(bert.call('conversation.create', { title: 'With her', memberIds: [anna.id] })).rejects.toMatchObject(tooMany);
    await place.rows.run('delete from inbox where user_id = ?', anna.id);
  },
  async pinnedConversations(place) {
    const { anna, conversationId } = await place.direct();
    const { conversation } = await anna.call('conversation.create', { title: 'One more', memberIds: [] });
    await place.rows.run(
      `insert into inbox (user_id, conversation_id, version, joined, pinned_at) ${numbers(limits.pinnedConversations - 1)} select ?, '${unique('pinned')}-' || i, 1, 1, 1 from n`,
      anna.id,
    );
    await anna.call('conversation.pin', { conversationId, on: true });
    await expect(anna.call('conversation.pin', { conversationId: conversation.id, on: true })).rejects.toMatchObject({
      code: 'too_many',
      message: expect.stringContaining(String(limits.pinnedConversations)),
    });
    await anna.call('conversation.pin', { conversationId, on: false });
    await anna.call('conversation.pin', { conversationId: conversation.id, on: true });
  },
  async friendsPerUser(place) {
    const [anna, bert, cleo, dora, emil] = await Promise.all(['anna', 'bert', 'cleo', 'dora', 'emil'].map((name) => place.server.guest(name)));
    const prefix = await crowd(place, limits.friendsPerUser - 1);
    // Of each kind that is one's own doing.
    const kinds =
      "case when i % 4 < 2 then 'friends' when i % 4 = 2 then 'outgoing' else 'none' end, case when i % 8 = 3 then 1 else 0 end, case when i % 8 = 7 then 'x' else '' end";
    await place.rows.run(
      `insert into friends (user_id, friend_id, version, since, state, blocked, remark) ${numbers(limits.friendsPerUser - 1)} select ?, '${prefix}-' || i, 1, 0, ${kinds} from n`,
      anna!.id,
    );
    for (const one of [bert, cleo]) await place.server.call('friend.request', { userId: anna!.id }, one!.token);
    const as = (method: MethodName, params: object) => refusal(place, anna!.token, method, params);
    expect(await as('friend.accept', { userId: bert!.id })).toBeUndefined();
    const tooMany = { code: 'too_many', message: expect.stringContaining(String(limits.friendsPerUser)) };
    expect(await as('friend.accept', { userId: cleo!.id })).toMatchObject(tooMany);
    expect(await as('friend.request', { userId: cleo!.id })).toMatchObject(tooMany);
    expect(await as('friend.request', { userId: dora!.id })).toMatchObject(tooMany);
    expect(await as('block.add', { userId: dora!.id })).toMatchObject(tooMany);
    expect(await as('friend.remark', { userId: dora!.id, remark: 'x' })).toMatchObject(tooMany);
    // Whom one has already may be given more, and others may still ask.
    expect(await as('friend.remark', { userId: bert!.id, remark: 'x' })).toBeUndefined();
    expect(await refusal(place, emil!.token, 'friend.request', { userId: anna!.id })).toBeUndefined();
    // Room is made by taking something away.
    expect(await as('friend.remark', { userId: bert!.id, remark: '' })).toBeUndefined();
    expect(await as('friend.remove', { userId: bert!.id })).toBeUndefined();
    expect(await as('friend.accept', { userId: cleo!.id })).toBeUndefined();
  },
  async incomingRequests(place) {
    const [anna, bert, cleo] = await Promise.all(['anna', 'bert', 'cleo'].map((name) => place.server.guest(name)));
    const prefix = await crowd(place, limits.incomingRequests - 1);
    await place.rows.run(
      `insert into friends (user_id, friend_id, version, since, state) ${numbers(limits.incomingRequests - 1)} select ?, '${prefix}-' || i, 1, 0, 'incoming' from n`,
      anna!.id,
    );
    const ask = (person: typeof bert) => refusal(place, person!.token, 'friend.request', { userId: anna!.id });
    expect(await ask(bert)).toBeUndefined();
    const tooMany = { code: 'too_many', message: expect.stringContaining(String(limits.incomingRequests)) };
    expect(await ask(cleo)).toMatchObject(tooMany);
    // Blocked or not, the answer is the same.
    await place.server.call('block.add', { userId: cleo!.id }, anna!.token);
    expect(await ask(cleo)).toMatchObject(tooMany);
    await place.server.call('block.remove', { userId: cleo!.id }, anna!.token);
    await place.server.call('friend.refuse', { userId: bert!.id }, anna!.token);
    expect(await ask(cleo)).toBeUndefined();
  },
  async draftsPerUser(place) {
    const { anna, conversationId } = await place.direct();
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [] });
    await place.rows.run(
      `insert into drafts (user_id, conversation_id, version, text, at) ${numbers(limits.draftsPerUser - 1)} select ?, '${unique('draft')}-' || i, 1, 'x', 1 from n`,
      anna.id,
    );
    const set = (id: string, text: string) => refusal(place, anna.token, 'draft.set', { conversationId: id, text, base: 0 });
    expect(await set(conversationId, 'one')).toBeUndefined();
    expect(await set(conversationId, 'one more word')).toBeUndefined();
    expect(await set(conversation.id, 'two')).toMatchObject({ code: 'too_many', message: expect.stringContaining(String(limits.draftsPerUser)) });
    await anna.call('draft.set', { conversationId, text: '', base: Number.MAX_SAFE_INTEGER });
    expect(await set(conversation.id, 'two')).toBeUndefined();
  },
  async draftBytes(place) {
    const { anna, conversationId } = await place.direct();
    // In bytes, of which a Chinese letter has three; what another device had written counts too.
    const long = '字'.repeat(Math.floor((limits.draftBytes - 30) / 6));
    await place.rows.run("insert into drafts (user_id, conversation_id, version, text, other, at) values (?, 'elsewhere', 1, ?, ?, 1)", anna.id, long, long);
    const room = limits.draftBytes - 2 * Buffer.byteLength(long);
    const set = (text: string) => refusal(place, anna.token, 'draft.set', { conversationId, text, base: Number.MAX_SAFE_INTEGER });
    expect(await set('x'.repeat(room))).toBeUndefined();
    expect(await set('x'.repeat(room + 1))).toMatchObject({ code: 'too_many', message: expect.stringContaining(String(limits.draftBytes)) });
    expect(await set('')).toBeUndefined();
  },
  async hiddenMessages(place) {
    const { anna, conversationId } = await place.direct();
    const [first, second] = [await anna.say(conversationId), await anna.say(conversationId)];
    await place.rows.run(
      `insert into hidden (user_id, message_id, conversation_id, seq, version) ${numbers(limits.hiddenMessages - 1)} select ?, '${unique('hidden')}-' || i, 'nowhere', i, 1 from n`,
      anna.id,
    );
    await anna.call('message.hide', { messageId: first.id });
    await expect(anna.call('message.hide', { messageId: second.id })).rejects.toMatchObject({ code: 'too_many', message: expect.stringContaining(String(limits.hiddenMessages)) });
  },
  async openReports(place) {
    const { anna, bert, conversationId } = await place.direct();
    await place.rows.run(
      `insert into reports (id, from_id, about_id, conversation_id, reason, note, messages, names, created_at, settled)
      ${numbers(limits.openReports - 1)} select '${unique('report')}-' || i, ?, 'nobody', 'nowhere', 'spam', '', '[]', '{}', 0, 0 from n`,
      anna.id,
    );
    const report = (userId: string, where: string) => refusal(place, anna.token, 'report.send', { conversationId: where, userId, reason: 'spam' });
    expect(await report(bert.id, conversationId)).toBeUndefined();
    const { conversation } = await anna.call('conversation.create', { title: 'Club', memberIds: [bert.id] });
    expect(await report(bert.id, conversation.id)).toMatchObject({ code: 'too_many' });
  },
  reportedMessages: { by: 'packages/server/test/rules/reports.test.ts' },
  reportedText: { by: 'packages/server/test/rules/reports.test.ts' },
  async reportsPage(place) {
    const operator = await place.operator();
    const ask = (limit: number) => refusal(place, operator.token, 'admin.reports', { limit });
    expect([await ask(limits.reportsPage), (await ask(limits.reportsPage + 1))?.code]).toEqual([undefined, 'bad_request']);
  },
  async withdrawn(place) {
    const { anna, conversationId } = await place.direct();
    const [first, second] = [unique('client-id'), unique('client-id')];
    const withdraw = (clientId: string) => anna.call('message.withdraw', { conversationId, clientId });
    const sent = (clientId: string) => refusal(place, anna.token, 'message.send', { conversationId, clientId, type: 'text', text: 'hello' });
    await withdraw(first);
    await place.rows.run(
      `insert into withdrawn (sender_id, client_id, at) ${numbers(limits.withdrawn - 1)} select ?, '${unique('withdrawn')}-' || i, ${Date.now() + 1_000} from n`,
      anna.id,
    );
    await withdraw(second);
    expect([(await sent(second))?.code, await sent(first)]).toEqual(['too_late', undefined]);
  },
  voiceMs: { by: 'packages/server/test/rules/voice.test.ts' },
  heardSeqs: { by: 'packages/server/test/rules/voice.test.ts' },
  sessionsPerUser: { by: 'packages/server/test/rules/sign-in.test.ts' },
  pushSubscriptions: { by: 'packages/server/test/rules/push.test.ts' },
  pushEndpoint: { by: 'packages/server/test/rules/push.test.ts' },
  pushBytes: { by: 'packages/server/test/rules/push.test.ts' },
  async retentionDays(place) {
    const { anna, conversationId } = await place.group();
    const keep = (days: number) => anna.client.request('conversation.retention', { conversationId, days });
    expect((await keep(limits.retentionDays)).error).toBeUndefined();
    expect((await keep(limits.retentionDays + 1)).error).toMatchObject({
      code: 'bad_request',
      path: 'params.days',
      message: expect.stringContaining(String(limits.retentionDays)),
    });
  },
  async historyPage(place) {
    const { anna, conversationId } = await place.direct();
    await place.fill(conversationId, anna, limits.historyPage + 1);
    const page = await anna.call('message.history', { conversationId, limit: limits.historyPage });
    expect([page.messages.length, page.before]).toEqual([limits.historyPage, true]);
    for (const [method, more] of [['message.history'], ['message.media', { kind: 'links' }], ['member.list']] as const) {
      expect(await refusal(place, anna.token, method, { conversationId, ...more, limit: limits.historyPage + 1 })).toMatchObject({
        code: 'bad_request',
        path: 'params.limit',
        message: expect.stringContaining(String(limits.historyPage)),
      });
    }
  },
  pageBytes: { by: 'packages/server/test/rules/messages.test.ts' },
  async snapshotMessages(place) {
    const { anna, conversationId, stream } = await place.direct();
    await place.fill(conversationId, anna, limits.snapshotMessages + 1);
    const { entities } = await anna.call('stream.snapshot', { stream });
    const seqs = entities.flatMap((entity) => (entity.kind === 'message' ? [entity.seq] : []));
    expect(seqs).toEqual(Array.from({ length: limits.snapshotMessages }, (_, index) => index + 2));
  },
  async snapshotMembers(place) {
    const { anna, conversationId, stream } = await place.group();
    const prefix = await crowd(place, limits.snapshotMembers);
    await place.rows.run(
      `insert into members (conversation_id, user_id, version, role, state, joined_at) ${numbers(limits.snapshotMembers)} select ?, '${prefix}-' || i, 1, 'member', 'joined', 0 from n`,
      conversationId,
    );
    const { entities } = await anna.call('stream.snapshot', { stream });
    expect(entities.filter(({ kind }) => kind === 'member')).toHaveLength(limits.snapshotMembers);
    // The rest comes page by page.
    const found = new Set<string>();
    for (let after = '', more = true; more;) {
      const page = await anna.call('member.list', { conversationId, ...(after !== '' && { after }) });
      for (const { userId } of page.members) found.add(userId);
      ({ more } = page);
      after = page.members.at(-1)!.userId;
    }
    expect(found.size).toBe(limits.snapshotMembers + 3);
  },
  resumeEntities: { by: 'packages/server/test/rules/streams.test.ts' },
  largeConversationMembers: 'bounds nothing yet',
  attentionMembers: { by: 'packages/server/test/rules/attention.test.ts' },
  presenceWatched: entries(limits.presenceWatched, 'presence.watch', 'userIds', nothing),
  async roomOnlineUsers(place) {
    const operator = await place.operator();
    const { conversation } = await operator.call('room.create', { title: 'Stadium' });
    const count = limits.roomOnlineUsers + 5;
    const prefix = await crowd(place, count);
    await place.rows.run(
      `insert into members (conversation_id, user_id, version, role, state, joined_at) ${numbers(count)} select ?, '${prefix}-' || i, 1, 'member', 'joined', 0 from n`,
      conversation.id,
    );
    await place.rows.run(`insert into inbox (user_id, conversation_id, version, joined) ${numbers(count)} select '${prefix}-' || i, ?, 1, 1 from n`, conversation.id);
    const { core } = place.server.running;
    const people = Array.from({ length: count }, (_, index) => ({ userId: `${prefix}-${index + 1}`, sessionId: 'none' }));
    for (const person of people) core.connected(person);
    const online = () => operator.call('room.online', { conversationId: conversation.id });
    await expect.poll(async () => (await online()).count, { timeout: 10_000 }).toBe(count + 1);
    expect((await online()).users).toHaveLength(limits.roomOnlineUsers);
    for (const person of people) core.disconnected(person);
  },
  searchResults: { by: 'packages/server/test/rules/people.test.ts' },
  async headsPerCall(place) {
    const anna = await place.person();
    const ask = (length: number) => anna.client.request('stream.heads', { streams: Array.from({ length }, () => userStream(anna.id)) });
    expect((await ask(limits.headsPerCall)).result).toEqual({ era: expect.any(String), heads: { [userStream(anna.id)]: expect.any(Number) } });
    expect((await ask(limits.headsPerCall + 1)).error).toMatchObject({
      code: 'bad_request',
      path: 'params.streams',
      message: expect.stringContaining(String(limits.headsPerCall)),
    });
  },
};

const names = Object.keys(proofs) as LimitName[];

describe.each(engines)('limits on %s', (engine) => {
  const place = usePlace({ engine, config: { offlineGraceMs: 0 } });

  test.each(names.filter((name) => typeof proofs[name] === 'function'))('[LI1] %s is enforced, the answer says how many, and it is counted', async (name) => {
    const before = await hits(place, name);
    await (proofs[name] as (place: Place) => Promise<void>)(place);
    expect.hasAssertions();
    // And who watches the server sees that it was hit.
    expect((await hits(place, name)) ?? Infinity).toBeGreaterThan(before ?? 0);
  });
});

/** How often a limit was hit on this server, by its metrics; undefined: it refuses nobody. */
async function hits({ server }: Place, name: LimitName): Promise<number | undefined> {
  const counted = (await server.running.metrics.registry.getSingleMetric('kith_limit_hits_total')!.get()).values;
  return counted.find(({ labels }) => labels['limit'] === (countedAs[name] ?? name))?.value;
}

test('[LI3] every limit has a counter that starts from zero, but those that refuse nobody', async () => {
  const { registry } = openMetrics();
  const counted = new Set((await registry.getSingleMetric('kith_limit_hits_total')!.get()).values.map(({ labels }) => labels['limit']));
  expect(names.filter((name) => !counted.has(countedAs[name] ?? name) && !refusingNobody.has(name))).toEqual([]);
  expect([...refusingNobody].filter((name) => counted.has(name))).toEqual([]);
  // Each that code of the server throws is one of these.
  const code = globSync('packages/server/src/**/*.ts').map((file) => readFileSync(file, 'utf8'));
  const thrown = new Set(code.flatMap((text) => [...text.matchAll(/limit: '(\w+)'/g)].map((match) => match[1]!)));
  expect(thrown.size).toBeGreaterThan(15);
  expect([...thrown].filter((name) => !counted.has(name))).toEqual([]);
});

describe.each(engines)('lengths on %s', (engine) => {
  const place = usePlace({ engine });

  test('[LI2] a name is measured as it is stored: normalised', async () => {
    const anna = await place.person();
    const rename = async (name: string) => (await anna.call('user.update', { name })).user.name;
    // Composed, two units become one; of some letters the composed form is the longer one.
    expect(await rename('e\u0301'.repeat(limits.name))).toBe('\u00e9'.repeat(limits.name));
    expect(await rename(`${' '.repeat(limits.name)}x`)).toBe('x');
    await expect(rename('\u0958'.repeat(limits.name / 2 + 1))).rejects.toMatchObject({ message: tooLong(limits.name, 'params.name').message });
    expect(await rename('\u0958'.repeat(limits.name / 2))).toHaveLength(limits.name);
    const bert = await place.server.guest();
    expect((await anna.call('friend.remark', { userId: bert.id, remark: ' Jose\u0301  from  work ' })).friend.remark).toBe('Jos\u00e9 from work');
    expect((await anna.call('friend.remark', { userId: bert.id, remark: '' })).friend.remark).toBe('');
  });

  test('[LI2] text of a message and a password are measured in UTF-16 units too', async () => {
    const { anna, conversationId } = await place.direct();
    const most = '😀'.repeat(limits.messageText / 2);
    await anna.say(conversationId, most);
    await expect(anna.say(conversationId, `${most}x`)).rejects.toMatchObject({ message: tooLong(limits.messageText, 'params.text').message });
    expect(await refusal(place, anna.token, 'draft.set', { conversationId, base: 0, text: `${most}x` })).toMatchObject(tooLong(limits.messageText, 'params.text'));
    const register = (given: string) => place.server.call('auth.register', { handle: unique('anna'), name: 'Anna', password: given });
    await register('😀😎😇😍😂');
    await expect(register(`${'😀😎'.repeat(limits.passwordMax / 4)}x`)).rejects.toMatchObject({ message: tooLong(limits.passwordMax, 'params.password').message });
  });
});

test('[LI1] every limit is proven here or by a test that names it', () => {
  expect(new Set(names)).toEqual(new Set(Object.keys(limits)));
  const unproven = names.filter((name) => {
    const proof = proofs[name];
    return typeof proof === 'object' && !readFileSync(proof.by, 'utf8').includes(`limits.${name}`);
  });
  expect(unproven).toEqual([]);
});

test('[LI1] a limit that is said to bound nothing is asked for nowhere', () => {
  const code = globSync('packages/*/src/**/*.{ts,vue}').map((file) => readFileSync(file, 'utf8'));
  const idle = names.filter((name) => proofs[name] === 'bounds nothing yet');
  expect(idle.filter((name) => code.some((text) => new RegExp(`limits\\.${name}\\b`).test(text)))).toEqual([]);
});
