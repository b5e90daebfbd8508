import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import type { Bench, Figure, Outcome, Scenario } from './lib/bench.ts';
import { type Program, startKith, startProgram } from './lib/programs.ts';
import { type Person, Seed } from './lib/seed.ts';
import { median, spread } from './lib/stats.ts';

export const scenario: Scenario = {
  says: 'Files of 100 MB, up and down, beside plain streams of Node; memory and stalls while 50 go up at once.',
  run: (bench) => files(bench, bench.small ? { bytes: 5_000_000, atOnce: 10 } : { bytes: 100_000_000, atOnce: 50 }),
};

export interface Size {
  /** Of one file. */
  bytes: number;
  /** Uploads that run at the same time, of several people with five each. */
  atOnce: number;
}

const eachAtOnce = 5;
const mib = 1_048_576;

/** The same bytes for everybody: what they are makes no difference, and making them must cost nothing here. */
const block = randomBytes(mib);

/** A server to which files go and from which they come. */
interface Side {
  program: Program;
  /** Makes a place. @returns where the bytes go, and what else must be said with them */
  place(index: number): Promise<{ path: string; headers: Record<string, string> }>;
  /** All bytes have come. */
  commit(path: string, index: number): Promise<void>;
  download(path: string, index: number): { path: string; headers: Record<string, string> };
}

export async function files(bench: Bench, { bytes, atOnce }: Size): Promise<Outcome> {
  const sides = new Map<string, Side>([
    ['kith', await openKith(bench, bytes, Math.ceil(atOnce / eachAtOnce))],
    ['plain', await openPlain(bench)],
  ]);
  const rate = new Map([...sides.keys()].flatMap((name) => ['up', 'down'].map((way) => [`${name} ${way}`, [] as number[]])));
  const stalls = new Map([...sides.keys()].map((name) => [name, { busy: [] as number[], stall: [] as number[] }]));
  for (let run = -1; run < bench.runs; run++) {
    for (const [name, side] of sides) {
      side.program.watchStalls();
      const began = performance.now();
      const path = await upload(side, bytes, 0);
      const sent = performance.now();
      await take(side, side.download(path, 0), bytes);
      const got = performance.now();
      const { stall, busy } = await side.program.usage();
      // The first is to get warm.
      if (run === -1) continue;
      rate.get(`${name} up`)!.push(bytes / 1_000 / (sent - began));
      rate.get(`${name} down`)!.push(bytes / 1_000 / (got - sent));
      stalls.get(name)!.busy.push(busy);
      stalls.get(name)!.stall.push(stall);
      bench.say(
        `  ${name.padEnd(6)} up ${Math.round(bytes / 1_000 / (sent - began))} MB/s, down ${Math.round(bytes / 1_000 / (got - sent))} MB/s, busy ${busy.toFixed(1)} ms, stall ${stall.toFixed(1)} ms`,
      );
    }
  }
  const many = new Map<string, Many>();
  for (const [name, side] of sides) {
    many.set(name, await uploadMany(side, bytes, atOnce));
    const { seconds, least, most, growth, busy, stall } = many.get(name)!;
    bench.say(
      `  ${name.padEnd(6)} ${atOnce} at once: ${Math.round((bytes * atOnce) / 1e6 / seconds)} MB/s, ${Math.round(least / mib)} to ${Math.round(most / mib)} MiB, grew ${Math.round(growth / mib)} MiB, busy ${busy.toFixed(1)} ms, stall ${stall.toFixed(1)} ms`,
    );
  }
  for (const { program } of sides.values()) await program.stop();

  const ratio = (way: string): number[] => rate.get(`kith ${way}`)!.map((value, run) => value / rate.get(`plain ${way}`)![run]!);
  const [ours, floor] = [many.get('kith')!, many.get('plain')!];
  const figures: Figure[] = [
    { name: 'upload: kith over plain, run by run', unit: '×', values: ratio('up'), of: 'kith' },
    { name: 'download: kith over plain, run by run', unit: '×', values: ratio('down'), of: 'kith' },
    ...[...rate].map(([name, values]): Figure => ({ name, unit: 'MB/s', values, of: name.startsWith('kith') ? 'kith' : 'floor' })),
    { name: 'kith: stall of its own, one up and down', unit: 'ms', values: stalls.get('kith')!.busy, atMost: 20, of: 'kith' },
    { name: 'kith: by the clock', unit: 'ms', values: stalls.get('kith')!.stall, of: 'kith' },
    { name: 'plain: by the clock', unit: 'ms', values: stalls.get('plain')!.stall, of: 'floor' },
    { name: `kith: ${atOnce} uploads at once`, unit: 'MB/s', values: [(bytes * atOnce) / 1e6 / ours.seconds], of: 'kith' },
    { name: `plain: ${atOnce} uploads at once`, unit: 'MB/s', values: [(bytes * atOnce) / 1e6 / floor.seconds], of: 'floor' },
    { name: `kith: memory at most, ${atOnce} at once`, unit: 'MiB', values: [ours.most / mib], of: 'kith' },
    { name: `plain: memory at most, ${atOnce} at once`, unit: 'MiB', values: [floor.most / mib], of: 'floor' },
    { name: 'kith: memory, second half over first', unit: 'MiB', values: [ours.growth / mib], atMost: 32, of: 'kith' },
    { name: `kith: stall of its own, ${atOnce} at once`, unit: 'ms', values: [ours.busy], atMost: 20, of: 'kith' },
    { name: `kith: by the clock, ${atOnce} at once`, unit: 'ms', values: [ours.stall], of: 'kith' },
    { name: `plain: by the clock, ${atOnce} at once`, unit: 'ms', values: [floor.stall], of: 'floor' },
  ];
  return {
    figures,
    plot: {
      kind: 'bars',
      title: `A file of ${bytes / 1e6} MB over loopback`,
      unit: 'MB/s; median, with the least and the most of all runs',
      bars: [...rate].map(([name, values]) => {
        const [low, high] = spread(values);
        return { label: name, value: median(values), low, high, ours: name.startsWith('kith') };
      }),
    },
    notes: [
      `Kith's upload ends when the bytes are synced, read back and hashed, and committed to the database; plain's when they are given to the system.`,
      `${atOnce} uploads of ${bytes / 1e6} MB at once, of ${Math.ceil(atOnce / eachAtOnce)} people; memory is the resident set, looked at four times a second.`,
      `A stall of its own is processor time that the loop's thread took in one go; by the clock it is longer where the machine had other things to do.`,
    ],
  };
}

