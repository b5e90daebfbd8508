import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Message } from '@kith/protocol';
import { start } from '../packages/server/test/crash-child.ts';
import { startServerProcess } from '../packages/server/test/crash-server.ts';
import { insist, post, readAll } from '../packages/server/test/api.ts';
import type { Stage } from './stage.ts';

// Backups while people write, each of them restored beside the server and read: a backup that nobody ever restored is none.

const program = path.join(import.meta.dirname, '../packages/server/src/main.ts');

async function kith(...args: string[]): Promise<{ end: number | NodeJS.Signals; words: string }> {
  const child = start(process.execPath, [program, ...args]);
  const end = await child.ended;
  const { out, err } = child.output();
  return { end, words: `${out.join(' ')} ${err}`.slice(0, 300) };
}

/** Backs up, restores and compares, again and again. */
export async function backUpAndCompare(stage: Stage): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-chaos-backup-'));
  try {
    for (let number = 0; stage.goesOn(number, 1); number += 1) {
      await stage.wait(200, 1_500);
      await once(stage, path.join(folder, String(number)));
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function once(stage: Stage, folder: string): Promise<void> {
  const before = await readEverything(stage.server().url);
  const [copy, again] = [path.join(folder, 'copy'), path.join(folder, 'again')];
  const made = await kith('backup', copy, '--data', stage.data);
  if (made.end !== 0) return stage.wrong(`a backup ended with ${made.end}: ${made.words}`);
  const restored = await kith('restore', copy, '--data', again);
  if (restored.end !== 0) return stage.wrong(`a restore ended with ${restored.end}: ${restored.words}`);
  const second = await startServerProcess(again, { KITH_DISK_RESERVE: '0' });
  try {
    const there = await readEverything(second.url);
    const after = await readEverything(stage.server().url);
    for (const [conversation, messages] of before) {
      const copied = there.get(conversation) ?? [];
      const wrong = messages.find(({ id }, index) => copied[index]?.id !== id);
      if (wrong) stage.wrong(`acked and lost: ${conversation} ${wrong.seq} was there before the backup began, and is not in it`);
    }
    for (const [conversation, messages] of there) {
      const wrong = messages.find(({ id }, index) => after.get(conversation)?.[index]?.id !== id);
      if (wrong) stage.wrong(`the backup has ${conversation} ${wrong.seq}, which is not what stands there`);
    }
  } finally {
    second.process.kill('SIGTERM');
    if ((await second.ended) !== 0) stage.wrong('the restored server did not stop in good order');
  }
}

/** All that one of the people can read, by conversation. */
async function readEverything(url: string): Promise<Map<string, Message[]>> {
  const { user, token } = await insist(() => post(url, 'auth.login', { handle: 'p0', password: 'correct horse battery' }));
  const { entities } = await insist(() => post(url, 'stream.snapshot', { stream: `user:${user.id}` }, token));
  const found = new Map<string, Message[]>();
  for (const entity of entities) {
    if (entity.kind === 'inbox' && entity.joined) found.set(entity.conversationId, await insist(() => readAll(url, entity.conversationId, token!)));
  }
  await insist(() => post(url, 'auth.logout', {}, token));
  return found;
}
