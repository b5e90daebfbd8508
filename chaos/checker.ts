import type { Entry, Row } from './history.ts';

// Says whether what everybody saw is what was promised. It knows nothing of Kith but the history: sets and sorts, because
// every conversation is a log with places that the server gave.

export interface Violation {
  rule: 'R1' | 'R2' | 'R3' | 'R4' | 'R5' | 'R6' | 'R7' | 'R8' | 'R9';
  what: string;
}

export interface Bounds {
  /** After a removal was acknowledged, bytes may be on their way for so long. Milliseconds. */
  leakMs: number;
  /** From the end of the last fault to an ack, and to everybody being connected. Milliseconds. */
  firstAckMs: number;
  connectedMs: number;
  /** What the server may have more at the end than at the start: memory, files; and its log of writes. */
  growthMiB: number;
  growthFiles: number;
  walMiB: number;
  /** Pushes that may be missed on connections in step: none, where nothing between server and client may lose any. */
  gaps: number;
}

export const usualBounds: Bounds = { leakMs: 1_000, firstAckMs: 10_000, connectedMs: 30_000, growthMiB: 200, growthFiles: 20, walMiB: 64, gaps: 0 };

type Of<K extends Entry['e']> = Extract<Entry, { e: K }>;

/** At most so many of a rule are told: a rule that breaks, breaks often. */
const toldOfEach = 10;

export function check(history: Entry[], bounds: Bounds = usualBounds): Violation[] {
  const found: Violation[] = [];
  const told = new Map<string, number>();
  const wrong = (rule: Violation['rule'], what: string): void => {
    told.set(rule, (told.get(rule) ?? 0) + 1);
    if (told.get(rule)! <= toldOfEach) found.push({ rule, what });
  };
  const of = <K extends Entry['e']>(...kinds: K[]): Of<K>[] => history.filter((entry): entry is Of<K> => (kinds as string[]).includes(entry.e));

  const truth = new Map(of('truth').map(({ conversation, rows }) => [conversation, rows]));
  const sends = new Map(of('send').map((send) => [send.clientId, send]));
  const acks = Map.groupBy(of('ack'), ({ clientId }) => clientId);
  const words = Map.groupBy(of('edit', 'recall'), ({ id }) => id);

  // What was on the spot as plain as day.
  for (const { what } of of('wrong')) wrong('R2', what);

  noLoss(wrong, of('ack'), truth, of('held'));
  exactlyOnce(wrong, acks, truth);
  order(wrong, truth, of('seen'), of('held'));
  realTime(wrong, truth, sends, acks);
  noLeak(wrong, bounds, of('conversation'), of('removed', 'added'), of('seen', 'canary'), of('revoked'));
  nothingInvented(wrong, sends, words, of('seen'), truth);
  convergence(wrong, truth, of('held'), of('mark'));
  liveness(wrong, bounds, of('fault'), of('ack'), of('open', 'closed'));
  resources(wrong, bounds, of('server'));
  const gaps = of('gap');
  if (gaps.length > bounds.gaps) wrong('R8', `${gaps.length} pushes never came on connections in step, the first at ${gaps[0]!.device} in ${gaps[0]!.stream}`);
  return found;
}

type Wrong = (rule: Violation['rule'], what: string) => void;
const short = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

/** R1: what was acknowledged is there, at its place, for everybody who holds the conversation at the end. */
function noLoss(wrong: Wrong, acks: Of<'ack'>[], truth: Map<string, Row[]>, held: Of<'held'>[]): void {
  const places = new Map([...truth].map(([conversation, rows]) => [conversation, new Map(rows.map((row) => [row[0], row]))]));
  for (const { clientId, conversation, seq, id } of acks) {
    const row = places.get(conversation)?.get(seq);
    if (!row) wrong('R1', `acked and lost: ${clientId} at ${conversation} ${seq}`);
    else if (row[1] !== id || row[2] !== clientId) wrong('R1', `acked as ${clientId} at ${conversation} ${seq}, where ${row[2]} stands`);
  }
  for (const { device, conversation, rows } of held) {
    const has = new Set(rows.map((row) => row[0]));
    const missing = (truth.get(conversation) ?? []).filter((row) => !has.has(row[0])).map((row) => row[0]);
    if (missing.length > 0) wrong('R1', `${device} misses ${missing.slice(0, 5).join()} of ${conversation} (${missing.length} in all)`);
  }
}

