import { describe, expect, onTestFinished, test } from 'vitest';
import { type Mutation, copyRepository, plant, run } from './mutations.ts';

const mutations: Mutation[] = [
  {
    mistake: 'an ack before the commit',
    changes: [
      {
        file: 'db/sqlite.ts',
        from: `    try {
      this.#file.exec('commit');`,
        // Only where many write at once: of two sends one after the other nobody would have to be killed to see it.
        to: `    if (taken.length > 4) {
      for (const done of settle.splice(0)) done();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    try {
      this.#file.exec('commit');`,
      },
    ],
    check: { kills: 3 },
    says: /after kill \d: acked and lost/,
  },
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
    changes: [{ file: 'db/sqlite.ts', from: 'pragma synchronous = full', to: 'pragma synchronous = normal' }],
    check: { test: 'db.test.ts', name: 'DB23' },
    says: /FAIL .*\[DB23\][^]*AssertionError/,
  },
  {
    mistake: 'a client id that is forgotten',
    changes: [{ file: 'core/append.ts', from: '    client_id: draft.clientId,', to: '    client_id: draft.clientId && newId(),' }],
    check: { kills: 0 },
    says: /is there twice/,
  },
  {
    mistake: 'a seq that is used twice',
    changes: [
      { file: 'db/migrations/0001_init.ts', from: `    .addUniqueConstraint('messages_seq', ['conversation_id', 'seq'])\n`, to: '' },
      { file: 'core/streams.ts', from: `seq: eb('seq', '+', 1)`, to: `seq: eb.case().when('version', '=', 20).then(eb.ref('seq')).else(eb('seq', '+', 1)).end()` },
    ],
    check: { kills: 0 },
    says: /seq 19 stands at place 20|seq \d+ stands at place/,
  },
  {
    mistake: 'a version that is read after the rows, and not with them',
    changes: [
      { file: 'db/sqlite.ts', from: `      this.#readFile.exec('begin');\n`, to: '' },
      { file: 'db/sqlite.ts', from: `        this.#readFile.exec('rollback');\n`, to: '' },
      {
        file: 'features/sync.ts',
        from: '      return page(entities, head, limit);',
        to: `      return page(entities, (await readHeads(q, [stream]))[stream] ?? 0, limit);`,
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

// The load ends with a signal that Windows does not have.
describe.skipIf(process.platform === 'win32')('planted mistakes', () => {
  test.each(mutations)('[R10] the checks notice $mistake', { timeout: 120_000 }, async ({ changes, check, says }) => {
    const { folder, remove } = copyRepository();
    onTestFinished(remove);
    plant(folder, { changes });
    const child = run(folder, check);
    onTestFinished(() => child.kill());
    const exit = await child.ended;
    const { out, err } = child.output();
    expect(`${out.join('\n')}\n${err}`).toMatch(says);
    expect(exit).toBe(1);
  });
});
