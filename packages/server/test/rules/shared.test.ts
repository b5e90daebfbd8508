import { describe, expect, test } from 'vitest';
import { clientId, engines, usePlace } from './place.ts';

const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
const mp4 = Buffer.from('\0\0\0\x18ftypisom\0\0\x02\0isomiso2', 'latin1');

describe.each(engines)('what a conversation shares, on %s', (engine) => {
  const place = usePlace({ engine });

  test('[MS13] is found by what it is, the newest first, page by page', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const send = async (type: 'text' | 'emoji' | 'image' | 'file', text: string, fileId?: string): Promise<number> =>
      (await anna.call('message.send', { conversationId, clientId: clientId(), type, text, ...(fileId !== undefined && { fileId }) })).message.seq;
    const list = async (kind: 'media' | 'files' | 'voice' | 'links', where: { before?: number; after?: number; limit?: number } = {}) => {
      const { messages, more } = await bert.call('message.media', { conversationId, kind, ...where });
      return { seqs: messages.map(({ seq }) => seq), more };
    };
    const picture = await place.server.upload(anna, png, { name: 'a.png' });
    const [video, text] = [await place.server.upload(anna, mp4, { name: 'a.mp4' }), await place.server.upload(anna, Buffer.from('abc'), { name: 'a.txt' })];
    const pictures = [await send('image', 'see https://kith.example/', picture.id), await send('file', '', video.id)];
    const files = [await send('file', '', text.id), await send('file', 'not shown', picture.id)];
    await send('text', 'no link, and `https://code.example` is none');
    await send('text', 'mailto:anna@kith.example');
    await send('emoji', '🍁');
    const links = [pictures[0]!, await send('text', 'see https://kith.example/'), await send('text', '> [here](http://kith.example/a)')];
    expect(await list('media')).toEqual({ seqs: pictures.toReversed(), more: false });
    expect(await list('files')).toEqual({ seqs: files.toReversed(), more: false });
    expect(await list('links')).toEqual({ seqs: links.toReversed(), more: false });
    expect(await list('voice')).toEqual({ seqs: [], more: false });
    expect(await list('media', { limit: 1 })).toEqual({ seqs: [pictures[1]], more: true });
    expect(await list('media', { limit: 1, before: pictures[1]! })).toEqual({ seqs: [pictures[0]], more: false });
    expect(await list('media', { before: 1 })).toEqual({ seqs: [], more: false });
    expect(await list('links', { after: links[0]! })).toEqual({ seqs: links.slice(1).toReversed(), more: false });
    expect(await list('links', { after: 0, limit: 2 })).toEqual({ seqs: links.slice(0, 2).toReversed(), more: true });
    await expect(list('links', { after: 1, before: 5 })).rejects.toMatchObject({ code: 'bad_request' });
  });

  test('[MS13] what is edited is found as what it is then, what is recalled no more', async () => {
    const { anna, conversationId } = await place.direct();
    const list = async (kind: 'media' | 'links'): Promise<number[]> => (await anna.call('message.media', { conversationId, kind })).messages.map(({ seq }) => seq);
    const [plain, linked] = [await anna.say(conversationId, 'plain'), await anna.say(conversationId, 'https://kith.example/')];
    const picture = await place.server.upload(anna, png, { name: 'a.png' });
    const { message } = await anna.call('message.send', { conversationId, clientId: clientId(), type: 'image', text: '', fileId: picture.id });
    await anna.call('message.edit', { messageId: plain.id, text: 'now https://kith.example/' });
    await anna.call('message.edit', { messageId: message.id, text: 'https://kith.example/' });
    expect([await list('links'), await list('media')]).toEqual([[message.seq, linked.seq, plain.seq], [message.seq]]);
    await anna.call('message.edit', { messageId: plain.id, text: 'plain again' });
    await anna.call('message.delete', { messageId: linked.id });
    await anna.call('message.delete', { messageId: message.id });
    expect([await list('links'), await list('media')]).toEqual([[], []]);
  });

  test('[MS13] a page ends with 256 KiB of text, and says that there is more', async () => {
    const { anna, conversationId } = await place.direct();
    const text = `https://kith.example/ ${'字'.repeat(7_970)}`;
    for (let n = 0; n < 12; n++) await anna.say(conversationId, text);
    const first = await anna.call('message.media', { conversationId, kind: 'links' });
    expect([first.messages.length, first.more]).toEqual([10, true]);
    const rest = await anna.call('message.media', { conversationId, kind: 'links', before: first.messages.at(-1)!.seq });
    expect([rest.messages.length, rest.more]).toEqual([2, false]);
  });
});
