// Pictures of results, as SVG that needs nothing: bars, and lines over time or size.

export type Plot =
  | { kind: 'bars'; title: string; unit: string; bars: Bar[]; /** A line across all, with what it stands for. */ bound?: { at: number; label: string } }
  | { kind: 'lines'; title: string; x: string; unit: string; lines: Line[]; logX?: boolean; bound?: { at: number; label: string } };

export interface Bar {
  label: string;
  value: number;
  /** Least and most of all runs. */
  low?: number;
  high?: number;
  ours?: boolean;
}

export interface Line {
  label: string;
  points: [x: number, y: number][];
}

const width = 720;
const margin = { left: 150, right: 24, top: 48, bottom: 46 };
const colours = ['#2f6fde', '#d9652b', '#2a9d6f', '#8a4fd0', '#b3323f', '#6b7280'];
const ink = '#1f2937';
const faint = '#d1d5db';

export function toSvg(plot: Plot): string {
  return plot.kind === 'bars' ? bars(plot) : lines(plot);
}

function bars({ title, unit, bars: all, bound }: Plot & { kind: 'bars' }): string {
  const row = 34;
  const height = margin.top + all.length * row + margin.bottom;
  const most = niceCeiling(Math.max(bound?.at ?? 0, ...all.map((bar) => bar.high ?? bar.value)));
  const x = (value: number): number => margin.left + (value / most) * (width - margin.left - margin.right - 60);
  const parts = all.map((bar, index) => {
    const y = margin.top + index * row;
    const { low = bar.value, high = bar.value } = bar;
    const whisker = low === high ? '' : `<path d="M${x(low)} ${y + 13}H${x(high)}M${x(low)} ${y + 8}v10M${x(high)} ${y + 8}v10" stroke="${ink}" fill="none"/>`;
    return (
      `<text x="${margin.left - 8}" y="${y + 17}" text-anchor="end">${escape(bar.label)}</text>` +
      `<rect x="${margin.left}" y="${y + 3}" width="${Math.max(1, x(bar.value) - margin.left)}" height="20" rx="3" fill="${bar.ours ? colours[0] : '#9ca3af'}"/>${whisker}` +
      `<text x="${x(high) + 8}" y="${y + 17}" font-weight="600">${format(bar.value)}</text>`
    );
  });
  const end = margin.top + all.length * row;
  if (bound) parts.push(boundLine(`M${x(bound.at)} ${margin.top - 6}V${end}`, x(bound.at), end + 14, bound.label));
  parts.push(`<text x="${margin.left}" y="${end + 32}" fill="#6b7280">${escape(unit)}</text>`);
  return frame(title, { high: height }, parts);
}

function lines({ title, x: xName, unit, lines: all, logX = false, bound }: Plot & { kind: 'lines' }): string {
  const height = 380;
  const points = all.flatMap((line) => line.points);
  const scale = logX ? Math.log10 : (value: number): number => value;
  const xs = points.map(([at]) => scale(at));
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const most = niceCeiling(Math.max(bound?.at ?? 0, ...points.map(([, value]) => value)));
  const left = 70;
  const bottom = height - margin.bottom - 22;
  const x = (value: number): number => left + ((scale(value) - low) / (high - low || 1)) * (width - left - margin.right);
  const y = (value: number): number => bottom - (value / most) * (bottom - margin.top);
  const parts: string[] = [];
  for (let step = 0; step <= 4; step++) {
    const value = (most * step) / 4;
    parts.push(`<path d="M${left} ${y(value)}H${width - margin.right}" stroke="${faint}"/><text x="${left - 8}" y="${y(value) + 4}" text-anchor="end">${format(value)}</text>`);
  }
  const ticks = logX ? [...new Set(points.map(([at]) => at))] : [0, 1, 2, 3, 4].map((step) => low + ((high - low) * step) / 4);
  for (const tick of ticks) parts.push(`<text x="${x(tick)}" y="${bottom + 18}" text-anchor="middle">${format(tick)}</text>`);
  for (const [index, line] of all.entries()) {
    const colour = colours[index % colours.length]!;
    const path = line.points.map(([at, value], nth) => `${nth === 0 ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join('');
    parts.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    if (line.points.length <= 12) for (const [at, value] of line.points) parts.push(`<circle cx="${x(at).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3" fill="${colour}"/>`);
    parts.push(
      `<rect x="${left + index * 160}" y="${height - 20}" width="12" height="4" fill="${colour}"/><text x="${left + index * 160 + 18}" y="${height - 14}">${escape(line.label)}</text>`,
    );
  }
  if (bound) parts.push(boundLine(`M${left} ${y(bound.at)}H${width - margin.right}`, width - margin.right - 90, y(bound.at) - 6, bound.label));
  parts.push(
    `<text x="${left}" y="${margin.top - 10}" fill="#6b7280">${escape(unit)}</text><text x="${width - margin.right}" y="${bottom + 34}" text-anchor="end" fill="#6b7280">${escape(xName)}</text>`,
  );
  return frame(title, { high: height }, parts);
}

const boundLine = (path: string, x: number, y: number, label: string): string =>
  `<path d="${path}" stroke="${colours[4]}" stroke-dasharray="4 3" fill="none"/><text x="${x}" y="${y}" text-anchor="middle" fill="${colours[4]}">${escape(label)}</text>`;

export function frame(title: string, { wide = width, high, font = 12 }: { wide?: number; high: number; font?: number }, parts: string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wide} ${high}" width="${wide}" height="${high}" font-family="system-ui, sans-serif" font-size="${font}" fill="${ink}">`,
    `<title>${escape(title)}</title>`,
    `<rect width="${wide}" height="${high}" fill="#ffffff"/>`,
    `<text x="16" y="24" font-size="15" font-weight="600">${escape(title)}</text>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

/** The next 1, 2 or 5 times a power of ten, so that the axis ends at a number that people read. */
function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) ?? 10);
}

function format(value: number): string {
  if (value >= 1_000_000) return `${Number((value / 1_000_000).toPrecision(3))} M`;
  if (value >= 10_000) return `${Number((value / 1_000).toPrecision(3))} k`;
  return String(Number(value.toPrecision(3)));
}

export const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
