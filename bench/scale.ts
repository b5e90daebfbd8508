import fs from 'node:fs';
import path from 'node:path';
import type { Bench, Figure, Outcome, Scenario } from './lib/bench.ts';
import { resultsFolder } from './lib/report.ts';

export const scenario: Scenario = {
  says: 'Scale, on paper: --people 1000000 on 4 to 256 nodes in their busiest hour, by what the other scenarios measured. --seed 1.',
  run: (bench) => Promise.resolve(scale(bench, Number(bench.options['people'] ?? (bench.small ? 50_000 : 1_000_000)), Number(bench.options['seed'] ?? 1))),
};

/** What people do. Assumptions, all of them: change one and run it again. */
export const habits = {
  /** Share of all who are connected in the busiest hour, and sockets of each. */
  online: 0.2,
  sockets: 1.3,
  /** Messages of a person a day, and the share of a day's that is sent in the busiest hour. */
  messagesPerDay: 40,
  busiest: 0.1,
  /** Conversations of a person: with one other; in groups, whose sizes are log-normal. One room for so many people, a tenth of them in the largest. */
  direct: 12,
  groups: 6,
  groupMedian: 8,
  groupSigma: 1,
  groupMost: 5_000,
  peopleToARoom: 5_000,
  /** Share of the messages that each kind has. */
  shares: { direct: 0.45, group: 0.45, room: 0.1 },
  /** Of those who get a message: every one marks it as delivered, so many read it at once. Nobody above so many members (the limit of the protocol). */
  read: 0.6,
  attentionMembers: 200,
  typingPerMessage: 1.5,
  friends: 150,
  /** Times that somebody who is online comes or goes, an hour. */
  comings: 8,
  heartbeatS: 25,
};
export type Habits = typeof habits;

/** Microseconds of CPU of a node, but for the last two. */
export interface Costs {
  /** A durable request, from its frame to its answer. */
  request: number;
  /** A frame to one socket. */
  delivery: number;
  /** A publication that comes from another node. */
  arrival: number;
  /** A version that is asked for at a heartbeat. */
  head: number;
  /** Of a socket. */
  kib: number;
  /** Of a handshake with catching up, all cores. */
  comeBack: number;
}

/** What is not measured yet, and was set high. */
const assumed = { arrival: 20, head: 3 };

/** A second of the busiest hour, all nodes together unless it says otherwise. */
export interface Load {
  nodes: number;
  sockets: number;
  sends: number;
  /** Delivered and read marks. */
  marks: number;
  deliveries: number;
  /** Publications that go to a node by way of the broker. */
  arrivals: number;
  presence: { deliveries: number; arrivals: number };
  /** Subjects in which nodes have an interest, one for each node and subject. */
  interest: number;
  heads: number;
  /** Cores of one node. */
  cores: { sends: number; marks: number; deliveries: number; arrivals: number; presence: number; heads: number; all: number };
}

/**
 * A second of the busiest hour. Everybody's sockets are on any node: nobody is kept at one. Conversations are made one after the other and forgotten, so
 * that a million people take seconds; the same seed makes the same ones whatever the number of nodes.
 */
