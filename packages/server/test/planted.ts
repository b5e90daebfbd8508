import type { Mutation } from './mutations.ts';

/** Mistakes that the tests of the server have to find. */
export const planted: Mutation[] = [
  {
    mistake: 'a push before the commit',
    changes: [
      { file: 'core/streams.ts', from: '    log.publish(publications(parts));\n    return result;', to: '    return result;' },
      { file: 'core/streams.ts', from: '        await giveBack(q, parts);\n', to: '        await giveBack(q, parts);\n        log.publish(publications(parts));\n' },
    ],
    check: { test: 'core.test.ts', name: 'CR8' },
    says: /FAIL .*\[CR8\][^]*AssertionError/,
  },
  {
    mistake: 'commits that are not synced',
    changes: [{ file: 'db/sqlite.ts', from: 'synchronous = full; pragma foreign_keys', to: 'synchronous = normal; pragma foreign_keys' }],
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
];
