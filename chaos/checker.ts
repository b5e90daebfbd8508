import { type Entry, type Row, resent } from './history.ts';

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
  /** How late the server's loop may be where nothing is broken. Milliseconds; Infinity: not looked at. */
  lagMs: number;
  /** Pushes that may be missed on connections in step: none, where nothing between server and client may lose any. */
  gaps: number;
}

export const usualBounds: Bounds = { leakMs: 1_000, firstAckMs: 10_000, connectedMs: 30_000, growthMiB: 200, growthFiles: 20, walMiB: 64, lagMs: Infinity, gaps: 0 };

/** What was missed shows with the next push of its stream. Milliseconds. */
const lateMs = 2_000;

type Of<K extends Entry['e']> = Extract<Entry, { e: K }>;

/** At most so many of a rule are told: a rule that breaks, breaks often. */
const toldOfEach = 10;

/** @param soFar  What was noted until now, and not yet all: only what is wrong whatever comes. */
export function check(noted: Entry[], bounds: Bounds = usualBounds, soFar = false): Violation[] {
  const found: Violation[] = [];
  const told = new Map<string, number>();
  const wrong = (rule: Violation['rule'], what: string): void => {
    told.set(rule, (told.get(rule) ?? 0) + 1);
    if (told.get(rule)! <= toldOfEach) found.push({ rule, what });
  };
  const history = withoutReported(wrong, noted);
  const kinds = Map.groupBy(history, ({ e }) => e);
  const of = <K extends Entry['e']>(...wanted: K[]): Of<K>[] => wanted.flatMap((kind) => (kinds.get(kind) ?? []) as Of<K>[]);

  const truth = new Map(of('truth').map(({ conversation, rows }) => [conversation, rows]));
  const sends = new Map(of('send').map((send) => [send.clientId, send]));
  const acks = Map.groupBy(of('ack'), ({ clientId }) => clientId);
  const words = Map.groupBy(of('edit', 'recall'), ({ id }) => id);

  // What was on the spot as plain as day.
  for (const { what } of of('wrong')) wrong('R2', what);

  afterRestarts(wrong, of('ack'), of('look'));
  exactlyOnce(wrong, acks, truth);
  order(wrong, truth, of('seen'), of('held'));
  noLeak(wrong, bounds, of('conversation'), of('removed', 'added'), of('seen', 'canary'), of('revoked'));
  const mayBeLost = (t: number): boolean => of('lossy').some((span) => t > span.from && t < span.t + lateMs);
  pushedAfter(wrong, of('after'), of('removed', 'added'), (t) => bounds.gaps > 0 || mayBeLost(t));
  const gaps = of('gap').filter(({ t }) => !mayBeLost(t));
  if (gaps.length > bounds.gaps) wrong('R8', `${gaps.length} pushes never came on connections in step, the first at ${gaps[0]!.device} in ${gaps[0]!.stream}`);
  if (soFar) return found;

  noLoss(wrong, of('ack'), truth, of('held'));
  realTime(wrong, truth, sends, acks);
  sendOrder(wrong, truth, of('send'), of('again'));
  goodOrder(wrong, of('stopped'), of('look'), sends, acks, of('closed'));
  calm(wrong, of('calm'), of('closed'), of('error'));
  nothingInvented(wrong, sends, words, of('seen'), truth);
  convergence(wrong, truth, of('held'), of('mark'));
  liveness(wrong, bounds, of('fault'), of('ack'), of('open', 'closed'));
  resources(wrong, bounds, of('server'));
  lateness(wrong, bounds, of('lag'), of('fault'));
  return found;
}

type Wrong = (rule: Violation['rule'], what: string) => void;
const short = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

/**
 * R1: what was acknowledged may be gone where a database took over that did not have it, if nodes say that as much is gone. What was seen of that is
 * taken out of the history, so that all else is judged like everything.
 */