export function simulate(people: number, nodes: number[], seed: number, costs: Costs, of: Habits = habits): Load[] {
  const random = mulberry(seed);
  const counts = new Uint32Array(nodes.length);
  const marked = nodes.map((count) => new Uint32Array(count));
  let turn = 0;
  const kinds = { direct: kind(nodes), group: kind(nodes), room: kind(nodes) };
  const conversation = (name: keyof typeof kinds, size: number): void => {
    turn += 1;
    counts.fill(0);
    let [online, sockets] = [0, 0];
    for (let member = 0; member < size; member++) {
      if (random() >= of.online) continue;
      online += 1;
      for (let more = of.sockets; more > 0; more -= 1) {
        if (more < 1 && random() >= more) break;
        sockets += 1;
        const place = random();
        for (let index = 0; index < nodes.length; index++) {
          const node = Math.floor(place * nodes[index]!);
          if (marked[index]![node] === turn) continue;
          marked[index]![node] = turn;
          counts[index]! += 1;
        }
      }
    }
    if (online === 0) return;
    const total = kinds[name];
    // Who is there writes; in groups not all of them.
    const weight = name === 'group' ? Math.sqrt(online) : online;
    const attended = size <= of.attentionMembers;
    const marks = (online - 1) * (1 + of.read);
    total.weight += weight;
    total.marks += weight * (attended ? marks : 0);
    const frames = 1 + (attended ? marks + of.typingPerMessage : 0);
    total.deliveries += weight * frames * sockets;
    for (let index = 0; index < nodes.length; index++) {
      total.arrivals[index]! += weight * frames * (counts[index]! - 1);
      total.interest[index]! += counts[index]!;
    }
  };
  for (let left = (people * of.direct) / 2; left > 0; left -= 1) conversation('direct', 2);
  for (let left = people * of.groups; left > 0;) {
    const size = Math.min(of.groupMost, Math.max(3, Math.round(of.groupMedian * Math.exp(of.groupSigma * normal(random)))));
    conversation('group', size);
    left -= size;
  }
  for (let room = Math.max(1, Math.round(people / of.peopleToARoom)); room > 0; room -= 1) conversation('room', Math.max(50, Math.round((people * 0.1) / room)));

  const sends = (people * of.messagesPerDay * of.busiest) / 3_600;
  const sockets = people * of.online * of.sockets;
  const all = Object.entries(kinds).map(([name, total]) => ({ ...total, rate: total.weight === 0 ? 0 : (sends * of.shares[name as keyof typeof kinds]) / total.weight }));
  const sum = (value: (one: (typeof all)[number]) => number): number => all.reduce((before, one) => before + value(one), 0);
  const watchers = of.friends * of.online * of.sockets;
  const comings = (people * of.online * of.comings) / 3_600;
  return nodes.map((count, index) => {
    const reached = count * (1 - (1 - 1 / count) ** watchers);
    const load = {
      nodes: count,
      sockets,
      sends,
      marks: sum(({ rate, marks }) => rate * marks),
      deliveries: sum(({ rate, deliveries }) => rate * deliveries),
      arrivals: sum(({ rate, arrivals }) => rate * arrivals[index]!),
      presence: { deliveries: comings * watchers, arrivals: comings * Math.max(0, reached - 1) },
      // Streams of conversations and of people; and of those whose friends are there, whether they are or not.
      interest: sum(({ interest }) => interest[index]!) + sockets + people * reached,
      heads: (sum(({ interest }) => interest[index]!) + sockets) / of.heartbeatS,
    };
    const cores = {
      sends: load.sends * costs.request,
      marks: load.marks * costs.request,
      deliveries: load.deliveries * costs.delivery,
      arrivals: load.arrivals * costs.arrival,
      presence: load.presence.deliveries * costs.delivery + load.presence.arrivals * costs.arrival,
      heads: load.heads * costs.head,
    };
    const each = Object.fromEntries(Object.entries(cores).map(([name, value]) => [name, value / 1e6 / count])) as typeof cores;
    return { ...load, cores: { ...each, all: Object.values(each).reduce((before, value) => before + value, 0) } };
  });
}

/** Marks for each message, with the rule for large conversations and without. */
export function marksPerMessage(people: number, seed: number, costs: Costs): { ruled: number; unruled: number } {
  const [ruled] = simulate(people, [1], seed, costs) as [Load];
  const [unruled] = simulate(people, [1], seed, costs, { ...habits, attentionMembers: Infinity }) as [Load];
  return { ruled: ruled.marks / ruled.sends, unruled: unruled.marks / unruled.sends };
}

const nodeCounts = [4, 8, 16, 32, 64, 128, 256];
/** Of one core: what is left is for bursts, and for those who come when another node goes. */
const mostOfACore = 0.5;

