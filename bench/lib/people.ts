import type { Bench } from './bench.ts';
import { type Program, type StartOptions, startKith } from './programs.ts';
import { type Person, Seed } from './seed.ts';
import { type Tally, Wire, openAll } from './wire.ts';

export interface Stage {
  program: Program;
  people: Person[];
  wires: Wire[];
  /** What `fill` made. */
  conversations: string[];
}

/** A server with people in it, all of them connected. @param fill  Makes their conversations. */
export async function openStage(
  bench: Bench,
  count: number,
  fill: (seed: Seed, people: Person[]) => string[],
  { tally, connected = count, ...options }: StartOptions & { tally?: Tally; connected?: number } = {},
): Promise<Stage> {
  const folder = bench.folder('stage');
  const seed = await Seed.open(folder);
  const people = seed.people(count);
  const conversations = fill(seed, people);
  seed.close();
  const program = await startKith(bench, folder, options);
  const wires: Wire[] = [];
  await openAll(people.slice(0, connected), 100, async ({ token }, index) => {
    const wire = new Wire({ port: program.port, ...(tally && { tally }) });
    wires[index] = wire;
    await wire.hello(token);
  });
  return { program, people, wires, conversations };
}

export async function closeStage({ program, wires }: Stage): Promise<void> {
  for (const wire of wires) wire.destroy();
  await program.stop();
}

/** Groups of so many, one after the other, the last one as large as is left. */
export function groupsOf(seed: Seed, people: readonly Person[], size: number): string[] {
  const ids: string[] = [];
  for (let at = 0; at < people.length; at += size) ids.push(seed.conversation(people.slice(at, at + size)));
  return ids;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
