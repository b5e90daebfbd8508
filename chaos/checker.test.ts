import { describe, expect, test } from 'vitest';
import { check, usualBounds } from './checker.ts';
import type { Entry } from './history.ts';

// The judge is judged: a history in which all is well, and one for each promise that is broken in it.

const said = (clientId: string, t: number, text = clientId): Entry => ({ e: 'send', clientId, conversation: 'c', user: 'anna', device: 'anna-0', text, t });
const acked = (clientId: string, seq: number, t: number, id = `id-${seq}`): Entry => ({ e: 'ack', clientId, device: 'anna-0', conversation: 'c', seq, id, text: clientId, t });
const row = (seq: number, clientId: string, text = clientId, sender = 'anna'): [number, string, string, string, string] => [seq, `id-${seq}`, clientId, sender, text];
const saw = (device: string, seq: number, clientId: string, t: number, text = clientId): Entry => ({
  e: 'seen',
  device,
  user: device.split('-')[0]!,
  conversation: 'c',
  seq,
  id: `id-${seq}`,
  clientId,
  sender: 'anna',
  text,
  t,
});
const well = (): Entry[] => [
  { e: 'conversation', conversation: 'c', canary: 'canary-1', members: ['anna', 'bert'], t: 0 },
  { e: 'open', device: 'anna-0', t: 1 },
  said('one', 10),
  acked('one', 1, 20),
  saw('bert-0', 1, 'one', 21),
  said('two', 30),
  acked('two', 2, 40),
  saw('bert-0', 2, 'two', 41),
  { e: 'edit', id: 'id-2', text: 'two+', done: true, t: 50 },
  { e: 'removed', conversation: 'c', user: 'bert', asked: 100, t: 110 },
  { e: 'fault', what: 'x', on: true, t: 5 },
  { e: 'fault', what: 'x', on: false, t: 6 },
  { e: 'truth', conversation: 'c', rows: [row(1, 'one'), row(2, 'two', 'two+')] },
  { e: 'held', device: 'anna-0', user: 'anna', conversation: 'c', rows: [row(1, 'one'), row(2, 'two', 'two+')] },
  { e: 'mark', device: '', user: 'anna', conversation: 'c', readSeq: 2, t: 60 },
  { e: 'mark', device: 'anna-0', user: 'anna', conversation: 'c', readSeq: 2, t: 60 },
];
const closed = (device: string, code: number, t: number, reason = '', own = false): Entry => ({ e: 'closed', device, code, reason, own, t });
const looked = (asked: number, ...rows: ReturnType<typeof row>[]): Entry => ({ e: 'look', conversation: 'c', asked, rows });
/** Asked to stop at 60, gone at 80, read at 90: the one device is told to come back, and what it had sent is answered. */
const stopped = (): Entry[] => [
  ...well(),
  { e: 'stopped', began: 25, asked: 60, t: 80 },
  closed('anna-0', 1012, 70, '250'),
  { e: 'open', device: 'anna-0', t: 85 },
  looked(90, row(1, 'one'), row(2, 'two', 'two+')),
];
const truth = (...rows: ReturnType<typeof row>[]): Entry => ({ e: 'truth', conversation: 'c', rows });
const without = (kind: Entry['e'], history = well()): Entry[] => history.filter(({ e }) => e !== kind);

test('[R10] a history in which all is well has nothing to say', () => {
  expect(check(well())).toEqual([]);
  expect(check(stopped())).toEqual([]);
});

/** A message was lost where a database took over, another stands where it stood, and so many are said to be gone. */
const lost = (...reported: number[]): Entry[] =>
  without('held', [
    ...well(),
    said('three', 70),
    acked('three', 3, 80, 'id-of-before'),
    { e: 'era', number: 2, heads: [['c', 2]], t: 90 },
    ...reported.map((messages): Entry => ({ e: 'reported', era: 2, conversation: 'c', messages, t: 90 })),
    said('four', 100),
    acked('four', 3, 110),
    truth(row(1, 'one'), row(2, 'two', 'two+'), row(3, 'four')),
  ]);

test('[R10] what was lost with a database and reported is no mistake', () => {
  expect(check(lost(1))).toEqual([]);
});

const lag = (t: number, ms: number, ownMs = 11): Entry => ({ e: 'lag', ms, ownMs, t });

test('[R10] a loop that is late during a fault or right after it, together with its machine, or in one second of a hundred is no mistake', () => {
  const broken = [lag(5.5, 500), lag(1_000, 500), lag(3_000, 500)];
  const machine = lag(4_000, 500, 40);
  const once = Array.from({ length: 110 }, (_, second) => lag(5_000 + second * 1_000, second === 7 ? 500 : 12));
  expect(check([...well(), ...broken, machine, ...once], { ...usualBounds, lagMs: 100 })).toEqual([]);
});

