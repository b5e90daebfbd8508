import { newClientId } from '@kith/client';
import fs from 'node:fs';
import path from 'node:path';
import type { Bench, Outcome, Scenario } from './lib/bench.ts';
import { sleep } from './lib/people.ts';
import { type Program, startKith } from './lib/programs.ts';
import { type Person, Seed } from './lib/seed.ts';
import { median } from './lib/stats.ts';
import { Wire } from './lib/wire.ts';

export const scenario: Scenario = {
  says: 'Growth: what a send and opening a conversation cost with 10³ to 10⁶ messages (10⁷ with --most 10000000), and a cold start.',
  run: (bench) => growth(bench, Number(bench.options['most'] ?? (bench.small ? 10_000 : 1_000_000))),
};

const text = 'x'.repeat(120);
const sends = 2_000;

interface At {
  messages: number;
  /** Microseconds of CPU of the server. */
  send: number;
  open: number;
  coldMs: number;
  /** After a clean stop. */
  againMs: number;
  bytes: number;
}

/** Messages grow tenfold from one size to the next, and people and conversations with them: a hundred messages to each. */
async function growth(bench: Bench, most: number): Promise<Outcome> {
  const points: At[] = [];
  const runs = new Map<number, { send: number[]; open: number[] }>();
  for (let messages = 1_000; messages <= most; messages *= 10) {
    const folder = bench.folder(`growth-${messages}`);
    const began = performance.now();
    const { people, conversations } = await fill(folder, messages);
    const seededS = (performance.now() - began) / 1_000;
    const program = await startKith(bench, folder);
    const measured = await measure(program, people, conversations, bench.runs);
    runs.set(messages, measured);
    await program.stop();
    const again = await startKith(bench, folder);
    const bytes = fs.statSync(path.join(folder, 'kith.db')).size;
    bench.say(
      `  ${messages} messages, ${Math.round(bytes / 1e6)} MB, ${people.length} people (filled in ${seededS.toFixed(0)} s): send ${median(measured.send).toFixed(0)} µs, open ${median(measured.open).toFixed(0)} µs CPU, listening after ${Math.round(program.startedMs)} ms, after a clean stop ${Math.round(again.startedMs)} ms`,
    );
    points.push({ messages, send: median(measured.send), open: median(measured.open), coldMs: program.startedMs, againMs: again.startedMs, bytes });
    await again.stop();
    fs.rmSync(folder, { recursive: true });
  }
  const [first, last] = [points[0]!, points.at(-1)!];
  const over = (what: 'send' | 'open'): number[] => runs.get(last.messages)![what].map((value, run) => value / runs.get(first.messages)![what][run]!);
  return {
    figures: [
      { name: `send: cost at ${last.messages} over cost at ${first.messages} messages`, unit: '×', values: over('send'), atMost: 1.2, of: 'kith' },
      { name: `open: cost at ${last.messages} over cost at ${first.messages} messages`, unit: '×', values: over('open'), atMost: 1.2, of: 'kith' },
      { name: `start after a clean stop with ${last.messages} messages`, unit: 'ms', values: [last.againMs], atMost: 3_000, of: 'kith' },
      { name: `start with a look at all ${last.messages} messages first`, unit: 'ms', values: [last.coldMs], of: 'kith' },
      ...points.map(({ messages, coldMs }) => ({ name: `start with a look at all ${messages} messages first`, unit: 'ms', values: [coldMs] })).slice(0, -1),
    ],
    plot: {
      kind: 'lines',
      title: 'Cost of a send and of opening a conversation, as everything grows',
      x: 'messages in the database; a hundredth as many people and conversations',
      unit: 'µs of CPU, user and system, all threads',
      logX: true,
      lines: (['send', 'open'] as const).map((what) => ({ label: what, points: points.map((point) => [point.messages, point[what]] as [number, number]) })),
    },
    notes: [`${sends} sends and ${sends} openings a run, spread over all conversations. The largest file has ${Math.round(last.bytes / 1e6)} MB.`],
  };
}

export async function fill(folder: string, messages: number): Promise<{ people: Person[]; conversations: { id: string; member: number }[] }> {
  const seed = await Seed.open(folder);
  const count = Math.max(10, Math.round(messages / 100));
  const people = seed.people(count);
  const each = Math.round(messages / count);
  const conversations = people.map((person, index) => {
    const id = seed.conversation([person, people[(index + 1) % count]!], { seq: each });
    seed.messages(id, person, 1, each, text);
    if (index % 200 === 0) seed.flush();
    return { id, member: index };
  });
  seed.close();
  return { people, conversations };
}

async function measure(program: Program, people: Person[], conversations: { id: string; member: number }[], runs: number): Promise<{ send: number[]; open: number[] }> {
  // Forty people, from all over the table, each with the conversation that is theirs.
  const chosen = Array.from({ length: Math.min(40, people.length) }, (_, n) => Math.floor((n * people.length) / Math.min(40, people.length)));
  const wires: { wire: Wire; id: string }[] = [];
  for (const index of chosen) {
    const wire = new Wire({ port: program.port });
    await wire.hello(people[index]!.token);
    wires.push({ wire, id: conversations[index]!.id });
  }
  const measured: { send: number[]; open: number[] } = { send: [], open: [] };
  for (let run = -1; run < runs; run++) {
    for (const what of ['send', 'open'] as const) {
      await sleep(300);
      const before = await program.usage();
      for (let n = 0; n < sends / wires.length; n++) {
        await Promise.all(
          wires.map(({ wire, id }) =>
            what === 'send'
              ? wire.call('message.send', { conversationId: id, clientId: newClientId(), type: 'text', text })
              : wire.call('message.history', { conversationId: id, limit: 50 }),
          ),
        );
      }
      const after = await program.usage();
      if (run >= 0) measured[what].push((after.cpu - before.cpu) / sends);
    }
  }
  for (const { wire } of wires) wire.destroy();
  return measured;
}