function scale(bench: Bench, people: number, seed: number): Outcome {
  const costs = measured();
  const loads = simulate(people, nodeCounts, seed, costs);
  const fits = loads.find(({ cores }) => cores.all <= mostOfACore) ?? loads.at(-1)!;
  const perNode = fits.sockets / fits.nodes;
  const marks = marksPerMessage(Math.min(people, 200_000), seed, costs);
  for (const { nodes, cores, arrivals, interest } of loads)
    bench.say(
      `  ${nodes} nodes: ${cores.all.toFixed(2)} of a core each (${Object.entries(cores)
        .filter(([name]) => name !== 'all')
        .map(([name, value]) => `${name} ${value.toFixed(3)}`)
        .join(', ')}), ${Math.round(arrivals)} arrivals/s, ${Math.round(interest / nodes)} subjects each`,
    );
  const figure = (name: string, unit: string, value: number): Figure => ({ name, unit, values: [value] });
  return {
    figures: [
      figure(`nodes that use at most half a core each`, 'nodes', fits.nodes),
      figure('a core of each of them', '× a core', fits.cores.all),
      figure('sockets of each', 'sockets', perNode),
      figure('memory of their sockets, each', 'MiB', (perNode * costs.kib) / 1_024),
      figure('subjects in which each has an interest', 'subjects', fits.interest / fits.nodes),
      figure('publications that come to each from others', '/s', (fits.arrivals + fits.presence.arrivals) / fits.nodes),
      figure('messages', '/s', fits.sends),
      figure('delivered and read marks', '/s', fits.marks),
      figure('frames to sockets', '/s', fits.deliveries + fits.presence.deliveries),
      figure('versions that heartbeats ask the database for', '/s', fits.heads),
      figure('marks for a message', '', marks.ruled),
      figure('marks for a message without the rule for large conversations', '', marks.unruled),
      figure('when one node goes, until its people are back at the others', 's', (perNode * costs.comeBack) / 1e6 / Math.max(1, fits.nodes - 1) / (1 - fits.cores.all)),
    ],
    plot: {
      kind: 'lines',
      title: `${people.toLocaleString('en')} people in their busiest hour: what each node does`,
      x: 'nodes',
      unit: 'share of a core',
      logX: true,
      bound: { at: mostOfACore, label: 'half a core' },
      lines: (['all', 'deliveries', 'heads', 'arrivals'] as const).map((name) => ({
        label: name,
        points: loads.slice(1).map(({ nodes, cores }) => [nodes, cores[name]] as [number, number]),
      })),
    },
    notes: [
      `No measurement: a simulation with the seed ${seed}. Measured by other scenarios: ${costs.request} µs for a durable request, ${costs.delivery} µs for a frame, ${costs.kib} KiB for a socket, ${Math.round(costs.comeBack)} µs for one that comes back.`,
      `Assumed: ${assumed.arrival} µs for a publication that comes from another node, ${assumed.head} µs for a version that a heartbeat asks for, and what people do (habits in scale.ts). A mark costs as much as a message.`,
    ],
  };
}

/** What the other scenarios have left in the folder of results. */
export function measured(): Costs {
  const read = (name: string, figure: string): number => {
    const { figures } = JSON.parse(fs.readFileSync(path.join(resultsFolder, `${name}.json`), 'utf8')) as { figures: { name: string; median: number }[] };
    const found = figures.find((one) => one.name === figure);
    if (!found) throw new Error(`${name} has measured no "${figure}"`);
    return found.median;
  };
  return {
    request: read('durable', 'kith: CPU per message'),
    delivery: read('fan-out', 'kith: CPU per delivery'),
    kib: read('memory', 'kith: resident memory per connection'),
    comeBack: (read('storm', 'kith: all back and in step') * 1e6) / 9_500,
    ...assumed,
  };
}

const kind = (nodes: number[]) => ({ weight: 0, marks: 0, deliveries: 0, arrivals: new Float64Array(nodes.length), interest: new Float64Array(nodes.length) });

/** Numbers from 0 to 1, the same ones for the same seed. */
function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const normal = (random: () => number): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
