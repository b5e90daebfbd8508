import { closeCodes, limits } from '@kith/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestClient, type TestServer, startTestServer } from '../../test/harness.ts';
import { RawSocket, handMade } from '../../test/raw-socket.ts';

// What a peer can do with frames alone. The server answers with the right close code, and nobody else notices.

let server: TestServer;
let bystander: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  bystander = await server.connect(await server.guest());
});
afterAll(() => server.close());

const afterHandshake = async (...frames: Buffer[]): Promise<number | undefined> => {
  const raw = await RawSocket.upgraded(server.port);
  for (const frame of frames) raw.write(frame);
  const code = await raw.closeCode();
  raw.close();
  return code;
};

const closePayload = (code: number, reason: Buffer | string = ''): Buffer => {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason)]);
};

const empty = (count: number): Buffer[] => [handMade({ fin: false }), ...Array.from({ length: count - 1 }, () => handMade({ fin: false, opcode: 0 }))];

describe('frames that break RFC 6455 end the connection with its code', () => {
  test.each<[what: string, code: number, frames: Buffer[]]>([
    ...[3, 4, 5, 6, 7].map((opcode): [string, number, Buffer[]] => [`a reserved data opcode ${opcode}`, 1002, [handMade({ opcode })]]),
    ...[0xb, 0xc, 0xd, 0xe, 0xf].map((opcode): [string, number, Buffer[]] => [`a reserved control opcode 0x${opcode.toString(16)}`, 1002, [handMade({ opcode })]]),
    ['RSV1 without an extension', 1002, [handMade({ rsv: 4, payload: '{}' })]],
    ['RSV2', 1002, [handMade({ rsv: 2 })]],
    ['RSV3', 1002, [handMade({ rsv: 1 })]],
    ['an unmasked client frame', 1002, [handMade({ masked: false, payload: '{}' })]],
    ['a fragmented ping', 1002, [handMade({ opcode: 9, fin: false })]],
    ['a ping of 126 bytes', 1002, [handMade({ opcode: 9, payload: Buffer.alloc(126) })]],
    ['a continuation without a start', 1002, [handMade({ opcode: 0, payload: '{}' })]],
    ['a new message inside a fragmented one', 1002, [handMade({ fin: false, payload: '{' }), handMade({ payload: '{}' })]],
    ['a close payload of one byte', 1002, [handMade({ opcode: 8, payload: Buffer.from([3]) })]],
    ['close code 1005', 1002, [handMade({ opcode: 8, payload: closePayload(1005) })]],
    ['close code 999', 1002, [handMade({ opcode: 8, payload: closePayload(999) })]],
    ['text with a bad second byte (C3 28)', 1007, [handMade({ payload: Buffer.from([0xc3, 0x28]) })]],
    ['text with a surrogate (ED A0 80)', 1007, [handMade({ payload: Buffer.from([0xed, 0xa0, 0x80]) })]],
    ['text in an overlong form (C0 AF)', 1007, [handMade({ payload: Buffer.from([0xc0, 0xaf]) })]],
    ['a close reason that is not UTF-8', 1007, [handMade({ opcode: 8, payload: closePayload(1000, Buffer.from([0xc3, 0x28])) })]],
    ['a declared length of 2^63', 1009, [handMade({ declared: 2n ** 63n })]],
    ['a declared length of 2^53', 1009, [handMade({ declared: 2n ** 53n })]],
    ['a declared length of 65,537', 1009, [handMade({ declared: 65_537n })]],
    [
      'fragments that add up to more than 64 KiB',
      1009,
      [handMade({ fin: false, payload: Buffer.alloc(40_000, 0x20) }), handMade({ opcode: 0, payload: Buffer.alloc(30_000, 0x20) })],
    ],
    ['70 empty fragments', 1008, empty(70)],
    ['HTTP bytes after the upgrade', 1002, [Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')]],
  ])('[WS3.1] %s is closed %i', async (_, code, frames) => {
    // Said hello first, so that the bound on strangers' bytes is not what answers.
    const raw = await RawSocket.upgraded(server.port);
    const { token } = await server.guest();
    raw.write(handMade({ payload: JSON.stringify({ id: '1', method: 'hello', params: { token } }) }));
    await raw.until((bytes) => bytes.includes('"heartbeatMs"'));
    raw.write(Buffer.concat(frames));
    expect(await raw.closeCode()).toBe(code);
    raw.close();
  });

  test('[WS3.1] a declared length of gigabytes takes no memory', async () => {
    const before = process.memoryUsage().rss;
    const codes = await Promise.all(Array.from({ length: 50 }, () => afterHandshake(handMade({ declared: 2n ** 40n }))));
    expect(new Set(codes)).toEqual(new Set([1009]));
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1_048_576);
  });
});

describe('frames that are odd, and allowed', () => {
  const ready = async (): Promise<RawSocket> => {
    const raw = await RawSocket.upgraded(server.port);
    const { token } = await server.guest();
    raw.write(handMade({ payload: JSON.stringify({ id: '1', method: 'hello', params: { token } }) }));
    await raw.until((bytes) => bytes.includes('"heartbeatMs"'));
    return raw;
  };

  test('[WS3.1] exactly 65,536 bytes reach the JSON layer, which answers', async () => {
    const raw = await ready();
    const frame = JSON.stringify({ id: '2', method: 'stream.heads', params: { streams: [] } });
    raw.write(handMade({ payload: frame.padEnd(limits.frameBytes, ' ') }));
    expect(await raw.until((bytes) => bytes.includes('"id":"2"'))).toSatisfy((bytes: Buffer) => bytes.includes('"heads":{}}}'));
    raw.close();
  });

  test('[WS3.1] a length in a longer form than needed is accepted', async () => {
    const raw = await ready();
    raw.write(handMade({ lengthBytes: 8, payload: JSON.stringify({ id: '2', method: 'stream.heads', params: { streams: [] } }) }));
    expect(await raw.until((bytes) => bytes.includes('"id":"2"'))).toSatisfy((bytes: Buffer) => bytes.includes('"heads":{}}}'));
    raw.close();
  });

  test('[WS3.1] deflate is not taken up when it is offered', async () => {
    const raw = await RawSocket.upgraded(server.port, ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits']);
    expect(raw.received.toString('latin1').toLowerCase()).not.toContain('sec-websocket-extensions');
    raw.close();
  });

  test('a message in fragments, with a ping between them, is one message', async () => {
    const raw = await ready();
    const frame = JSON.stringify({ id: '2', method: 'stream.heads', params: { streams: [] } });
    raw.write(handMade({ fin: false, payload: frame.slice(0, 10) }));
    raw.write(handMade({ opcode: 9, payload: 'are you there' }));
    raw.write(handMade({ opcode: 0, payload: frame.slice(10) }));
    const received = await raw.until((bytes) => bytes.includes('"heads":{}}}'));
    expect(received.includes('are you there')).toBe(true);
    raw.close();
  });
});

describe('frames that are RFC 6455 and not this protocol', () => {
  test.each([
    ['a binary frame', Buffer.from('{"id":"1","method":"hello","params":{}}')],
    ['an empty text frame', ''],
  ])('[CO10] [WS3.1] %s gets an error with an empty id, and 1003', async (_, frame) => {
    const client = await server.socket();
    client.send(frame);
    expect((await client.reply('')).error).toMatchObject({ code: 'unsupported' });
    expect(await client.closed).toMatchObject({ code: closeCodes.unsupported.code });
  });

  test('[CO10] [WS3.1] what is read after the end is ignored', async () => {
    const person = await server.guest();
    const raw = await RawSocket.upgraded(server.port);
    // One write: ws has them all in hand when the first ends the connection.
    const request = (id: string): Buffer => handMade({ payload: JSON.stringify({ id, method: 'session.list', params: {} }) });
    raw.write(
      Buffer.concat([
        handMade({ payload: JSON.stringify({ id: 'first', method: 'session.list', params: {} }) }),
        handMade({ payload: JSON.stringify({ id: 'hello', method: 'hello', params: { token: person.token } }) }),
        ...Array.from({ length: 20 }, (_, index) => request(`late${index}`)),
      ]),
    );
    const frames = await raw.framesToTheEnd();
    expect(frames.filter((frame) => frame.opcode === 1).map((frame) => (JSON.parse(frame.payload.toString()) as { id: string }).id)).toEqual(['first']);
    raw.close();
  });
});

test('through all of this, nobody else has noticed anything', async () => {
  await bystander.settle();
  expect(bystander.frames.filter((frame) => !('id' in frame))).toEqual([]);
});
