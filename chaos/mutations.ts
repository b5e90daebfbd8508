import fs from 'node:fs';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import { type Child, start } from '../packages/server/test/crash-child.ts';
import { copyRepository, repository } from './copy.ts';

// A check that never fails proves nothing. Here the server gets a mistake, in a copy, and a check has to find it.

export interface Mutation {
  /** What the mistake is, in words. */
  mistake: string;
  /** Text that stands exactly once in a file below packages/server/src, and what stands there instead. */
  changes: { file: string; from: string; to: string }[];
  check: Check;
  /** What the check says when it finds the mistake. */
  says: RegExp;
}

export type Check =
  /** A test of ours, by file and name. */
  | { test: string; name: string }
  /** What everybody saw while this nemesis was at work, by chaos/run.ts. */
  | { nemesis: string; missing?: (() => string | undefined) | undefined };

/** A mistake that was not given away after so long is not found. Seconds. */
const longest = 30;

/** @throws when the text does not stand there exactly once: the mistake has to be planted anew where the code has changed */
function plant(folder: string, { changes }: Pick<Mutation, 'changes'>): void {
  for (const { file, from, to } of changes) {
    const target = path.join(folder, 'packages/server/src', file);
    const text = fs.readFileSync(target, 'utf8');
    const times = timesInPlace({ file, from, to }, folder);
    if (times !== 1) throw new Error(`${file} has ${times} times, not once: ${from}`);
    fs.writeFileSync(
      target,
      text.replace(from, () => to),
    );
  }
}

/** How often the text stands in the file: once, or the mistake has to be planted anew. */
export function timesInPlace({ file, from }: Mutation['changes'][number], folder = repository): number {
  return fs.readFileSync(path.join(folder, 'packages/server/src', file), 'utf8').split(from).length - 1;
}

/** Runs the check in the copy. */
function run(folder: string, check: Check, says: RegExp): Child {
  // What this test run told its own workers is not for another run.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:VITEST|TEST$|NODE_ENV$|FORCE_COLOR$|CUT_OFF_)/.test(name)));
  // Nor is what is made of a copy kept longer than it.
  const options = { env: { ...env, NO_COLOR: '1', NODE_COMPILE_CACHE: path.join(folder, 'compiled') } };
  if ('nemesis' in check) {
    return start(process.execPath, [path.join(folder, 'chaos/run.ts'), check.nemesis, '--seconds', String(longest), '--until-found', says.source, '--seed', '1'], options);
  }
  const vitest = path.join(repository, 'node_modules/vitest/vitest.mjs');
  return start(process.execPath, [vitest, 'run', '--root', folder, '--project', 'unit', `packages/server/test/${check.test}`, '-t', check.name], options);
}

/** Plants a mistake in a copy of the repository, and runs the check there. @returns how the check ended, and all that it said */
export async function tryMistake({ changes, check, says }: Pick<Mutation, 'changes' | 'check' | 'says'>): Promise<{ exit: number | NodeJS.Signals; said: string }> {
  const { folder, remove } = copyRepository();
  onTestFinished(remove);
  plant(folder, { changes });
  const child = run(folder, check, says);
  onTestFinished(() => child.kill());
  const exit = await child.ended;
  const { out, err } = child.output();
  return { exit, said: `${out.join('\n')}\n${err}` };
}
