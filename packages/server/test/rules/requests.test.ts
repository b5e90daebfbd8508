import { type ErrorBody, type MethodName, type Reply, errorCodes, limits, methods } from '@kith/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Stage, matrix } from '../permissions.ts';
import { type Someone, clientId, engines, unique, usePlace } from './place.ts';

/** What a zod schema says of itself. */
interface Described {
  def: { type: string; shape?: Record<string, Described>; innerType?: Described; options?: Described[]; element?: Described };
}

const shapeOf = (method: MethodName): Record<string, Described> => (methods[method].params as unknown as Described).def.shape!;
const isOptional = (schema: Described): boolean => schema.def.type === 'optional';
const kindOf = (schema: Described): string => {
  const { type, innerType, options, element } = schema.def;
  if (type === 'array' && element && kindOf(element) === 'number') return 'numbers';
  return innerType ? kindOf(innerType) : options ? kindOf(options.at(-1)!) : type;
};

const takesNull = ({ def }: Described): boolean => def.type === 'nullable' || (def.innerType !== undefined && takesNull(def.innerType));

/** Values of another type or out of any range, as they are written in JSON. */
const wrong: Record<string, string[]> = {
  string: ['7', 'null', 'true', '[]', '["x"]', '{}', '{"$ne":""}', '-0', '1e400'],
  enum: ['7', 'null', '[]', '{}', '"toString"', '"__proto__"', '""'],
  number: ['"1"', 'null', 'true', '[]', '[1]', '{}', '1.5', '1e400', '9007199254740993', '9'.repeat(60_000)],
  boolean: ['"true"', '0', '1', 'null', '[]', '{}'],
  object: ['"x"', '7', 'null', 'true', '[]', '[{}]'],
  array: ['"x"', '7', 'null', '{}', '{"length":1,"0":"x"}', '[null]', '[7]', '[["x"]]', '[{}]'],
  numbers: ['"x"', '7', 'null', '{}', '{"length":1,"0":1}', '[null]', '["7"]', '[[7]]', '[{}]', '[1.5]', '[-1]', '[1e400]'],
};
/** Keys that a client has no say in, and those that are more than a name in JavaScript. */
const unknown = ['senderId', 'from', 'userID', 'role', 'verified', 'version', '__proto__', 'constructor', 'prototype', 'toString', ''];

const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;

