import { type Message, type Push, limits } from '@kith/protocol';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer } from '../harness.ts';
import { type Web, openWeb } from '../web.ts';
import { type Someone, Place, engines } from './place.ts';

// What comes of links in messages. What is asked of whom, and what is not, is proven beside the process that asks
// (src/previews/fetcher.test.ts).

const page = (head: string): string => `<!doctype html><html><head>${head}</head><body></body></html>`;
const hello = page('<title>Hello</title><meta name="description" content="About us">');
const helloLink = { url: 'http://site.test/', site: 'site.test', title: 'Hello', description: 'About us' };

let web: Web;
beforeAll(async () => {
  web = await openWeb();
});
afterAll(() => web.close());

/** The next version of a message that has a preview. */
async function linked({ client }: Someone, messageId?: string): Promise<Message> {
  const has = ({ entities }: Push): boolean => entities.some((one) => one.kind === 'message' && one.link !== undefined && (messageId === undefined || one.id === messageId));
  return (await client.push(has)).entities.find((one) => one.kind === 'message')!;
}

let others = 0;
/** Comes when something that was sent later has its preview. */
async function later(someone: Someone, conversationId: string): Promise<Message> {
  const address = `other.test/${(others += 1)}`;
  web.pages[address] = page('<title>Later</title>');
  const { id } = await someone.say(conversationId, `http://${address}`);
  return linked(someone, id);
}

/** What was asked for but for what came later. */
const asked = (): string[] => web.asked.map(({ url }) => url).filter((url) => !url.startsWith('http://other.test/'));

