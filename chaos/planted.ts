import type { Mutation } from './mutations.ts';
import { nemeses } from './nemeses.ts';

/** Mistakes that a test of ours has to find, or what everybody saw while something was broken. */
export const planted: Mutation[] = [
  {
    mistake: 'a push before the commit',
    changes: [
      // Each is told while the others of its commit are still being written.
      {
        file: 'db/sqlite.ts',
        from: '          job.outcome = place ?',
        to: '          if (place) job.resolve(job.append!.done(place));\n          await undefined;\n          job.outcome = place ?',
      },
    ],
    check: { test: 'core.test.ts', name: 'CR8' },
    says: /FAIL .*\[CR8\][^]*AssertionError/,
  },
  {
    mistake: 'commits that are not synced',
    changes: [
      { file: 'db/log-sync.ts', from: '    fs.fdatasyncSync(this.#log);\n', to: '' },
      { file: 'db/sync-worker.ts', from: '    fs.fdatasyncSync(asked.sync);\n', to: '' },
    ],
    check: { test: 'db.test.ts', name: 'DB23' },
    says: /FAIL .*\[DB23\][^]*AssertionError/,
  },
  {
    mistake: 'a version that is read after the rows, and not with them',
    changes: [
      { file: 'db/sqlite.ts', from: '        begin.run();\n        for (const', to: '        for (const' },
      {
        file: 'features/sync.ts',
        from: '      return page(entities, head, limit);',
        // On SQLite nothing is written between two queries of a read that follow at once: it would be right by chance.
        to: `      await new Promise((resolve) => setImmediate(resolve));
      return page(entities, (await readHeads(q, [stream]))[stream] ?? 0, limit);`,
      },
    ],
    check: { test: 'core.test.ts', name: 'ST4.* direct' },
    says: /FAIL .*\[ST4\][^]*AssertionError/,
  },
  {
    mistake: 'a removal that the hub ignores',
    changes: [{ file: 'gateway/hub.ts', from: `    if (unfollow) this.#changed(follower, unfollow, 'unfollow');\n`, to: '' }],
    check: { test: 'rules/streams.test.ts', name: 'ST7' },
    says: /FAIL .*\[ST7\] after the commit that removes[^]*AssertionError/,
  },
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
      this.#commit.run();`,
        to: `    if (globalThis.secondLife) {
      this.#settle(taken);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    try {
      this.#commit.run();`,
      },
    ],
    check: { nemesis: 'kill' },
    says: /R1 acked/,
  },
  {
    mistake: 'a client id that is forgotten',
    changes: [{ file: 'core/append.ts', from: '  client_id: draft.clientId,', to: '  client_id: draft.clientId && newId(),' }],
    check: { nemesis: 'retries' },
    says: /R2 .* was acked as/,
  },
  {
    mistake: 'a removal that the hub ignores',
    changes: [{ file: 'gateway/hub.ts', from: `    if (unfollow) this.#changed(follower, unfollow, 'unfollow');\n`, to: '' }],
    check: { nemesis: 'members' },
    says: /R5 .* after they were removed/,
  },
  {
    mistake: 'every thousandth delivery left out',
    changes: [
      { file: 'gateway/hub.ts', from: '      follower.deliver(frame);\n', to: '      if ((delivered += 1) % 1_000 !== 0) follower.deliver(frame);\n' },
      { file: 'gateway/hub.ts', from: 'export class Hub', to: 'let delivered = 0;\n\nexport class Hub' },
    ],
    check: { nemesis: 'none' },
    says: /R8 \d+ pushes never came/,
  },
  {
    mistake: 'commits that are not synced, and power cuts',
    changes: [
      { file: 'db/log-sync.ts', from: '    fs.fdatasyncSync(this.#log);\n', to: '' },
      { file: 'db/sync-worker.ts', from: '    fs.fdatasyncSync(asked.sync);\n', to: '' },
    ],
    check: { nemesis: 'power', missing: nemeses['power']!.missing },
    // So much is lost that often the accounts are gone as well.
    says: /acked and lost|R1 acked/,
  },
  {
    mistake: 'a seq that is used twice',
    changes: [
      { file: 'db/migrations/0024_messages.ts', from: 'constraint messages_seq unique (conversation_id, seq), ', to: '' },
      { file: 'core/streams.ts', from: `seq: eb('seq', '+', by)`, to: `seq: eb.case().when('version', '=', 20).then(eb.ref('seq')).else(eb('seq', '+', by)).end()` },
    ],
    check: { nemesis: 'none' },
    says: /R3 \S+ saw .* where .* stands/,
  },
];
