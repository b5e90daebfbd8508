import { userStream } from '@kith/protocol';
import type { Core } from '../core/core.ts';

/** Milliseconds that the database gets to answer, and for which an answer stands. */
const answerMs = 2_000;
const freshMs = 1_000;

/** Does the database answer? It is asked once at a time and a second, however many want to know. */
export function openReadiness(core: Pick<Core, 'heads'>): () => Promise<boolean> {
  let asked: Promise<boolean> | undefined;
  return () => {
    asked ??= ask(core).finally(() => setTimeout(() => (asked = undefined), freshMs).unref());
    return asked;
  };
}

async function ask(core: Pick<Core, 'heads'>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), answerMs);
  const answered = core.heads([userStream('nobody')]).then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([answered, late]);
  } finally {
    clearTimeout(timer);
  }
}
