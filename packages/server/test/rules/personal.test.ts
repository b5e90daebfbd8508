import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Person, type TestServer, startTestServer } from '../harness.ts';

describe.each(['sqlite', 'postgres'] as const)('on %s', (engine) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ engine, config: { offlineGraceMs: 0 } });
  });
  afterAll(() => server.close());

  async function pair(): Promise<{ anna: Person; bert: Person; conversationId: string }> {
    const [anna, bert] = [await server.register(), await server.register()];
    await server.befriend(anna, bert);
    const { conversation } = await server.call('conversation.direct', { userId: bert.id }, anna.token);
    return { anna, bert, conversationId: conversation.id };
  }

  const say = (person: Person, conversationId: string) =>
    server.call('message.send', { conversationId, clientId: `c-${Math.random().toString(36).slice(2, 12)}`, type: 'text', text: 'hello' }, person.token);

  test('[CV12] the owner dissolves a group and its members get nothing of it from then on', async () => {
    const { anna, bert } = await pair();
    const { conversation } = await server.call('conversation.create', { title: 'Trip', memberIds: [bert.id] }, anna.token);
    const device = await server.connect(bert);
    await server.call('conversation.dissolve', { conversationId: conversation.id }, anna.token);
    const push = await device.push((candidate) => candidate.stream === `user:${bert.id}`);
    expect(push.entities).toMatchObject([{ kind: 'inbox', conversationId: conversation.id, joined: false }]);
    await device.settle();
    expect(device.frames.filter((frame) => 'stream' in frame && frame.stream === `conversation:${conversation.id}`)).toEqual([]);
    await expect(say(bert, conversation.id)).rejects.toMatchObject({ code: 'not_a_member' });
  });

  test('[MS11] a message hidden on one device is hidden on the other, and the sender hears nothing', async () => {
    const { anna, bert, conversationId } = await pair();
    const { message } = await say(anna, conversationId);
    const [second, sender] = [await server.connect(await server.login(bert)), await server.connect(anna)];
    await server.call('message.hide', { messageId: message.id }, bert.token);
    const push = await second.push((candidate) => candidate.entities.some((entity) => entity.kind === 'hidden'));
    expect(push.entities).toMatchObject([{ messageId: message.id, conversationId, seq: 1 }]);
    await sender.settle();
    expect(sender.frames.filter((frame) => 'stream' in frame)).toEqual([]);
  });

  test('[DR1] a draft written over one it had not seen keeps both', async () => {
    const { anna, conversationId } = await pair();
    const first = await server.call('draft.set', { conversationId, text: 'on the phone', base: 0 }, anna.token);
    const second = await server.call('draft.set', { conversationId, text: 'at the desk', base: 0 }, anna.token);
    expect(second.draft).toMatchObject({ text: 'at the desk', other: 'on the phone' });
    expect(second.draft.version).toBe(first.draft.version + 1);
    const third = await server.call('draft.set', { conversationId, text: 'both', base: second.draft.version }, anna.token);
    expect(third.draft).toMatchObject({ text: 'both', other: null });
  });

  test('[SE1] whoever switches receipts off tells nobody, and between two neither tells', async () => {
    const { anna, bert, conversationId } = await pair();
    await server.call('settings.update', { readReceipts: false }, bert.token);
    await say(anna, conversationId);
    await say(bert, conversationId);
    await server.call('read.mark', { conversationId, seq: 2 }, bert.token);
    await server.call('read.mark', { conversationId, seq: 2 }, anna.token);
    const { entities } = await server.call('stream.snapshot', { stream: `conversation:${conversationId}` }, anna.token);
    expect(entities.filter((entity) => entity.kind === 'receipt')).toEqual([]);
  });

  test('[SE1] whoever switches typing off is not seen typing', async () => {
    const { anna, bert, conversationId } = await pair();
    const device = await server.connect(anna);
    await server.call('settings.update', { typing: false }, bert.token);
    await server.call('typing.set', { conversationId }, bert.token);
    await say(bert, conversationId);
    await device.push((push) => push.entities.some((entity) => entity.kind === 'message'));
    expect(device.frames.filter((frame) => 'signal' in frame)).toEqual([]);
  });

  test('[SE2] hiding one’s presence looks like leaving, and later nothing is heard', async () => {
    const { anna, bert } = await pair();
    const watcher = await server.connect(anna);
    const hider = await server.connect(bert);
    expect((await watcher.call('presence.watch', { userIds: [bert.id] })).presence).toMatchObject([{ userId: bert.id, online: true }]);
    await server.call('settings.update', { presence: 'nobody' }, bert.token);
    expect(await watcher.signal()).toMatchObject({ signal: 'presence', data: { userId: bert.id, online: false, lastSeenAt: null } });
    await hider.close();
    expect((await watcher.call('presence.watch', { userIds: [bert.id] })).presence).toEqual([]);
    expect((await server.call('presence.watch', { userIds: [anna.id] }, bert.token)).presence).toEqual([]);
  });

  test('[SE2] presence for friends is not shown to people who only share a group', async () => {
    const { anna, bert } = await pair();
    const cleo = await server.register();
    await server.call('conversation.create', { title: 'Trip', memberIds: [bert.id, cleo.id] }, anna.token);
    await server.call('settings.update', { presence: 'friends' }, bert.token);
    expect((await server.call('presence.watch', { userIds: [bert.id] }, cleo.token)).presence).toEqual([]);
    expect((await server.call('presence.watch', { userIds: [bert.id] }, anna.token)).presence).toMatchObject([{ userId: bert.id }]);
  });
});