describe.each(engines)('on %s', (engine) => {
  let place: Place;
  beforeAll(async () => {
    place = new Place({ engine, network: web.network });
    await place.open();
  });
  afterAll(() => place.close());
  afterEach(() => {
    for (const known of Object.keys(web.pages)) delete web.pages[known];
    web.asked.length = 0;
  });

  test('[LP1] the message is there at once, and the preview of its first link comes as its next version', async () => {
    const { anna, bert, conversationId } = await place.direct();
    let answer = (): void => {};
    web.pages['site.test/slow'] = (_request, response) => void (answer = () => response.writeHead(200, { 'content-type': 'text/html' }).end(hello));
    const sent = await anna.say(conversationId, 'Look: [here](http://site.test/slow) and https://secure.test/');
    expect(sent.link).toBeUndefined();
    const plain = await bert.client.push(({ entities }) => entities.some((one) => one.kind === 'message'));
    expect(plain.entities[0]).not.toHaveProperty('link');
    await expect.poll(() => web.asked.length).toBe(1);
    answer();
    for (const one of [anna, bert]) {
      const message = await linked(one, sent.id);
      expect(message).toEqual({ ...sent, version: sent.version + 1, link: { ...helloLink, url: 'http://site.test/slow' } });
    }
    const { messages } = await bert.call('message.history', { conversationId });
    expect(messages[0]!.link).toEqual({ ...helloLink, url: 'http://site.test/slow' });
    expect(asked()).toEqual(['http://site.test/slow']);
  });

  test('[LP1] also in notes to oneself and in announcements; not of code, of mail, or of words beside a file', async () => {
    web.pages['site.test/'] = hello;
    const anna = await place.person();
    const { conversation } = await anna.call('conversation.direct', { userId: anna.id });
    await anna.say(conversation.id, '`http://site.test/`\n```\nhttp://site.test/\n```\nmailto:anna@site.test');
    const file = await place.server.upload(anna, Buffer.from('words'));
    await anna.call('message.send', { conversationId: conversation.id, clientId: 'with-a-file', type: 'file', text: 'http://site.test/', fileId: file.id });
    expect((await later(anna, conversation.id)).link).toMatchObject({ title: 'Later' });
    expect(asked()).toEqual([]);
    const { message } = await (await place.operator()).call('announcement.send', { text: 'New: http://site.test/' });
    expect((await linked(anna, message.id)).link).toEqual(helloLink);
  });

  test('[LP1] a repeated send has the preview that is there, and makes no other', async () => {
    web.pages['site.test/'] = hello;
    const { anna, conversationId } = await place.direct();
    const sent = await anna.say(conversationId, 'http://site.test/', 'said-twice-01');
    const message = await linked(anna, sent.id);
    expect(await anna.say(conversationId, 'http://site.test/', 'said-twice-01')).toEqual(message);
  });

  test('[LP2] the words of the page are the best it has, cleaned and cut', async () => {
    const { anna, conversationId } = await place.direct();
    const shown = async (name: string, answer: Web['pages'][string]): Promise<Message['link']> => {
      web.pages[`site.test/${name}`] = answer;
      return (await linked(anna, (await anna.say(conversationId, `http://site.test/${name}`)).id)).link;
    };
    const as =
      (type: string, bytes: Buffer): Web['pages'][string] =>
      (_request, response) =>
        void response.writeHead(200, { 'content-type': type }).end(bytes);
    const best =
      '<title>t</title><meta name="twitter:title" content="tw"><meta property="og:title" content="Og &amp; co"><meta name="description" content="d"><meta property="og:description" content="od">';
    expect(await shown('best', page(best))).toMatchObject({ title: 'Og & co', description: 'od' });
    expect(await shown('first', page('<title>One</title><title>Two</title>'))).toMatchObject({ title: 'One' });
    expect(await shown('behind', page('<title>Head</title>').replace('</body>', '<meta property="og:title" content="Body"></body>'))).toMatchObject({ title: 'Head' });
    // What is not seen, turns the direction, or breaks the line.
    expect(await shown('dirty', page('<title>  gpj\u202e.exe\u200b\u0007\n\t ok \u{e0041} 👩\u200d💻</title>'))).toMatchObject({ title: 'gpj.exe ok 👩\u200d💻' });
    expect((await shown('zalgo', page(`<title>a${'\u0301'.repeat(40)}</title>`)))!.title.length).toBeLessThanOrEqual(limits.combiningMarks + 1);
    const long = (await shown('long', page(`<title>${'字'.repeat(500)}</title><meta name="description" content="${'😀'.repeat(500)}">`)))!;
    expect([long.title.length, long.title.at(-1)]).toEqual([limits.linkTitle, '…']);
    expect([long.description!.length <= limits.linkDescription, long.description!.isWellFormed()]).toEqual([true, true]);
    // Markup is text here as everywhere.
    expect(await shown('markup', page('<title>&lt;b&gt;**x**&lt;/b&gt;</title>'))).toMatchObject({ title: '<b>**x**</b>' });
    // 你好, as pages in China still say it: by the header, by the page, and by a mark.
    const gbk = Buffer.concat([Buffer.from('<title>'), Buffer.from([0xc4, 0xe3, 0xba, 0xc3]), Buffer.from('</title>')]);
    expect(await shown('gbk', as('text/html; charset=GBK', gbk))).toMatchObject({ title: '你好' });
    expect(await shown('gb2312', as('text/html', Buffer.concat([Buffer.from('<meta http-equiv="Content-Type" content="text/html; charset=gb2312">'), gbk])))).toMatchObject({
      title: '你好',
    });
    expect(await shown('utf16', as('text/html', Buffer.from('\ufeff<title>你好</title>', 'utf16le')))).toMatchObject({ title: '你好' });
    expect(await shown('unknown', as('text/html; charset=klingon', Buffer.from('<title>你好</title>')))).toMatchObject({ title: '你好' });
    // In pieces that part a character.
    const words = Buffer.from(`${' '.repeat(1_100)}<title>你好</title>`);
    web.pages['site.test/pieces'] = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).write(words.subarray(0, 1_090));
      let at = 1_090;
      const next = (): void => {
        if (at === words.length) return void response.end();
        response.write(words.subarray(at, (at += 1)));
        setImmediate(next);
      };
      next();
    };
    expect((await linked(anna, (await anna.say(conversationId, 'http://site.test/pieces')).id)).link).toMatchObject({ title: '你好' });
  });

  test('[LP2] the host that is shown is the one where it was, whatever the page calls itself', async () => {
    const { anna, conversationId } = await place.direct();
    web.pages['site.test/bank'] = (_request, response) => void response.writeHead(302, { location: 'https://secure.test/' }).end();
    web.pages['secure.test/'] = page('<title>Your bank</title><meta property="og:site_name" content="bank.example"><meta property="og:url" content="https://bank.example/">');
    const { link } = await linked(anna, (await anna.say(conversationId, 'http://site.test/bank')).id);
    expect(link).toEqual({ url: 'http://site.test/bank', site: 'secure.test', title: 'Your bank' });
  });

  test('[LP6] what is there is remembered, and that there is nothing; two who ask at once are one', async () => {
    const { anna, bert, conversationId } = await place.direct();
    web.pages['site.test/known'] = hello;
    await Promise.all([anna.say(conversationId, 'http://site.test/known'), bert.say(conversationId, 'http://site.test/known#part')]);
    await expect.poll(async () => (await anna.call('message.history', { conversationId })).messages.filter(({ link }) => link).length).toBe(2);
    await anna.say(conversationId, 'http://site.test/nothing');
    await anna.say(conversationId, 'http://site.test/nothing');
    await later(anna, conversationId);
    await anna.say(conversationId, 'http://site.test/nothing');
    await later(anna, conversationId);
    expect(asked().sort()).toEqual(['http://site.test/known', 'http://site.test/nothing']);
  });

  test('[LP7] a preview that comes too late is of no message: edited, recalled, unlinked, or ended with the conversation', async () => {
    const { anna, bert, conversationId } = await place.group();
    const answers: (() => void)[] = [];
    web.pages['site.test/late'] = (_request, response) => void answers.push(() => response.writeHead(200, { 'content-type': 'text/html' }).end(hello));
    const say = async (): Promise<string> => (await anna.say(conversationId, 'http://site.test/late')).id;
    const [edited, recalled, unlinked, kept] = [await say(), await say(), await say(), await say()];
    await expect.poll(() => answers.length).toBe(1);
    await anna.call('message.edit', { messageId: edited, text: 'http://site.test/other' });
    await anna.call('message.delete', { messageId: recalled });
    await anna.call('message.unlink', { messageId: unlinked });
    answers[0]!();
    await linked(bert, kept);
    const { messages } = await bert.call('message.history', { conversationId });
    expect(messages.filter(({ link }) => link).map(({ id }) => id)).toEqual([kept]);
  });

  test('[LP7] with new words the preview is of their first link: another, the same, or none', async () => {
    web.pages['site.test/'] = hello;
    web.pages['site.test/two'] = page('<title>Two</title>');
    const { anna, bert, conversationId } = await place.direct();
    const { id } = await anna.say(conversationId, 'http://site.test/');
    await linked(bert, id);
    const edit = async (text: string): Promise<Message> => (await anna.call('message.edit', { messageId: id, text })).message;
    expect((await edit('this: http://site.test/')).link).toEqual(helloLink);
    expect((await edit('that: http://site.test/two')).link).toBeUndefined();
    await expect.poll(async () => (await anna.call('message.history', { conversationId })).messages[0]!.link?.title).toBe('Two');
    expect((await edit('neither')).link).toBeUndefined();
    expect((await place.rows.run('select link, link_url, link_file_id from messages where id = ?', id))[0]).toEqual({ link: null, link_url: null, link_file_id: null });
  });

  test('[LP7] the sender takes a preview away for everybody; it does not come back with the same link, and does with another', async () => {
    web.pages['site.test/'] = hello;
    web.pages['site.test/two'] = page('<title>Two</title>');
    const { anna, bert, conversationId, stream } = await place.direct();
    const { id } = await anna.say(conversationId, 'http://site.test/');
    await linked(bert, id);
    const { message } = await anna.call('message.unlink', { messageId: id });
    expect(message.link).toBeUndefined();
    expect(message.editedAt).toBeUndefined();
    const before = await place.head(stream);
    expect((await anna.call('message.unlink', { messageId: id })).message).toEqual(message);
    expect(await place.head(stream)).toEqual(before);
    await anna.call('message.edit', { messageId: id, text: 'still http://site.test/' });
    await later(anna, conversationId);
    expect((await bert.call('message.history', { conversationId })).messages[0]!.link).toBeUndefined();
    await anna.call('message.edit', { messageId: id, text: 'now http://site.test/two' });
    expect((await linked(bert, id)).link).toMatchObject({ title: 'Two' });
  });

  test('[LP7] recalled, nothing of a preview is left', async () => {
    web.pages['site.test/'] = hello;
    const { anna, bert, conversationId } = await place.direct();
    const { id } = await anna.say(conversationId, 'http://site.test/');
    await linked(bert, id);
    expect((await anna.call('message.delete', { messageId: id })).message.link).toBeUndefined();
    expect((await place.rows.run('select link, link_url, link_file_id from messages where id = ?', id))[0]).toEqual({ link: null, link_url: null, link_file_id: null });
  });

  test('[LP9] a picture is made anew by this server, small and square, and is read by members like a file', async () => {
    const photo = await sharp({ create: { width: 640, height: 480, channels: 3, background: '#2a6' } })
      .jpeg()
      .withExifMerge({ IFD0: { Copyright: 'somebody' } })
      .toBuffer();
    web.pages['site.test/photo.jpg'] = (_request, response) => void response.writeHead(200, { 'content-type': 'image/jpeg' }).end(photo);
    web.pages['site.test/with'] = page('<title>With</title><meta property="og:image" content="/nothing.png"><link rel="apple-touch-icon" href="photo.jpg">');
    const { anna, bert, conversationId } = await place.direct();
    const { link } = await linked(bert, (await anna.say(conversationId, 'http://site.test/with')).id);
    const image = link!.image!;
    expect(image).toMatchObject({ type: 'image/webp', width: 192, height: 192, name: 'preview.webp' });
    const answer = await place.server.download(bert, image.id);
    expect([answer.status, answer.headers['content-type'], answer.bytes.length]).toEqual([200, 'image/webp', image.size]);
    const made = await sharp(answer.bytes).metadata();
    expect([made.format, made.width, made.height, made.exif]).toEqual(['webp', 192, 192, undefined]);
    const [stranger] = await place.people('cleo');
    expect((await place.server.download(stranger!, image.id)).status).toBe(404);
    // The picture itself, by its own address.
    const itself = (await linked(bert, (await anna.say(conversationId, 'http://site.test/photo.jpg')).id)).link!;
    expect(itself).toMatchObject({ title: 'photo.jpg', image: { width: 192 } });
  });

  test('[LP9] what only says that it is a picture, or is too small to be one, is none; its words stay', async () => {
    const dot = await sharp({ create: { width: 1, height: 1, channels: 3, background: '#fff' } })
      .png()
      .toBuffer();
    const bomb = await sharp({ create: { width: 16_000, height: 16_000, channels: 3, background: '#fff' }, limitInputPixels: false })
      .png({ compressionLevel: 9 })
      .toBuffer();
    const { anna, conversationId } = await place.direct();
    for (const [name, bytes] of Object.entries({
      dot,
      bomb,
      svg: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'),
      html: Buffer.from('<script>1</script>'),
      cut: dot.subarray(0, 40),
    })) {
      web.pages[`site.test/${name}.png`] = (_request, response) => void response.writeHead(200, { 'content-type': 'image/png' }).end(bytes);
      web.pages[`site.test/${name}`] = page(`<title>${name}</title><meta property="og:image" content="/${name}.png">`);
      expect((await linked(anna, (await anna.say(conversationId, `http://site.test/${name}`)).id)).link).toEqual({
        url: `http://site.test/${name}`,
        site: 'site.test',
        title: name,
      });
    }
  });

  test('[LP9] a picture goes with its preview: unlinked, changed, recalled; and with the conversation', async () => {
    const photo = await sharp({ create: { width: 100, height: 100, channels: 3, background: '#2a6' } })
      .png()
      .toBuffer();
    web.pages['site.test/green.png'] = (_request, response) => void response.writeHead(200, { 'content-type': 'image/png' }).end(photo);
    const { anna, bert, conversationId } = await place.group();
    const say = async (): Promise<{ id: string; image: string }> => {
      const { id } = await anna.say(conversationId, 'http://site.test/green.png');
      return { id, image: (await linked(bert, id)).link!.image!.id };
    };
    const [one, two, three, four] = [await say(), await say(), await say(), await say()];
    // Each its own: nobody keeps the picture of another.
    expect(new Set([one, two, three, four].map(({ image }) => image)).size).toBe(4);
    const usage = async (): Promise<number> => Number((await place.rows.run<{ bytes: number }>('select bytes from file_usage where owner_id = ?', anna.id))[0]!.bytes);
    const used = await usage();
    expect(used).toBeGreaterThan(0);
    await anna.call('message.unlink', { messageId: one.id });
    await anna.call('message.edit', { messageId: two.id, text: 'never mind' });
    await anna.call('message.delete', { messageId: three.id });
    for (const { image } of [one, two, three]) expect((await place.server.download(bert, image)).status).toBe(404);
    expect((await place.server.download(bert, four.image)).status).toBe(200);
    await anna.call('conversation.dissolve', { conversationId });
    expect((await place.server.download(bert, four.image)).status).toBe(404);
    const { core } = place.server.running;
    const unused = await core.unusedFiles();
    expect(unused).toEqual(expect.arrayContaining([one, two, three, four].map(({ image }) => image)));
    await core.forgetFiles(unused);
    expect(await usage()).toBe(0);
  });

  test('[LP8] nobody is asked about the links of a person who does not want it; asked for again, they are', async () => {
    web.pages['site.test/mine'] = hello;
    const { anna, bert, conversationId } = await place.direct();
    expect((await anna.call('settings.update', { linkPreviews: false })).settings.linkPreviews).toBe(false);
    await anna.say(conversationId, 'http://site.test/mine');
    await later(bert, conversationId);
    expect(asked()).toEqual([]);
    await anna.call('settings.update', { linkPreviews: true });
    await linked(bert, (await anna.say(conversationId, 'http://site.test/mine')).id);
  });

  test('[LP1] a preview takes no place of its own: what was read stays read, and there is one message', async () => {
    web.pages['site.test/'] = hello;
    const { anna, bert, conversationId } = await place.direct();
    const { id, seq } = await anna.say(conversationId, 'http://site.test/');
    await bert.call('read.mark', { conversationId, seq });
    await linked(bert, id);
    await bert.settle();
    // The preview takes no seq: what was read stays read.
    expect((await place.rows.run<{ read_seq: number }>('select read_seq from inbox where user_id = ? and conversation_id = ?', bert.id, conversationId))[0]!.read_seq).toBe(seq);
    expect((await bert.call('message.history', { conversationId })).messages).toHaveLength(1);
  });
});