/** R2: one message for a client id, one ack however often it was asked, one message for a place. */
function exactlyOnce(wrong: Wrong, acks: Map<string, Of<'ack'>[]>, truth: Map<string, Row[]>): void {
  for (const [clientId, all] of acks) {
    const answers = new Set(all.map(({ conversation, seq, id }) => `${conversation} ${seq} ${id}`));
    if (answers.size > 1) wrong('R2', `${clientId} was acked as ${[...answers].join(' and as ')}`);
  }
  const stored = new Map<string, string>();
  for (const [conversation, rows] of truth) {
    for (const [seq, , clientId, sender] of rows) {
      if (clientId === null) continue;
      const key = `${sender} ${clientId}`;
      const before = stored.get(key);
      if (before !== undefined) wrong('R2', `${clientId} is there twice: ${before} and ${conversation} ${seq}`);
      stored.set(key, `${conversation} ${seq}`);
    }
  }
}

/** R3: places are 1, 2, 3 … without holes, and the same message stands there for everybody, at any time. */
function order(wrong: Wrong, truth: Map<string, Row[]>, seen: Of<'seen'>[], held: Of<'held'>[]): void {
  const at = new Map<string, string>();
  for (const [conversation, rows] of truth) {
    for (const [index, row] of rows.entries()) {
      if (row[0] !== index + 1) wrong('R3', `${conversation}: seq ${row[0]} stands at place ${index + 1}`);
      at.set(`${conversation} ${row[0]}`, row[1]);
    }
  }
  const shown = (device: string, conversation: string, seq: number, id: string): void => {
    const there = at.get(`${conversation} ${seq}`);
    if (there !== undefined && there !== id) wrong('R3', `${device} saw ${id} at ${conversation} ${seq}, where ${there} stands`);
    if (there === undefined && truth.has(conversation)) wrong('R3', `${device} saw ${conversation} ${seq}, where nothing stands`);
  };
  for (const { device, conversation, seq, id } of seen) shown(device, conversation, seq, id);
  for (const { device, conversation, rows } of held) for (const row of rows) shown(device, conversation, row[0], row[1]);
}

/** R4: what was acknowledged before another left stands before it. */
function realTime(wrong: Wrong, truth: Map<string, Row[]>, sends: Map<string, Of<'send'>>, acks: Map<string, Of<'ack'>[]>): void {
  for (const [conversation, rows] of truth) {
    let earliest: { t: number; clientId: string } | undefined;
    for (const row of rows.toReversed()) {
      const send = sends.get(row[2] ?? '');
      if (send && earliest && earliest.t < send.t) wrong('R4', `${conversation}: ${earliest.clientId} was acked before ${send.clientId} left, and stands behind it`);
      const ack = Math.min(...(acks.get(row[2] ?? '') ?? []).map(({ t }) => t));
      if (ack < (earliest?.t ?? Infinity)) earliest = { t: ack, clientId: row[2]! };
    }
  }
}

/** R5: nobody sees anything of a conversation they are not in, nor of any after their session has ended. */
function noLeak(
  wrong: Wrong,
  { leakMs }: Bounds,
  conversations: Of<'conversation'>[],
  changes: Of<'removed' | 'added'>[],
  seen: Of<'seen' | 'canary'>[],
  revoked: Of<'revoked'>[],
): void {
  /** By conversation and person: from when to when they surely were outside. */
  const outside = new Map<string, { from: number; to: number }[]>();
  const members = new Map(conversations.map(({ conversation, members: all }) => [conversation, new Set(all)]));
  for (const { e, conversation, user, asked, t } of changes.toSorted((a, b) => a.t - b.t)) {
    const key = `${conversation} ${user}`;
    const spans = outside.get(key) ?? [];
    outside.set(key, spans);
    if (e === 'removed') spans.push({ from: t + leakMs, to: Infinity });
    else if (spans.length > 0) spans.at(-1)!.to = asked;
    else members.get(conversation)?.add(user);
  }
  const over = new Map(revoked.map(({ device, t }) => [device, t + leakMs]));
  for (const { e, device, user, conversation, t } of seen) {
    const stranger = members.has(conversation) && !members.get(conversation)!.has(user);
    const removed = outside.get(`${conversation} ${user}`)?.some(({ from, to }) => t > from && t < to);
    if (stranger || removed)
      wrong('R5', `${device} got ${e === 'canary' ? 'bytes' : 'a message'} of ${conversation}, ${stranger ? 'where they never were' : 'after they were removed'}`);
    if (t > (over.get(device) ?? Infinity)) wrong('R5', `${device} got something of ${conversation} after its session had ended`);
  }
}

