import fs from 'node:fs';

// What everybody saw, as JSON lines: each client and the orchestrator append to files of their own, and the checker reads
// them when all is over. Times are milliseconds of the machine's monotonic clock, which all processes share.

/** The machine's monotonic clock, the same in every process of it. Milliseconds. */
export const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

export type Entry =
  | { e: 'conversation'; conversation: string; canary: string; members: string[]; t: number }
  /** A send leaves for the first time. */
  | { e: 'send'; clientId: string; conversation: string; user: string; device: string; text: string; t: number }
  | { e: 'ack'; clientId: string; device: string; conversation: string; seq: number; id: string; text: string; t: number }
  | { e: 'refused'; clientId: string; device: string; code: string; t: number }
  /** New words for a message; `done` once the reply is there. */
  | { e: 'edit' | 'recall'; id: string; text: string; done: boolean; t: number }
  /** A message was shown to a device, by whatever way. */
  | { e: 'seen'; device: string; user: string; conversation: string; seq: number; id: string; clientId: string | null; sender: string; text: string; t: number }
  /** Text that only the members of a conversation may see was among the bytes that somebody got. */
  | { e: 'canary'; device: string; user: string; conversation: string; t: number }
  /** On a connection that was in step, something that came before was missing. */
  | { e: 'gap'; device: string; stream: string; t: number }
  /** `asked` to `t`: somewhere in between it happened. */
  | { e: 'removed' | 'added'; conversation: string; user: string; asked: number; t: number }
  | { e: 'revoked'; device: string; asked: number; t: number }
  | { e: 'open'; device: string; t: number }
  | { e: 'closed'; device: string; code: number; t: number }
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
  | { e: 'server'; rssMiB: number; files: number; walMiB: number; when: 'start' | 'end'; t: number };

/** Seq, id, client id (null on lines of the system), sender, text. */
export type Row = [seq: number, id: string, clientId: string | null, sender: string, text: string];

export interface History {
  note(entry: Entry): void;
  close(): void;
}

export function openHistory(file: string): History {
  const handle = fs.openSync(file, 'a');
  let lines: string[] = [];
  const flush = (): void => {
    if (lines.length > 0) fs.writeSync(handle, lines.join(''));
    lines = [];
  };
  return {
    note(entry) {
      lines.push(`${JSON.stringify(entry)}\n`);
      if (lines.length >= 500) flush();
    },
    close() {
      flush();
      fs.closeSync(handle);
    },
  };
}

export function readHistory(files: string[]): Entry[] {
  return files
    .filter((file) => fs.existsSync(file))
    .flatMap((file) =>
      fs
        .readFileSync(file, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Entry),
    );
}