async function openKith(bench: Bench, bytes: number, count: number): Promise<Side> {
  const folder = bench.folder('files');
  const seed = await Seed.open(folder);
  const people = seed.people(count);
  seed.close();
  const program = await startKith(bench, folder, { env: { KITH_UPLOAD_RESERVE: '0', KITH_FILES_PER_USER: '100000' } });
  const who = (index: number): Person => people[Math.floor(index / eachAtOnce) % people.length]!;
  const bearer = (index: number) => ({ authorization: `Bearer ${who(index).token}` });
  const sha256 = hashOf(bytes);
  const call = async (method: string, index: number, params: object): Promise<{ url: string }> => {
    const answer = await fetch(`http://127.0.0.1:${program.port}/api/${method}`, {
      method: 'POST',
      headers: { ...bearer(index), 'content-type': 'application/json' },
      body: JSON.stringify(params),
    });
    if (!answer.ok) throw new Error(`${method}: ${await answer.text()}`);
    return (await answer.json()) as { url: string };
  };
  return {
    program,
    async place(index) {
      const { url } = await call('file.reserve', index, { name: 'bench.bin', size: bytes });
      return { path: url, headers: { ...bearer(index), 'tus-resumable': '1.0.0', 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' } };
    },
    commit: async (path, index) => void (await call('file.commit', index, { fileId: path.slice('/files/'.length), sha256 })),
    download: (path, index) => ({ path: `${path}/bench.bin`, headers: bearer(index) }),
  };
}

async function openPlain(bench: Bench): Promise<Side> {
  const program = await startProgram('bench/floors/files.ts', [bench.folder('plain')], { name: 'plain' });
  let places = 0;
  return {
    program,
    place: async () => ({ path: `/${places++}`, headers: {} }),
    commit: async () => {},
    download: (path) => ({ path, headers: {} }),
  };
}

/** @returns where it is */
async function upload(side: Side, bytes: number, index: number): Promise<string> {
  const { path, headers } = await side.place(index);
  const agent = new Agent();
  const sending = request({ host: '127.0.0.1', port: side.program.port, method: 'PATCH', path, headers: { ...headers, 'content-length': bytes }, agent });
  const answered = once(sending, 'response');
  answered.catch(() => {});
  for (let left = bytes; left > 0; left -= block.length)
    if (!sending.write(left >= block.length ? block : block.subarray(0, left))) await Promise.race([once(sending, 'drain'), answered]);
  sending.end();
  const [response] = (await answered) as [{ statusCode: number; resume(): void }];
  if (response.statusCode !== 204) throw new Error(`an upload was answered ${response.statusCode}`);
  response.resume();
  await side.commit(path, index);
  agent.destroy();
  return path;
}

async function take(side: Side, { path, headers }: { path: string; headers: Record<string, string> }, bytes: number): Promise<void> {
  const asking = request({ host: '127.0.0.1', port: side.program.port, path, headers, agent: false }).end();
  const [response] = (await once(asking, 'response')) as [AsyncIterable<Buffer>];
  let got = 0;
  for await (const chunk of response) got += chunk.length;
  if (got !== bytes) throw new Error(`a download had ${got} bytes`);
}

interface Many {
  seconds: number;
  /** Bytes resident before, and at most. */
  least: number;
  most: number;
  /** By how much the most of the second half of the time is above the most of the first. */
  growth: number;
  /** Longest, in processor time of the loop's thread, and by the clock. Milliseconds. */
  busy: number;
  stall: number;
}

async function uploadMany(side: Side, bytes: number, atOnce: number): Promise<Many> {
  const { rss: least } = await side.program.usage(true);
  side.program.watchStalls();
  const seen: number[] = [];
  let [busy, stall] = [0, 0];
  const look = async (): Promise<void> => {
    const usage = await side.program.usage();
    seen.push(usage.rss);
    [busy, stall] = [Math.max(busy, usage.busy), Math.max(stall, usage.stall)];
  };
  const looking = setInterval(() => void look(), 250);
  const began = performance.now();
  await Promise.all(Array.from({ length: atOnce }, (_, index) => upload(side, bytes, index)));
  const seconds = (performance.now() - began) / 1_000;
  clearInterval(looking);
  await look();
  const half = Math.ceil(seen.length / 2);
  return { seconds, least, most: Math.max(...seen), growth: Math.max(...seen.slice(half)) - Math.max(...seen.slice(0, half)), busy, stall };
}

function hashOf(bytes: number): string {
  const hash = createHash('sha256');
  for (let left = bytes; left > 0; left -= block.length) hash.update(left >= block.length ? block : block.subarray(0, left));
  return hash.digest('hex');
}
