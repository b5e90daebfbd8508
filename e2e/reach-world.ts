import sharp from 'sharp';
import type { Person } from '../packages/server/test/harness.ts';
import { type Site, password } from './people.ts';

/** Ada, and what she sees: people with remarks and Chinese names, a group, a room, requests, unread messages. */
export interface World {
  ada: Person;
  noor: Person;
  ming: Person;
  /** Paths of her conversations. */
  paths: { noor: string; ming: string; group: string; lobby: string };
}

/** Makes a world over the server's own methods. */
export async function makeWorld({ server }: Site): Promise<World> {
  const [ada, noor, ming, eve] = await Promise.all([
    server.register('ada', { name: 'Ada', password }),
    server.register('noor', { name: 'Noor', password }),
    server.register('ming', { name: '王小明', password }),
    server.register('eve', { name: 'Eve', password }),
  ]);
  await server.befriend(ada, noor, ming);
  await server.call('friend.remark', { userId: noor.id, remark: 'Cousin N' }, ada.token);
  await server.call('friend.request', { userId: ada.id, note: 'We met on the ferry.' }, eve.token);
  let id = 0;
  const say = async (who: Person, conversationId: string, ...texts: string[]): Promise<void> => {
    for (const text of texts) await server.call('message.send', { conversationId, clientId: `world-message-${++id}`, type: 'text', text }, who.token);
  };
  const open = async (one: Person, other: Person): Promise<string> => (await server.call('conversation.direct', { userId: other.id }, one.token)).conversation.id;
  const withNoor = await open(ada, noor);
  await say(ada, withNoor, 'Are you **home**?', '🥟');
  await say(noor, withNoor, 'Just in. See https://example.org/a/rather/long/address/that/goes/on/and/on?and=has&more=words for the tickets.');
  const withMing = await open(ming, ada);
  await say(ming, withMing, '周六早上八点，南门见。', '带上雨衣！');
  const { conversation: group } = await server.call('conversation.create', { title: 'Weekend walk', memberIds: [noor.id, ming.id] }, ada.token);
  await say(noor, group.id, 'I bring tea.');
  await say(ada, group.id, '> I bring tea.\n\nAnd I the cake:\n\n1. lemon\n2. poppy seed\n\n`cake --bake`');
  const bytes = await sharp({ create: { width: 900, height: 600, channels: 3, background: '#7fa38a' } })
    .png()
    .toBuffer();
  for (const [type, name] of [
    ['image', 'lake.png'],
    ['image', 'hills.png'],
    ['file', 'Route 3.png'],
  ] as const) {
    const file = await server.upload(noor, bytes, { name });
    await server.call(
      'message.send',
      { conversationId: group.id, clientId: `world-message-${++id}`, type, text: name === 'hills.png' ? 'Up there!' : '', fileId: file.id },
      noor.token,
    );
  }
  await say(noor, group.id, 'The map: https://example.org/map');
  for (const conversationId of [withNoor, group.id]) await server.call('read.mark', { conversationId, seq: 1_000 }, ada.token);
  const { rooms } = await server.call('room.list', {}, ada.token);
  const lobby = rooms[0]!.conversation.id;
  await server.call('room.join', { conversationId: lobby }, ada.token);
  await say(ada, lobby, 'Hello, everybody.');
  const path = (conversationId: string): string => `/c/${conversationId}`;
  return { ada, noor, ming, paths: { noor: path(withNoor), ming: path(withMing), group: path(group.id), lobby: path(lobby) } };
}