describe.each(engines)('requests on %s', (engine) => {
  const place = usePlace({ engine });
  let stage: Stage;
  let actor: Someone;
  let bystander: Someone;
  let next = 0;

  beforeAll(async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    const dora = await place.person('dora');
    const [hers, own] = [await anna.say(conversationId), await bert.say(conversationId)];
    bystander = cleo;
    actor = bert;
    // The rows of the matrix only look at names and ids.
    const target = { conversationId, messageId: own.id, fileId: hers.id, userId: anna.id, handle: anna.handle, sessionId: anna.sessionId };
    stage = { ...target, actor, anna, bystander: cleo, stranger: dora } as unknown as Stage;
  });

  /** Every method but the one that opens a connection. */
  const callable = (Object.keys(methods) as MethodName[]).filter((method) => method !== 'hello');

  /** As text, so that it can hold what no object of ours can. */
  const ask = (method: string, params: string): Promise<Reply> => {
    const id = `hostile-${(next += 1)}`;
    actor.client.send(`{"id":"${id}","method":${JSON.stringify(method)},"params":${params}}`);
    return actor.client.reply(id);
  };

  /** Parameters that would do, by key, as JSON. */
  const goodParams = (method: MethodName): Map<string, string> =>
    new Map(Object.entries(matrix[method].params(stage) as Record<string, unknown>).map(([key, value]) => [key, JSON.stringify(value)]));
  const written = (params: Map<string, string>): string => `{${[...params].map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`;

  /** Everything that a request could have changed. */
  const stored = async () => {
    const counts = ['users', 'sessions', 'friends', 'conversations', 'members', 'inbox', 'receipts', 'messages', 'invites'].map((table) => `(select count(*) from ${table})`);
    return place.rows.run(`select (select sum(version) from streams) as versions, ${counts.map((count, index) => `${count} as c${index}`).join(', ')}`);
  };

  const expectError = (error: ErrorBody | undefined): void => {
    const { code, message, retryable, ...extra } = error!;
    expect(errorCodes).toHaveProperty(code);
    expect(retryable).toBe(errorCodes[code].retryable);
    for (const key of Object.keys(extra)) expect(['path', 'retryAfterMs', 'id']).toContain(key);
    // Nothing of the inside: neither SQL nor engines nor places in the code.
    expect(message).not.toMatch(/sqlite|postgres|pg_|kysely|zod|select |insert |update \w+ set|syntax error|\n|node:|\.ts\b|undefined|\[object/i);
  };

  test.each(callable)('[FR3] %s refuses unknown keys, wrong types and values out of range, and names the field', async (method) => {
    const before = await stored();
    await bystander.settle();
    const told = bystander.heard().length;
    const asked: Promise<[path: string, reply: Reply]>[] = [];
    const expectRefused = (path: string, params: string): void => void asked.push(ask(method, params).then((reply) => [path, reply]));
    for (const key of unknown) expectRefused(`params.${key}`.replace(/\.$/, ''), written(new Map([...goodParams(method), [key, '"x"']])));
    for (const [key, schema] of Object.entries(shapeOf(method))) {
      for (const value of wrong[kindOf(schema)]!.filter((given) => given !== 'null' || !takesNull(schema)))
        expectRefused(`params.${key}`, written(new Map([...goodParams(method), [key, value]])));
      if (isOptional(schema)) continue;
      const without = goodParams(method);
      without.delete(key);
      expectRefused(`params.${key}`, written(without));
    }
    for (const params of ['[]', '"x"', '7', 'true', '[{}]']) expectRefused('params', params);
    for (const [path, { error }] of await Promise.all(asked)) {
      expectError(error);
      expect(error!.code).toBe('bad_request');
      // An entry of a list has a place of its own.
      expect(error!.path!.replace(/\.\d+$/, '')).toBe(path);
    }
    expect(await stored()).toEqual(before);
    await bystander.settle();
    expect(bystander.heard()).toHaveLength(told);
  });

  test('[FR3] nothing is looked up for a request without the right shape', async () => {
    const eve = await place.person('eve');
    const { conversationId } = stage;
    // With the right shape the first would be told that she is no member, the second that she is no operator.
    expect((await eve.client.request('message.history', { conversationId, limit: '1' })).error).toMatchObject({ code: 'bad_request', path: 'params.limit' });
    expect((await eve.client.request('admin.invite', { uses: 0 })).error).toMatchObject({ code: 'bad_request', path: 'params.uses' });
    const { error } = (await place.server.post('message.history', { conversationId, limit: 0 }, { token: eve.token })).json<{ error: ErrorBody }>();
    expect(error).toMatchObject({ code: 'bad_request', path: 'params.limit' });
  });

  test('[FR3] the path is that of the first offending field, and a password is never repeated', async () => {
    const params = { handle: 'Not A Handle', password: 'short 1', name: 7 };
    expect((await actor.client.request('auth.register', params)).error!.path).toBe('params.handle');
    const { error } = await actor.client.request('auth.register', { ...params, handle: 'fine', name: 'Fine' });
    expect(error).toMatchObject({ code: 'bad_request', path: 'params.password' });
    expect(JSON.stringify(error)).not.toContain('short 1');
    expect((await actor.client.request('member.add', { conversationId: 'x', userIds: ['ok', 'not ok'] })).error!.path).toBe('params.userIds.1');
  });

  test('[FR3] other keys beside id, method and params are refused', async () => {
    for (const key of ['from', 'token', 'userId', '__proto__', 'constructor']) {
      const id = unique('envelope');
      actor.client.send(`{"id":"${id}","method":"session.list","params":{},"${key}":"x"}`);
      expect((await actor.client.reply('')).error).toMatchObject({ code: 'bad_request', path: key });
      actor.client.frames.splice(0);
    }
  });

  test('[FR3] whatever text stands in a field, the answer is one of ours', async () => {
    const strange = [
      '\u0000',
      'a\u0000b',
      '\u0085',
      "'; drop table users; --",
      '" or ""="',
      '../../etc/passwd',
      '%00',
      '%',
      '_',
      '\\',
      '\u202eevil',
      '\uffff',
      '😀'.repeat(3_000),
      '{{7*7}}',
      'constructor',
    ];
    for (const method of callable) {
      const mallory = await place.person('mallory');
      const fields = Object.entries(shapeOf(method)).filter(([, schema]) => kindOf(schema) === 'string');
      const asked = fields.flatMap(([key]) => strange.map((text) => mallory.client.request(method, { ...(matrix[method].params(stage) as object), [key]: text })));
      const errors = (await Promise.all(asked)).flatMap(({ error }) => error ?? []);
      errors.forEach(expectError);
      expect({ method, codes: errors.map(({ code }) => code) }).not.toMatchObject({ codes: expect.arrayContaining(['internal']) });
    }
  });

  test.each([
    ['no JSON', 'hello'],
    ['half of it', '{"id":"1","method":"session.list"'],
    ['bytes behind it', '{"id":"1","method":"session.list"} x'],
    ['two of it', '{"id":"1","method":"session.list"}{"id":"2","method":"session.list"}'],
    ['single quotes', "{'id':'1','method':'session.list'}"],
    ['a comment', '{"id":"1","method":"session.list"/**/}'],
    ['a comma too many', '{"id":"1","method":"session.list",}'],
    ['NaN', '{"id":"1","method":"session.list","params":NaN}'],
    ['a byte order mark', '\ufeff{"id":"1","method":"session.list"}'],
    ['a control character in a string', '{"id":"1","method":"session.list\u0001"}'],
    ['13 levels', `{"id":"1","method":"session.list","params":${nested(12)}}`],
    ['30,000 levels', `{"id":"1","method":"session.list","params":${nested(30_000)}}`],
    ['30,000 levels of objects left open', '{"a":'.repeat(10_000)],
    ['half of a surrogate pair in a value', '{"id":"1","method":"session.list","params":{"x":"\\ud800"}}'],
    ['the other half in a key', '{"id":"1","method":"session.list","params":{"\\udc00":1}}'],
    ['halves in the wrong order', '{"id":"1","method":"session.list","params":{"x":"\\udc00\\ud800"}}'],
  ])('[FR4] %s is bad_json, and the connection lives', async (_what, text) => {
    const client = await place.server.connect(actor);
    client.send(text);
    const { error } = await client.next((frame): frame is Reply => 'error' in frame);
    expectError(error);
    expect(error!.code).toBe('bad_json');
    await client.settle();
    const answer = await place.server.http('POST', '/api/session.list', {
      headers: { 'content-type': 'application/json', authorization: `Bearer ${actor.token}` },
      body: text.startsWith('{"id":"1","method":"session.list","params":') ? text.slice(42, -1) : text,
    });
    expect([answer.status, answer.error]).toEqual([400, 'bad_json']);
    await client.close();
  });

  test('[FR4] 12 levels and whole surrogate pairs are read', async () => {
    // Read, and then found to be none of our parameters.
    expect((await ask('session.list', nested(limits.jsonDepth - 1))).error).toMatchObject({ code: 'bad_request', path: 'params' });
    const { conversation } = await actor.call('conversation.direct', { userId: actor.id });
    const reply = await ask('message.send', `{"conversationId":"${conversation.id}","clientId":"${clientId()}","type":"text","text":"\\ud83c\\udf41"}`);
    expect(reply.result).toMatchObject({ message: { text: '🍁' } });
  });

  test.each(['null', '[]', '7', '"session.list"', '{}', '{"method":"session.list"}', '{"id":7,"method":"session.list"}', '{"id":"","method":"session.list"}'])(
    '[FR3] %s is JSON and no request',
    async (text) => {
      const client = await place.server.connect(actor);
      client.send(text);
      const { error } = await client.next((frame): frame is Reply => 'error' in frame);
      expectError(error);
      expect(error!.code).toBe('bad_request');
      await client.settle();
      await client.close();
    },
  );

  test('[FR4] of a key that stands twice the last counts, for everybody who reads the frame', async () => {
    const id = unique('twice');
    actor.client.send(`{"id":"first","method":"auth.logout","params":{},"method":"session.list","id":"${id}"}`);
    expect((await actor.client.reply(id)).result).toMatchObject({ current: actor.sessionId });
    // A body cannot become another method than the one in the URL.
    const answer = await place.server.http('POST', '/api/session.list', {
      headers: { 'content-type': 'application/json', authorization: `Bearer ${actor.token}` },
      body: '{},"method":"auth.logout"',
    });
    expect(answer.text).not.toBe('{}');
    await actor.settle();
  });

  const controls = ['\u0000', '\u0007', '\u0008', '\u000b', '\u000d', '\u001b', '\u007f', '\u0080', '\u0085', '\u009f'];
  const invisible = ['\u061c', '\u200b', '\u200e', '\u200f', '\u202a', '\u202e', '\u2028', '\u2060', '\u2066', '\u2069', '\ufeff', '\u{e0041}'];
  const pile = 'e' + '\u0301'.repeat(limits.combiningMarks);

  test('[FR5] control characters and piles of marks are refused wherever people write', async () => {
    const anna = await place.person();
    const { conversation } = await anna.call('conversation.direct', { userId: anna.id });
    const { id: messageId } = await anna.say(conversation.id, 'mine');
    const friend = await place.person('bert');
    const places: [method: MethodName, field: string, params: object][] = [
      ['message.send', 'text', { conversationId: conversation.id, clientId: clientId(), type: 'text' }],
      ['message.edit', 'text', { messageId }],
      ['user.update', 'name', {}],
      ['user.update', 'bio', {}],
      ['friend.request', 'note', { userId: friend.id }],
      ['friend.remark', 'remark', { userId: friend.id }],
      ['conversation.create', 'title', { memberIds: [] }],
      ['auth.guest', 'name', {}],
      ['auth.guest', 'device', { name: 'Gast' }],
    ];
    const asked = places.flatMap(([method, field, params]) =>
      [...controls, `${pile}\u0301`].map(async (text) => ({ field, ...(await anna.client.request(method, { ...params, [field]: `before ${text} after` })) })),
    );
    const errors = await Promise.all(asked);
    for (const { field, error } of errors) expect(error).toMatchObject({ code: 'bad_request', path: `params.${field}` });
    expect(errors.filter(({ error }) => error!.message.endsWith(`has more than ${limits.combiningMarks} marks on one character`))).toHaveLength(places.length);
  });

  test('[FR5] names also refuse what is invisible or changes the direction of writing, and lines', async () => {
    const anna = await place.person();
    const friend = await place.person('bert');
    const names: [method: MethodName, field: string, params: object][] = [
      ['user.update', 'name', {}],
      ['friend.remark', 'remark', { userId: friend.id }],
      ['conversation.create', 'title', { memberIds: [] }],
      ['auth.guest', 'name', {}],
    ];
    for (const [method, field, params] of names) {
      const asked = [...invisible.map((text) => `adm${text}in`), ...invisible, 'two\nlines', 'a\ttab', ' ', '\u00a0'].map((text) =>
        anna.client.request(method, { ...params, [field]: text }),
      );
      for (const { error } of await Promise.all(asked)) expect(error).toMatchObject({ code: 'bad_request', path: `params.${field}` });
    }
  });

  test('[FR5] people of all scripts write as they do: joined emoji, right-to-left, marks, tabs and lines', async () => {
    const anna = await place.person();
    const { conversation } = await anna.call('conversation.direct', { userId: anna.id });
    for (const text of ['tab\tand\nline', pile, 'עברית ו-English', 'العربية \u200fمع', 'ไม่เป็นไร', 'नमस्ते', '👩‍👩‍👧‍👦 🏳️‍🌈', 'Z̃̀ỹ', '\u202eonly in texts\u202c']) {
      expect((await anna.say(conversation.id, text)).text).toBe(text);
    }
    for (const name of ['Zoë', '李雷', 'שרה', 'محمد', 'Family 👩‍👩‍👧‍👦', 'Ana 🏳️‍🌈', "O'Neill"]) expect((await anna.call('user.update', { name })).user.name).toBe(name);
  });

  test('[FR5] names are kept as NFC, without space at the ends and with single spaces inside', async () => {
    const anna = await place.person();
    expect((await anna.call('user.update', { name: '  Zoe\u0308   van  Dam ' })).user.name).toBe('Zoë van Dam');
  });

  test('[FR5] text that means something to a database, a template or a browser is kept as it is', async () => {
    const anna = await place.person();
    const { conversation } = await anna.call('conversation.direct', { userId: anna.id });
    for (const text of [
      "'; drop table messages; --",
      '{{7*7}} ${7*7}',
      '<script>alert(1)</script>',
      '=1+1',
      'javascript:alert(1)',
      '[x](data:text/html,x)',
      '\\u0000',
      '`'.repeat(1_000),
    ]) {
      const { id } = await anna.say(conversation.id, text);
      expect(await place.rows.run('select text from messages where id = ?', id)).toEqual([{ text }]);
      expect((await anna.call('message.history', { conversationId: conversation.id, limit: 1 })).messages[0]!.text).toBe(text);
    }
  });

  test('[FR6] a method that does not exist is unknown_method', async () => {
    for (const method of ['x', 'message', 'message.sent', 'Message.Send', 'message.send ', 'session.list\n', '__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const { error } = await ask(method, '{}');
      expectError(error);
      expect(error!.code).toBe('unknown_method');
      const answer = await place.server.post(encodeURIComponent(method), {});
      expect([answer.status, answer.error]).toEqual([404, 'unknown_method']);
    }
    expect((await ask('', '{}')).error!.code).toBe('unknown_method');
  });
});

describe.each(engines)('requests on %s, with limits on', (engine) => {
  const place = usePlace({ engine, config: { rateLimits: true } });

  test('[FR4] the sixth frame within a minute that is no JSON closes the connection with 1008', async () => {
    const anna = await place.person();
    for (let turn = 1; turn <= 5; turn += 1) {
      anna.client.send('no JSON');
      expect((await anna.client.next((frame): frame is Reply => 'error' in frame)).error!.code).toBe('bad_json');
    }
    // Still there, and what it says in between counts for nothing.
    await anna.settle();
    anna.client.send('no JSON');
    expect((await anna.client.closed).code).toBe(1008);
  });
});