describe('what is noticed', () => {
  const broken: [rule: string, what: RegExp, history: Entry[]][] = [
    ['R1', /never reported: three/, lost()],
    ['R1', /1 acked messages are gone, and 0 were reported/, lost()],
    ['R1', /acked as three at c 3, where four stands/, [...lost(1), acked('three', 3, 95, 'id-of-before')]],
    ['R1', /acked and lost: two/, [...without('truth'), truth(row(1, 'one'))]],
    ['R1', /acked as two at c 2, where three stands/, [...without('truth'), said('three', 1), truth(row(1, 'one'), row(2, 'three'))]],
    ['R1', /anna-1 misses 2 of c/, [...well(), { e: 'held', device: 'anna-1', user: 'anna', conversation: 'c', rows: [row(1, 'one')] }]],
    ['R1', /acked and lost: two at c 2, where nothing stood right after a restart/, [...well(), looked(90, row(1, 'one'))]],
    ['R2', /two was acked as c 2 id-2 and as c 3 id-3/, [...without('truth'), acked('two', 3, 90), truth(row(1, 'one'), row(2, 'two', 'two+'), row(3, 'two'))]],
    ['R2', /two is there twice/, [...without('truth'), truth(row(1, 'one'), row(2, 'two', 'two+'), row(3, 'two'))]],
    ['R3', /seq 3 stands at place 2/, [...without('truth'), truth(row(1, 'one'), row(3, 'two', 'two+'))]],
    ['R3', /bert-1 saw c 7, where nothing stands/, [...well(), saw('bert-1', 7, 'two', 42)]],
    ['R3', /bert-1 saw other at c 2/, [...well(), { ...saw('bert-1', 2, 'two', 42), id: 'other' } as Entry]],
    ['R4', /two was acked before three left, and stands behind it/, [...without('truth'), said('three', 45), truth(row(1, 'one'), row(2, 'three'), row(3, 'two'))]],
    [
      'R4',
      /two left before three, and stands behind it/,
      [...without('send'), said('one', 10), said('two', 30), said('three', 30), ...[truth(row(1, 'one'), row(2, 'three'), row(3, 'two'))]],
    ],
    ['R5', /bert-0 got a message of c, after they were removed/, [...well(), saw('bert-0', 2, 'two', 2_000)]],
    ['R5', /eve-0 got bytes of c, where they never were/, [...well(), { e: 'canary', device: 'eve-0', user: 'eve', conversation: 'c', t: 30 }]],
    ['R5', /anna-0 got something of c after its session had ended/, [...well(), { e: 'revoked', device: 'anna-0', asked: 50, t: 55 }, saw('anna-0', 2, 'two', 5_000)]],
    ['R6', /three was never sent/, [...without('truth'), truth(row(1, 'one'), row(2, 'two', 'two+'), row(3, 'three'))]],
    ['R6', /“forged”, which nobody wrote/, [...well(), saw('anna-0', 2, 'two', 43, 'forged')]],
    ['R6', /two of anna stands as of bert/, [...without('truth'), truth(row(1, 'one'), row(2, 'two', 'two+', 'bert'))]],
    ['R7', /anna-1 holds “two” at c 2, where “two\+” stands/, [...well(), { e: 'held', device: 'anna-1', user: 'anna', conversation: 'c', rows: [row(1, 'one'), row(2, 'two')] }]],
    ['R7', /anna in c has read up to 2 \(server\), 2 \(anna-0\), 1 \(anna-1\)/, [...well(), { e: 'mark', device: 'anna-1', user: 'anna', conversation: 'c', readSeq: 1, t: 61 }]],
    ['R8', /nothing was acked after all was healed/, [...well(), { e: 'fault', what: 'y', on: false, t: 500 }]],
    ['R8', /the first ack came 11000 ms after/, [...well(), { e: 'fault', what: 'y', on: false, t: 500 }, acked('two', 2, 11_500)]],
    ['R8', /anna-0 was not connected/, [...well(), closed('anna-0', 1006, 70)]],
    ['R5', /anna-0 was told that they are out of c, and then got a push of it/, [...well(), { e: 'after', device: 'anna-0', user: 'anna', conversation: 'c', told: 60, t: 70 }]],
    ['R8', /1 pushes never came/, [...well(), { e: 'gap', device: 'anna-0', stream: 'conversation:c', t: 70 }]],
    ['R8', /asked to stop, a server sent bert-0 away with 1006 “”/, [...stopped(), closed('bert-0', 1006, 75)]],
    ['R8', /asked to stop, a server sent nobody away/, stopped().filter(({ e }) => e !== 'closed')],
    ['R8', /asked to stop, a server stored two at c 2 and never said so/, stopped().filter((entry) => !(entry.e === 'ack' && entry.clientId === 'two'))],
    ['R8', /anna-0 lost its connection 2 times in 1 restarts/, [...stopped(), closed('anna-0', 1012, 86), { e: 'calm', from: 50, t: 100, losses: 1 }]],
    ['R8', /anna-0 was told of an error: edit: internal/, [...well(), { e: 'error', device: 'anna-0', what: 'edit: internal', t: 70 }, { e: 'calm', from: 50, t: 100, losses: 1 }]],
    [
      'R9',
      /memory went from 100 to 400 MiB/,
      [...well(), { e: 'server', rssMiB: 100, files: 1, walMiB: 0, when: 'start', t: 1 }, { e: 'server', rssMiB: 400, files: 1, walMiB: 0, when: 'end', t: 9 }],
    ],
    [
      'R9',
      /open files went from 1 to 90/,
      [...well(), { e: 'server', rssMiB: 1, files: 1, walMiB: 0, when: 'start', t: 1 }, { e: 'server', rssMiB: 1, files: 90, walMiB: 0, when: 'end', t: 9 }],
    ],
    ['R9', /loop was 250 ms late/, [...well(), ...Array.from({ length: 20 }, (_, second) => lag(5_000 + second * 1_000, second === 7 ? 250 : 12))]],
  ];

  test.each(broken)('[R10] the checker notices by %s: %s', (rule, what, history) => {
    expect(check(history, { ...usualBounds, lagMs: 100 })).toContainEqual({ rule, what: expect.stringMatching(what) });
  });
});
