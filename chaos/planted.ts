import type { Mutation } from '../packages/server/test/mutations.ts';
import { nemeses } from './nemeses.ts';

/** Mistakes that what everybody saw has to give away. */
export const planted: Mutation[] = [
  {
    mistake: 'an ack before the commit, and kills',
    changes: [
      // Only in a server that was killed before: people who come in would notice at once.
      {
        file: 'db/sqlite.ts',
        from: '    check(file, later);\n',
        to: `    globalThis.secondLife = process.getBuiltinModule('node:fs').existsSync(file);\n    check(file, later);\n`,
      },
      {
        file: 'db/sqlite.ts',
        from: `    try {
      const began = performance.now();`,
        to: `    if (globalThis.secondLife) for (const done of settle.splice(0)) done();
    await new Promise((resolve) => setTimeout(resolve, 200));
    try {
      const began = performance.now();`,
      },
    ],
    check: { nemesis: 'kill', seconds: 5 },
    says: /R1 acked/,
  },
  {
    mistake: 'a client id that is forgotten',
    changes: [{ file: 'core/append.ts', from: '  client_id: draft.clientId,', to: '  client_id: draft.clientId && newId(),' }],
    check: { nemesis: 'retries', seconds: 3 },
    says: /R[126] /,
  },
  {
    mistake: 'a removal that the hub ignores',
    changes: [{ file: 'gateway/hub.ts', from: `    if (unfollow) this.#changed(follower, unfollow, 'unfollow');\n`, to: '' }],
    check: { nemesis: 'members', seconds: 6 },
    says: /R5 .* after they were removed/,
  },
  {
    mistake: 'every thousandth delivery left out',
    changes: [
      { file: 'gateway/hub.ts', from: '      follower.deliver(frame);\n', to: '      if ((delivered += 1) % 1_000 !== 0) follower.deliver(frame);\n' },
      { file: 'gateway/hub.ts', from: 'export class Hub', to: 'let delivered = 0;\n\nexport class Hub' },
    ],
    check: { nemesis: 'none', seconds: 6 },
    says: /R8 \d+ pushes never came/,
  },
  {
    mistake: 'commits that are not synced, and power cuts',
    changes: [{ file: 'db/sqlite.ts', from: 'synchronous = full; pragma foreign_keys', to: 'synchronous = normal; pragma foreign_keys' }],
    check: { nemesis: 'power', seconds: 5, missing: nemeses['power']!.missing },
    // So much is lost that often the accounts are gone as well.
    says: /acked and lost|R1 acked/,
  },
  {
    mistake: 'a seq that is used twice',
    changes: [
      { file: 'db/migrations/0001_init.ts', from: `    .addUniqueConstraint('messages_seq', ['conversation_id', 'seq'])\n`, to: '' },
      { file: 'core/streams.ts', from: `seq: eb('seq', '+', by)`, to: `seq: eb.case().when('version', '=', 20).then(eb.ref('seq')).else(eb('seq', '+', by)).end()` },
    ],
    check: { nemesis: 'none', seconds: 3 },
    says: /R3 .* stands at place/,
  },
];
