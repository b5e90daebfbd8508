import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import type { Entity, Message } from '@kith/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { options } from '../packages/server/src/config.ts';
import { type Person, type TestClient, type TestServer, startTestServer } from '../packages/server/test/harness.ts';

const root = path.join(import.meta.dirname, '..');
const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');
const blocks = (text: string, language: string): string[] => [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block!);

test('[DO5] every setting stands in the table of README.md, as the code has it', () => {
  const rows = Object.values(options as Record<string, { env: string; flag?: string; shown?: string; default: unknown; meaning: string }>).map(
    ({ env, flag, shown, default: value, meaning }) => `| \`${env}\` | ${flag === undefined ? '' : `\`--${flag}\``} | ${shown ?? String(value)} | ${meaning} |`,
  );
  const written = read('README.md')
    .split('\n')
    .filter((line) => /^\| `[A-Z0-9_]+`/.test(line))
    .map((line) => line.replaceAll(/ +/g, ' ').replaceAll('| |', '|  |').replaceAll('&lt;', '<'));
  expect(written).toEqual(rows);
});

/** Runs a bot out of the page, and waits for it in the Lobby. */
async function meetBot(code: string): Promise<{ server: TestServer; person: Person; client: TestClient; lobby: string; stop(): Promise<void> }> {
  const server = await startTestServer();
  onTestFinished(() => server.close());
  const person = await server.guest('Ann');
  const client = await server.connect(person);
  const { rooms } = await client.call('room.list', {});
  const lobby = rooms[0]!.conversation.id;
  await client.call('room.join', { conversationId: lobby });
  // Whatever it says is wanted when this fails.
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: root, env: { ...process.env, KITH_URL: server.url }, stdio: ['ignore', 'inherit', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const joined = await client.push(({ entities }) => entities.some((it) => it.kind === 'member' && it.userId !== person.id));
  expect(joined.stream).toBe(`conversation:${lobby}`);
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await once(child, 'close');
  };
  return { server, person, client, lobby, stop };
}

/** The next message that somebody else wrote. */
async function answerTo({ client, person }: { client: TestClient; person: Person }): Promise<Message> {
  const isAnswer = (it: Entity): it is Message => it.kind === 'message' && it.senderId !== person.id;
  const { entities } = await client.push((push) => push.entities.some(isAnswer));
  return entities.find(isAnswer)!;
}

test('[DO6] the bot in README.md runs as it stands, in at most ten lines', async () => {
  const [bot = ''] = blocks(read('README.md'), 'js');
  expect(bot.split('\n').filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(10);
  const met = await meetBot(bot);
  const { client, lobby: conversationId } = met;
  await client.call('message.send', { conversationId, clientId: 'to-the-bot-1', type: 'text', text: 'I am not talking to you' });
  await client.call('message.send', { conversationId, clientId: 'to-the-bot-2', type: 'text', text: '!echo 你好' });
  expect(await answerTo(met)).toMatchObject({ text: '你好' });
  await met.stop();
});

test('[EX9] the lines on files in README.md, put to the bot there, bring back the file that somebody sends', async () => {
  const [bot = '', files = ''] = blocks(read('README.md'), 'js');
  expect(files.trim().split('\n').length).toBeLessThanOrEqual(6);
  const met = await meetBot(bot + files);
  const { server, person, client, lobby: conversationId } = met;
  const bytes = randomBytes(400_000);
  const { id: fileId } = await server.upload(person, bytes, { name: '照片.raw' });
  await client.call('message.send', { conversationId, clientId: 'to-the-bot-1', type: 'file', text: '', fileId });
  const { file, text } = await answerTo(met);
  expect([file!.name, text]).toEqual(['copy of 照片.raw', '400000 bytes']);
  expect((await server.download(person, file!.id)).bytes.equals(bytes)).toBe(true);
  await met.stop();
});

test.for(['README.md', 'examples/README.md'])('[EX7] the frames in %s can be pasted in the order in which they stand', async (file) => {
  const frames = blocks(read(file), 'json').flatMap((block) => block.trim().split('\n'));
  expect(frames.length).toBeGreaterThan(2);
  await using server = await startTestServer();
  const { user, token } = await runCurl(server, read(file));
  const client = await server.socket();
  let lobby = '';
  for (const frame of frames) {
    const known: Record<string, string> = { TOKEN: token, LOBBY: lobby, ME: user.id };
    const text = frame.replaceAll(/"(TOKEN|LOBBY|ME)"/g, (_, name: string) => JSON.stringify(known[name]));
    client.send(text);
    const reply = await client.reply((JSON.parse(text) as { id: string }).id);
    expect(reply).not.toHaveProperty('error');
    const { rooms } = reply.result as { rooms?: { conversation: { id: string } }[] };
    if (rooms) lobby = rooms[0]!.conversation.id;
  }
  expect(lobby).not.toBe('');
});

/** What `curl` would do with the call that stands there. */
async function runCurl(server: TestServer, page: string): Promise<{ user: { id: string }; token: string }> {
  const [, url, type, body] = /curl -s (\S+) -H 'content-type: (\S+)' -d '(.+)'/.exec(page)!;
  const { pathname, origin } = new URL(url!);
  expect(origin).toBe('http://127.0.0.1:3000');
  const answer = await server.http('POST', pathname, { headers: { 'content-type': type! }, body: body! });
  expect(answer.status).toBe(200);
  return answer.json();
}

test('[DO7] every link in the pages leads to a file that is there', () => {
  const pages = [
    'README.md',
    'ARCHITECTURE.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'CHANGELOG.md',
    'examples/README.md',
    ...fs.readdirSync(path.join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? `docs/${name}` : [])),
  ];
  const broken = pages.flatMap((page) => {
    const links = [...read(page).matchAll(/(!?)\[[^\]]*\]\((?!https?:|#)([^)#]+)/g)].flatMap(([, image, to]) => (image ? [] : to!));
    return links.filter((to) => !fs.existsSync(path.join(root, path.dirname(page), to))).map((to) => `${page} → ${to}`);
  });
  expect(broken).toEqual([]);
});

test('[DO8] every file that ARCHITECTURE.md names is there', () => {
  const files = fs
    .globSync('{packages,scripts,examples,docs}/**/*.{ts,vue,mjs,md}', { cwd: root, exclude: (name) => /node_modules|dist/.test(name) })
    .map((file) => `/${file.replaceAll(path.sep, '/')}`);
  const named = [...read('ARCHITECTURE.md').matchAll(/`([\w./-]+\.(?:ts|vue|mjs))`/g)].map(([, name]) => name!);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !files.some((file) => file.endsWith(`/${name}`)))).toEqual([]);
});