function withoutReported(wrong: Wrong, history: Entry[]): Entry[] {
  const of = <K extends Entry['e']>(kind: K): Of<K>[] => history.filter((entry) => entry.e === kind) as Of<K>[];
  const eras = of('era');
  if (eras.length === 0) return history;
  const there = new Map(of('truth').map(({ conversation, rows }) => [conversation, new Set(rows.map((row) => row[1]))]));
  const reported = new Map(of('reported').map(({ era, conversation, messages }) => [`${era} ${conversation}`, messages]));
  const heads = new Map(eras.map(({ number, heads: all }) => [number, new Map(all)]));
  /** Which era began without it. */
  const goneIn = ({ conversation, seq, id, t }: { conversation: string; seq: number; id: string; t: number }): number | undefined =>
    there.get(conversation)?.has(id) === false ? eras.find((era) => t < era.t && seq > (heads.get(era.number)!.get(conversation) ?? 0))?.number : undefined;
  const lost = new Map<string, Set<string>>();
  for (const ack of of('ack')) {
    const era = goneIn(ack);
    if (era === undefined) continue;
    const key = `${era} ${ack.conversation}`;
    const ids = lost.get(key) ?? new Set();
    lost.set(key, ids.add(ack.id));
    const last = (heads.get(era)!.get(ack.conversation) ?? 0) + (reported.get(key) ?? 0);
    if (ack.seq > last) wrong('R1', `acked and lost, and never reported: ${ack.clientId} at ${ack.conversation} ${ack.seq}, where what was reported ends with ${last}`);
  }
  for (const [key, ids] of lost) if (ids.size > (reported.get(key) ?? 0)) wrong('R1', `of ${key} ${ids.size} acked messages are gone, and ${reported.get(key) ?? 0} were reported`);
  return history.filter((entry) => !((entry.e === 'ack' || entry.e === 'seen') && goneIn(entry) !== undefined));
}

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

/** R1: what was acknowledged before a server went is there in the first that anybody reads from the next. */
function afterRestarts(wrong: Wrong, acks: Of<'ack'>[], looks: Of<'look'>[]): void {
  const inTime = Map.groupBy(acks, ({ conversation }) => conversation);
  for (const { conversation, asked, rows } of looks) {
    const places = new Map(rows.map((row) => [row[0], row]));
    const first = rows[0]?.[0] ?? 0;
    for (const { clientId, seq, id, t } of inTime.get(conversation) ?? []) {
      if (t > asked) break;
      if (seq < first) continue;
      const row = places.get(seq);
      if (row?.[1] !== id) wrong('R1', `acked and lost: ${clientId} at ${conversation} ${seq}, where ${row ? (row[2] ?? row[1]) : 'nothing'} stood right after a restart`);
    }
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
    if (there !== undefined) return;
    if (truth.has(conversation)) wrong('R3', `${device} saw ${conversation} ${seq}, where nothing stands`);
    else at.set(`${conversation} ${seq}`, id);
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
      const ack = (acks.get(row[2] ?? '') ?? []).reduce((first, { t }) => Math.min(first, t), Infinity);
      if (ack < (earliest?.t ?? Infinity)) earliest = { t: ack, clientId: row[2]! };
    }
  }
}

/** R4: what one device sends to one conversation stands there in the order in which it left, but for what was told to come again. */
function sendOrder(wrong: Wrong, truth: Map<string, Row[]>, sends: Of<'send'>[], again: Of<'again'>[]): void {
  const turn = new Map(sends.map((send, index) => [send.clientId, { device: send.device, index }]));
  const late = new Set(again.filter(({ code }) => code !== resent).map(({ clientId }) => clientId));
  for (const [conversation, rows] of truth) {
    const last = new Map<string, { clientId: string; index: number }>();
    for (const row of rows) {
      const sent = turn.get(row[2] ?? '');
      if (!sent || late.has(row[2]!)) continue;
      const before = last.get(sent.device);
      if (before && before.index > sent.index) wrong('R4', `${conversation}: ${row[2]} left before ${before.clientId}, and stands behind it`);
      else last.set(sent.device, { clientId: row[2]!, index: sent.index });
    }
  }
}

