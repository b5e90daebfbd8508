import fs from 'node:fs';
import { StringDecoder } from 'node:string_decoder';

// What everybody saw, as JSON lines: each client and the orchestrator append to files of their own, and the checker reads
// them when all is over. Times are milliseconds of the machine's monotonic clock, which all processes share.

/** The machine's monotonic clock, the same in every process of it. Milliseconds. */
export const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

/** Why something is sent again: not because it was told to, but because the connection it was sent on has ended. */
export const resent = 'resent';
/** The same, where the answer that was lost with the connection may have been that it should come again. */
export const perhapsRefused = 'perhaps refused';

export type Entry =
  | { e: 'conversation'; conversation: string; canary: string; members: string[]; t: number }
  /** A send leaves for the first time. */
  | { e: 'send'; clientId: string; conversation: string; user: string; device: string; text: string; t: number }
  | { e: 'ack'; clientId: string; device: string; conversation: string; seq: number; id: string; text: string; t: number }
  | { e: 'refused'; clientId: string; device: string; code: string; t: number }
  /** Not now, it was told, and asks again later: where it then stands among its neighbours is open. */
  | { e: 'again'; clientId: string; device: string; code: string; t: number }
  /** What a person would have been told as an error. */
  | { e: 'error'; device: string; what: string; t: number }
  /** New words for a message; `done` once the reply is there. */
  | { e: 'edit' | 'recall'; id: string; text: string; done: boolean; t: number }
  /** A message was shown to a device, by whatever way. */
  | { e: 'seen'; device: string; user: string; conversation: string; seq: number; id: string; clientId: string | null; sender: string; text: string; t: number }
  /** Text that only the members of a conversation may see was among the bytes that somebody got. */
  | { e: 'canary'; device: string; user: string; conversation: string; t: number }
  /** On one connection, a push of what it had been told before that its person is not in any more. */
  | { e: 'after'; device: string; user: string; conversation: string; told: number; t: number }
  /** On a connection that was in step, something that came before was missing. */
  | { e: 'gap'; device: string; stream: string; t: number }
  /** `asked` to `t`: somewhere in between it happened. */
  | { e: 'removed' | 'added'; conversation: string; user: string; asked: number; t: number }
  | { e: 'revoked'; device: string; asked: number; t: number }
  | { e: 'open'; device: string; t: number }
  /** `own`: the device hung up. */
  | { e: 'closed'; device: string; code: number; reason: string; own: boolean; t: number }
  /** The newest of a conversation, read from a server that has just been started again. */
  | { e: 'look'; conversation: string; asked: number; rows: Row[] }
  /** A server that had served since `began` was asked to stop, and was gone at `t`; nobody had another until then. */
  | { e: 'stopped'; began: number; asked: number; t: number }
  /** From here to there the server may not know whether something was committed, and so tell nobody of it. */
  | { e: 'lossy'; from: number; t: number }
  /** From here to there nobody may lose more connections than so many, or be told of an error. */
  | { e: 'calm'; from: number; t: number; losses: number }
  /** All nodes work on another database, which begins with so many messages of each conversation … */
  | { e: 'era'; number: number; heads: [conversation: string, seq: number][]; t: number }
  /** … and so many they say are gone. */
  | { e: 'reported'; era: number; conversation: string; messages: number; t: number }
  /** A whole conversation, as a fresh reader gets it at the end. */
  | { e: 'truth'; conversation: string; rows: Row[] }
  /** The same as a device holds it, from all it was ever told. */
  | { e: 'held'; device: string; user: string; conversation: string; rows: Row[] }
  /** A person's mark in a conversation: as a device holds it, or (device '') as the server says at the end. */
  | { e: 'mark'; device: string; user: string; conversation: string; readSeq: number; t: number }
  /** Something that must not be, seen on the spot. */
  | { e: 'wrong'; what: string; t: number }
  /** A fault begins, or all that it broke is whole again. */
  | { e: 'fault'; what: string; on: boolean; t: number }
  /** The latest that the loop of the server was, but for one turn of a hundred, in the second before; and that of ours. */
  | { e: 'lag'; ms: number; ownMs: number; t: number }
  | { e: 'server'; rssMiB: number; files: number; walMiB: number; when: 'start' | 'end'; t: number };

/** Seq, id, client id (null on lines of the system), sender, text. */
export type Row = [seq: number, id: string, clientId: string | null, sender: string, text: string];

export interface History {
  note(entry: Entry): void;
  close(): void;
}

/** How long what was noted may wait for company. Milliseconds. */
const flushMs = 250;

export function openHistory(file: string): History {
  const handle = fs.openSync(file, 'a');
  let lines: string[] = [];
  const flush = (): void => {
    if (lines.length > 0) fs.writeSync(handle, lines.join(''));
    lines = [];
  };
  const timer = setInterval(flush, flushMs).unref();
  return {
    note(entry) {
      lines.push(`${JSON.stringify(entry)}\n`);
      if (lines.length >= 500) flush();
    },
    close() {
      clearInterval(timer);
      flush();
      fs.closeSync(handle);
    },
  };
}

/** Bytes that are read at once: a long history is longer than a string may be. */
const chunkBytes = 4 * 1_048_576;

/** What has been noted so far: a last line without its end is still being written. */
export function readHistory(files: string[]): Entry[] {
  const entries: Entry[] = [];
  // The same names and texts stand in many lines: kept once each, a million lines are some hundred MiB.
  const names = new Map<string, string>();
  const once = (name: string): string => names.get(name) ?? (names.set(name, name), name);
  for (const file of files.filter((one) => fs.existsSync(one))) {
    const decoder = new StringDecoder('utf8');
    const chunk = Buffer.alloc(chunkBytes);
    const handle = fs.openSync(file, 'r');
    let rest = '';
    for (let length = fs.readSync(handle, chunk); length > 0; length = fs.readSync(handle, chunk)) {
      const lines = (rest + decoder.write(chunk.subarray(0, length))).split('\n');
      rest = lines.pop()!;
      for (const line of lines) entries.push(withNames(JSON.parse(line) as Entry, once));
    }
    fs.closeSync(handle);
  }
  return entries;
}

function withNames(entry: Entry, once: (name: string) => string): Entry {
  const named = entry as unknown as Record<string, unknown>;
  for (const key of ['e', 'device', 'user', 'conversation', 'sender', 'clientId', 'id', 'text']) if (typeof named[key] === 'string') named[key] = once(named[key]);
  if ('rows' in entry) entry.rows = entry.rows.map(([seq, id, clientId, sender, text]) => [seq, once(id), clientId && once(clientId), once(sender), once(text)]);
  return entry;
}
