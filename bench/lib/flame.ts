import fs from 'node:fs';
import path from 'node:path';
import { escape, frame } from './plot.ts';

// Flame graphs of what the runtime's own profiler writes, as SVG that needs nothing: the widths are time, what is above was called by what is below.

interface Call {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number };
  children?: number[];
}

/** A file `*.cpuprofile`, as V8 writes it. */
interface Profile {
  nodes: Call[];
  /** Ids of nodes. */
  samples: number[];
  /** Microseconds before each sample. */
  timeDeltas: number[];
}

/** Which thread a file is of: its name ends in process, thread, and a number. The threads that only wait for the disk have nothing to show. */
const threads: Record<string, string> = { 0: 'gateway', 1: 'core' };

const width = 1_200;
const row = 16;
const top = 40;
/** Of all that was sampled: what is narrower is not drawn. */
const least = 0.002;
const deepest = 40;

/** Draws the newest profiles of a folder. @returns the files that it wrote */
export function drawFlames(profiles: string, into: string, scenario: string): string[] {
  const files = fs
    .readdirSync(profiles)
    .filter((name) => name.endsWith('.cpuprofile'))
    .map((name) => path.join(profiles, name))
    .sort((a, b) => fs.statSync(a).mtimeMs - fs.statSync(b).mtimeMs);
  const drawn = new Map<string, string>();
  for (const file of files) {
    const thread = threads[path.basename(file).split('.').at(-3) ?? ''];
    if (thread !== undefined)
      drawn.set(path.join(into, `${scenario}-${thread}.flame.svg`), flame(JSON.parse(fs.readFileSync(file, 'utf8')) as Profile, `${scenario}: the ${thread}'s thread`));
  }
  for (const [name, svg] of drawn) fs.writeFileSync(name, svg);
  return [...drawn.keys()];
}

/** Of the time in which the thread was not idle. */
function flame({ nodes, samples, timeDeltas }: Profile, title: string): string {
  const calls = new Map(nodes.map((node) => [node.id, node]));
  const self = new Map<number, number>();
  samples.forEach((id, at) => self.set(id, (self.get(id) ?? 0) + timeDeltas[at]!));
  const totals = new Map<number, number>();
  const total = (id: number): number => {
    const { callFrame, children = [] } = calls.get(id)!;
    if (callFrame.functionName === '(idle)') return 0;
    const sum = children.reduce((all, child) => all + total(child), self.get(id) ?? 0);
    totals.set(id, sum);
    return sum;
  };
  const root = nodes[0]!.id;
  const all = total(root);
  const drawn: { call: Call; depth: number; from: number }[] = [];
  const draw = (id: number, depth: number, from: number): void => {
    if (totals.get(id)! < all * least || depth > deepest) return;
    const call = calls.get(id)!;
    drawn.push({ call, depth, from });
    const widest = (call.children ?? []).filter((child) => totals.has(child)).sort((a, b) => totals.get(b)! - totals.get(a)!);
    for (const child of widest) {
      draw(child, depth + 1, from);
      from += totals.get(child)!;
    }
  };
  draw(root, 0, 0);
  const height = top + (Math.max(...drawn.map(({ depth }) => depth)) + 1) * row + 28;
  const scale = (width - 20) / all;
  const parts = drawn.map(({ call, depth, from }) => {
    const { functionName, url, lineNumber } = call.callFrame;
    const name = functionName || '(anonymous)';
    const time = totals.get(call.id)!;
    const x = 10 + from * scale;
    const y = height - 28 - (depth + 1) * row;
    const wide = time * scale;
    const letters = Math.floor((wide - 4) / 6);
    const text = letters < 3 ? '' : `<text x="${(x + 3).toFixed(1)}" y="${y + 12}">${escape(name.length > letters ? `${name.slice(0, letters - 1)}…` : name)}</text>`;
    const place = url === '' ? '' : ` ${placeOf(url)}, line ${lineNumber + 1}`;
    return `<g><title>${escape(`${name}${place}, ${((time / all) * 100).toFixed(1)} %`)}</title><rect x="${x.toFixed(1)}" y="${y}" width="${Math.max(0.5, wide - 0.5).toFixed(1)}" height="${row - 1}" fill="${colourOf(name, url)}"/>${text}</g>`;
  });
  const legend = Object.entries(colours).map(
    ([label, colour], at) => `<rect x="${10 + at * 150}" y="${height - 18}" width="12" height="10" fill="${colour}"/><text x="${28 + at * 150}" y="${height - 9}">${label}</text>`,
  );
  return frame(`${title}, ${Math.round(all / 1_000)} ms in which it was not idle`, { wide: width, high: height, font: 10 }, [...parts, ...legend]);
}

const colours = { Kith: '#9cc3f5', libraries: '#f7c59f', runtime: '#d5d9e0', garbage: '#f2a3a9' };

const colourOf = (name: string, url: string): string =>
  name === '(garbage collector)' ? colours.garbage : url.includes('/node_modules/') ? colours.libraries : url.startsWith('file:') ? colours.Kith : colours.runtime;

/** A module, from the folder of packages or of modules on: where it was checked out is nobody's business. */
const placeOf = (url: string): string =>
  (/(?:node_modules|packages|bench)\/.+$/.exec(url)?.[0] ?? (url.startsWith('file:') ? path.basename(url) : url)).replace(/\.[cm]?[jt]s$/, '');