/** R6: every message was written, in these words, by whom it names. */
function nothingInvented(wrong: Wrong, sends: Map<string, Of<'send'>>, words: Map<string, Of<'edit' | 'recall'>[]>, seen: Of<'seen'>[], truth: Map<string, Row[]>): void {
  const judge = (where: string, conversation: string, [, id, clientId, sender, text]: Row): void => {
    if (clientId === null) return;
    const send = sends.get(clientId);
    if (!send) return wrong('R6', `${where}: ${clientId} was never sent`);
    if (send.user !== sender || send.conversation !== conversation) return wrong('R6', `${where}: ${clientId} of ${send.user} stands as of ${sender} in ${conversation}`);
    if (text !== send.text && !words.get(id)?.some((change) => change.text === text)) wrong('R6', `${where}: ${clientId} reads “${short(text)}”, which nobody wrote`);
  };
  for (const one of seen) judge(one.device, one.conversation, [one.seq, one.id, one.clientId, one.sender, one.text]);
  for (const [conversation, rows] of truth) for (const row of rows) judge('at the end', conversation, row);
}

/** R7: when all is quiet, all devices hold the same words and marks as the server. */
function convergence(wrong: Wrong, truth: Map<string, Row[]>, held: Of<'held'>[], marks: Of<'mark'>[]): void {
  for (const { device, conversation, rows } of held) {
    const has = new Map(rows.map((row) => [row[0], row[4]]));
    for (const row of truth.get(conversation) ?? []) {
      if (has.has(row[0]) && has.get(row[0]) !== row[4]) wrong('R7', `${device} holds “${short(has.get(row[0])!)}” at ${conversation} ${row[0]}, where “${short(row[4])}” stands`);
    }
  }
  for (const [key, all] of Map.groupBy(marks, ({ user, conversation }) => `${user} in ${conversation}`)) {
    if (new Set(all.map(({ readSeq }) => readSeq)).size > 1)
      wrong('R7', `${key} has read up to ${all.map(({ device, readSeq }) => `${readSeq} (${device || 'server'})`).join(', ')}`);
  }
}

/** R8: after the last fault is healed it goes on. */
function liveness(wrong: Wrong, { firstAckMs, connectedMs }: Bounds, faults: Of<'fault'>[], acks: Of<'ack'>[], connections: Of<'open' | 'closed'>[]): void {
  const healed = faults.filter(({ on }) => !on).reduce((latest, { t }) => Math.max(latest, t), -Infinity);
  if (healed === -Infinity) return;
  const firstAck = acks.map(({ t }) => t).filter((t) => t > healed);
  if (firstAck.length > 0 && Math.min(...firstAck) > healed + firstAckMs) wrong('R8', `the first ack came ${Math.round(Math.min(...firstAck) - healed)} ms after all was healed`);
  if (firstAck.length === 0) wrong('R8', 'nothing was acked after all was healed');
  for (const [device, all] of Map.groupBy(connections, (one) => one.device)) {
    const last = all.toSorted((a, b) => a.t - b.t).findLast(({ t }) => t < healed + connectedMs);
    if (last?.e === 'closed' && last.code < 4_500 && last.code !== 1_000) wrong('R8', `${device} was not connected ${connectedMs} ms after all was healed`);
  }
}

/** R9: nothing piles up. */
function resources(wrong: Wrong, { growthMiB, growthFiles, walMiB }: Bounds, samples: Of<'server'>[]): void {
  const [start, end] = [samples.find(({ when }) => when === 'start'), samples.findLast(({ when }) => when === 'end')];
  if (!start || !end) return;
  if (end.rssMiB - start.rssMiB > growthMiB) wrong('R9', `memory went from ${start.rssMiB} to ${end.rssMiB} MiB`);
  if (end.files - start.files > growthFiles) wrong('R9', `open files went from ${start.files} to ${end.files}`);
  if (end.walMiB > walMiB) wrong('R9', `the write-ahead log has ${end.walMiB} MiB`);
}
