import type { Pending } from '@kith/client';
import type { Message } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { type TimelineItem, groupMs, tickOf, timelineItems } from './timeline-items.ts';

const noon = new Date(2026, 10, 3, 12).getTime();
const message = (seq: number, senderId: string, more: Partial<Message> = {}): Message => ({
  kind: 'message',
  id: `m${seq}`,
  conversationId: 'c',
  seq,
  version: seq,
  senderId,
  clientId: `client-${seq}`,
  type: 'text',
  text: `text ${seq}`,
  at: noon + seq * 1_000,
  ...more,
});
const pending = (clientId: string, more: Partial<Pending> = {}): Pending => ({
  clientId,
  conversationId: 'c',
  type: 'text',
  text: 'unsent',
  addedAt: noon + 60_000,
  state: 'waiting',
  afterSeq: 0,
  order: 1,
  ...more,
});
const shape = (items: TimelineItem[]) => items.map((item) => (item.is === 'group' ? `${item.own ? 'own' : item.senderId}:${item.entries.length}` : item.is));

describe('the timeline', () => {
  test('[WB23] messages of one sender within five minutes stand together', () => {
    const items = timelineItems([message(1, 'a'), message(2, 'a'), message(3, 'b'), message(4, 'b', { at: noon + 3_000 + groupMs })], 'me');
    expect(shape(items)).toEqual(['date', 'a:2', 'b:1', 'b:1']);
  });

  test('[WB24] a new day has a line with its date', () => {
    const items = timelineItems([message(1, 'a'), message(2, 'a', { at: noon + 24 * 3_600_000 })], 'me');
    expect(shape(items)).toEqual(['date', 'a:1', 'date', 'a:1']);
  });

  test('[WB25] the unread line stands above the first new message of somebody else, once', () => {
    const messages = [message(1, 'a'), message(2, 'me'), message(3, 'a'), message(4, 'a')];
    expect(shape(timelineItems(messages, 'me', { after: 1, count: 2 }))).toEqual(['date', 'a:1', 'own:1', 'unread', 'a:2']);
    expect(shape(timelineItems(messages, 'me', { after: 3, count: 1 }))).toEqual(['date', 'a:1', 'own:1', 'a:1', 'unread', 'a:1']);
  });

  test('[WB26] lines of the system and recalled messages part what is around them', () => {
    const items = timelineItems([message(1, 'a'), message(2, 'a', { type: 'system' }), message(3, 'a'), message(4, 'a', { deletedAt: noon, text: '' }), message(5, 'a')], 'me');
    expect(shape(items)).toEqual(['date', 'a:1', 'system', 'a:1', 'recalled', 'a:1']);
  });

  test('[TL30] people who come and go one after the other are one line', () => {
    const move = (seq: number, type: 'added' | 'left' | 'renamed') => message(seq, 'a', { type: 'system', event: { type, userIds: ['b'] } });
    const items = timelineItems([move(1, 'added'), move(2, 'added'), move(3, 'left'), move(4, 'renamed'), move(5, 'left'), message(6, 'a'), move(7, 'left')], 'me');
    expect(items.flatMap((item) => (item.is === 'system' ? [item.messages.map(({ seq }) => seq)] : []))).toEqual([[1, 2, 3], [4], [5], [7]]);
  });

  test('[TL31] the unread line is not drawn where the first new message is not', () => {
    const messages = [message(10, 'a'), message(11, 'a')];
    expect(shape(timelineItems(messages, 'me', { after: 5, count: 9 }))).toEqual(['date', 'a:2']);
    expect(shape(timelineItems(messages, 'me', { after: 9, count: 9 }))).toEqual(['date', 'unread', 'a:2']);
  });

  test('[WB27] a row keeps its key when the message it waits for is stored', () => {
    const keys = (items: TimelineItem[]) => items.flatMap((item) => (item.is === 'group' ? [item.key, ...item.entries.map((entry) => entry.key)] : []));
    const before = keys(timelineItems([pending('client-1')], 'me'));
    const after = keys(timelineItems([message(1, 'me')], 'me'));
    expect(after).toEqual(before);
  });

  test('[WB28] a clock that runs behind does not put what was just written on an earlier day', () => {
    const items = timelineItems([message(1, 'me'), pending('client-2', { addedAt: noon - 48 * 3_600_000 })], 'me');
    expect(shape(items)).toEqual(['date', 'own:2']);
  });
});

test('[WB29] delivered and read are said when they are true of everybody else', () => {
  const others = [{ userId: 'a' }, { userId: 'b' }];
  const marks = (a: [number, number], b?: [number, number]) =>
    new Map(Object.entries({ a, ...(b && { b }) }).map(([id, [deliveredSeq, readSeq]]) => [id, { deliveredSeq, readSeq }]));
  expect(tickOf(5, others, marks([5, 5]))).toBe('stored');
  expect(tickOf(5, others, marks([5, 5], [4, 4]))).toBe('stored');
  expect(tickOf(5, others, marks([5, 5], [6, 4]))).toBe('delivered');
  expect(tickOf(5, others, marks([5, 5], [9, 9]))).toBe('read');
  expect(tickOf(5, [], new Map())).toBe('stored');
});
