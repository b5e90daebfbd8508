import { type Pending, type TimelineItem as Item, isPending, itemKey } from '@kith/client';
import type { Member, Message } from '@kith/protocol';

export { isPending };

export type Entry = { key: string; own: boolean; message: Message; pending?: undefined } | { key: string; own: true; pending: Pending; message?: undefined };

export type TimelineItem =
  | { is: 'date'; key: string; at: number }
  | { is: 'unread'; key: string; count: number }
  | { is: 'system'; key: string; messages: Message[] }
  | { is: 'recalled'; key: string; message: Message; own: boolean }
  | { is: 'group'; key: string; own: boolean; senderId: string; entries: Entry[] };

/** Messages of one sender within this many milliseconds stand together. */
export const groupMs = 5 * 60_000;

/** When it was written: by the server's clock once stored, by this device's until then. */
export const timeOf = (item: Item): number => (isPending(item) ? item.addedAt : item.at);

/**
 * Messages in order → what the eye sees: date lines, the unread line, lines of the system, groups of one sender.
 * Keys survive a pending message becoming a stored one, and pages being added at either end.
 *
 * @param unread  The line goes above the first message of somebody else with a `seq` above `after`; nowhere, if the place
 * is before the first of these messages.
 */
export function timelineItems(messages: readonly Item[], me: string, unread?: { after: number; count: number }): TimelineItem[] {
  const items: TimelineItem[] = [];
  let day = '';
  const first = messages.find((item): item is Message => !isPending(item));
  let lineDrawn = !unread || !first || first.seq > unread.after + 1;
  let group: Extract<TimelineItem, { is: 'group' }> | undefined;
  let moves: Message[] | undefined;
  let last = 0;

  for (const item of messages) {
    const pending = isPending(item);
    // What waits was written last, whatever this device's clock says.
    const at = pending ? Math.max(item.addedAt, last) : item.at;
    const today = new Date(at).toDateString();
    if (today !== day) {
      day = today;
      group = moves = undefined;
      items.push({ is: 'date', key: `date/${today}`, at });
    }
    const own = pending || item.senderId === me;
    if (!pending && !lineDrawn && item.seq > unread!.after && !own) {
      lineDrawn = true;
      group = moves = undefined;
      items.push({ is: 'unread', key: 'unread', count: unread!.count });
    }
    const key = itemKey(item, me);
    if (!pending && item.type === 'system') {
      group = undefined;
      if (moves && isMove(item)) moves.push(item);
      else {
        const line = { is: 'system' as const, key, messages: [item] };
        items.push(line);
        moves = isMove(item) ? line.messages : undefined;
      }
    } else if (!pending && item.deletedAt) {
      group = moves = undefined;
      items.push({ is: 'recalled', key, message: item, own });
    } else {
      const entry: Entry = pending ? { key, own: true, pending: item } : { key, own, message: item };
      const senderId = pending ? me : item.senderId;
      moves = undefined;
      if (group && group.senderId === senderId && at - last < groupMs) group.entries.push(entry);
      else items.push((group = { is: 'group', key: `group/${key}`, own, senderId, entries: [entry] }));
    }
    last = at;
  }
  return items;
}

/** People come and go; several in a row are one line. */
const isMove = ({ event }: Message): boolean => event?.type === 'added' || event?.type === 'left';

/** How far a message of one's own has come. */
export type Tick = 'stored' | 'delivered' | 'read';

/**
 * Delivered or read counts when it is true of everybody else who is in the conversation.
 *
 * @param marks  Of the others: how far each has received and read.
 */
export function tickOf(seq: number, others: readonly Pick<Member, 'userId'>[], marks: ReadonlyMap<string, { deliveredSeq: number; readSeq: number }>): Tick {
  if (others.length === 0) return 'stored';
  let read = true;
  for (const { userId } of others) {
    const mark = marks.get(userId);
    if (!mark || mark.deliveredSeq < seq) return 'stored';
    if (mark.readSeq < seq) read = false;
  }
  return read ? 'read' : 'delivered';
}