/** R8: who is asked to stop answers what it stored, and sends everybody away with a time to come back. */
function goodOrder(wrong: Wrong, stops: Of<'stopped'>[], looks: Of<'look'>[], sends: Map<string, Of<'send'>>, acks: Map<string, Of<'ack'>[]>, closed: Of<'closed'>[]): void {
  for (const { began, asked, t } of stops) {
    const lost = new Map<string, number>();
    let told = 0;
    for (const one of closed) {
      if (one.t < began || one.t > t) continue;
      if (one.t >= asked && !one.own) {
        told += 1;
        if (one.code !== 1_012 || !/^\d+$/.test(one.reason)) wrong('R8', `asked to stop, a server sent ${one.device} away with ${one.code} “${one.reason}”`);
        else continue;
      }
      lost.set(one.device, Math.max(lost.get(one.device) ?? 0, one.t));
    }
    if (told === 0) wrong('R8', 'asked to stop, a server sent nobody away');
    const next = looks.find((look) => look.asked > t)?.asked;
    for (const look of looks.filter(({ asked: when }) => when >= (next ?? Infinity) && when < (next ?? 0) + 2_000)) {
      for (const [seq, , clientId] of look.rows) {
        const send = sends.get(clientId ?? '');
        if (!send || send.t < began || send.t > asked || (lost.get(send.device) ?? 0) >= send.t) continue;
        if (!acks.get(clientId!)?.some((ack) => ack.t < look.asked)) wrong('R8', `asked to stop, a server stored ${clientId} at ${look.conversation} ${seq} and never said so`);
      }
    }
  }
}

/** R8: while nodes go and come in good order, nobody loses more connections than nodes went, and nobody is told of an error. */
function calm(wrong: Wrong, spans: Of<'calm'>[], closed: Of<'closed'>[], errors: Of<'error'>[]): void {
  for (const { from, t, losses } of spans) {
    const lost = closed.filter((one) => !one.own && one.t >= from && one.t <= t);
    for (const [device, all] of Map.groupBy(lost, (one) => one.device)) {
      if (all.length > losses) wrong('R8', `${device} lost its connection ${all.length} times in ${losses} restarts`);
    }
    for (const error of errors) if (error.t >= from && error.t <= t) wrong('R8', `${error.device} was told of an error: ${error.what}`);
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

/** Somebody who reads late reads the word of a removal so late at most. Milliseconds. */
const readLateMs = 5_000;

/** R5: behind the word that one is out no push of there comes. Where pushes may be lost, the word that one is in again may be. */
function pushedAfter(wrong: Wrong, after: Of<'after'>[], changes: Of<'removed' | 'added'>[], mayBeLost: (t: number) => boolean): void {
  for (const { device, user, conversation, told, t } of after) {
    const wasIn = ({ e, ...change }: Of<'removed' | 'added'>): boolean =>
      e === 'added' && change.conversation === conversation && change.user === user && change.t > told - readLateMs && change.asked < t;
    if (mayBeLost(t) && changes.some(wasIn)) continue;
    wrong('R5', `${device} was told that they are out of ${conversation}, and then got a push of it`);
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
  const firstAck = acks.reduce((first, { t }) => (t > healed ? Math.min(first, t) : first), Infinity);
  if (firstAck === Infinity) wrong('R8', 'nothing was acked after all was healed');
  else if (firstAck > healed + firstAckMs) wrong('R8', `the first ack came ${Math.round(firstAck - healed)} ms after all was healed`);
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

/** A second in which our own loop was late says nothing of the server's; and what a fault has held up comes right after it. Milliseconds. */
const machineLateMs = 30;
const aftermathMs = 3_000;

/** R9: but for one second of a hundred the loop is never late, where nothing is broken. */
function lateness(wrong: Wrong, { lagMs }: Bounds, samples: Of<'lag'>[], faults: Of<'fault'>[]): void {
  const inTime = faults.toSorted((a, b) => a.t - b.t);
  const late: number[] = [];
  let at = 0;
  let broken = 0;
  let healed = -Infinity;
  for (const { ms, ownMs, t } of samples) {
    for (; at < inTime.length && inTime[at]!.t <= t; at += 1) {
      broken += inTime[at]!.on ? 1 : -1;
      if (broken === 0) healed = inTime[at]!.t;
    }
    if (broken === 0 && t - healed > aftermathMs && ownMs < machineLateMs) late.push(ms);
  }
  const worst = late.toSorted((a, b) => a - b)[Math.floor(late.length * 0.99)];
  if (worst !== undefined && late.length >= 20 && worst > lagMs) wrong('R9', `the server's loop was ${worst} ms late while nothing was broken`);
}