describe('the server', () => {
  test.each([
    { as: 'as it is', options: {}, on: true },
    { as: 'turned off', options: { config: { linkPreviews: false } }, on: false },
    { as: 'with a proxy set', options: { env: { https_proxy: 'http://proxy.example:3128' } }, on: false },
    { as: 'with an empty proxy', options: { env: { HTTP_PROXY: '' } }, on: true },
  ])('[LP8] $as: it says whether it asks, and does or does not', async ({ options, on }) => {
    web.pages['site.test/'] = hello;
    web.asked.length = 0;
    await using server = await startTestServer({ network: web.network, ...options });
    expect((await server.http('GET', '/api/server')).json()).toMatchObject({ linkPreviews: on });
    const offered: unknown[] = [];
    const { core } = server.running;
    if (!on) core.onLink((link) => offered.push(link));
    const anna = await server.guest();
    const { conversation } = await server.call('conversation.direct', { userId: anna.id }, anna.token);
    await server.call('message.send', { conversationId: conversation.id, clientId: 'client-id-1', type: 'text', text: 'http://site.test/' }, anna.token);
    await expect.poll(async () => (await server.call('message.history', { conversationId: conversation.id }, anna.token)).messages[0]!.link?.title).toBe(on ? 'Hello' : undefined);
    // What is not offered is not asked for.
    expect([offered, web.asked.length]).toEqual([[], on ? 1 : 0]);
  });

  test('[LP6] four are looked at at once, and a person makes it look ten times a minute', async () => {
    const waiting: (() => void)[] = [];
    for (let at = 1; at <= 12; at += 1)
      web.pages[`site.test/${at}`] = (_request, response) => void waiting.push(() => response.writeHead(200, { 'content-type': 'text/html' }).end(hello));
    web.asked.length = 0;
    await using server = await startTestServer({ network: web.network, config: { rateLimits: true } });
    const anna = await server.guest();
    const { conversation } = await server.call('conversation.direct', { userId: anna.id }, anna.token);
    const conversationId = conversation.id;
    for (let at = 1; at <= 12; at += 1)
      await server.call('message.send', { conversationId, clientId: `client-id-${at}`, type: 'text', text: `http://site.test/${at}` }, anna.token);
    const links = async (): Promise<number> => (await server.call('message.history', { conversationId }, anna.token)).messages.filter(({ link }) => link).length;
    await expect.poll(() => waiting.length).toBe(4);
    for (let seen = 1; seen <= 10; seen += 1) {
      await expect.poll(() => waiting.length).toBeGreaterThan(0);
      expect(waiting.length).toBeLessThanOrEqual(4);
      waiting.shift()!();
      await expect.poll(links).toBe(seen);
    }
    // Somebody else’s come through, so nothing of hers waits.
    const bert = await server.guest();
    const { conversation: his } = await server.call('conversation.direct', { userId: bert.id }, bert.token);
    web.pages['other.test/'] = hello;
    await server.call('message.send', { conversationId: his.id, clientId: 'client-id-1', type: 'text', text: 'http://other.test/' }, bert.token);
    await expect.poll(async () => (await server.call('message.history', { conversationId: his.id }, bert.token)).messages[0]!.link).toMatchObject({ title: 'Hello' });
    expect(web.asked).toHaveLength(11);
  });
});
