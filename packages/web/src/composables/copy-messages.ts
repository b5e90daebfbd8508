import type { TimelineItem } from '@kith/client';
import type { Message } from '@kith/protocol';
import { isPending } from './timeline-items.ts';

/** What of one message is selected: all of it, or these words. */
interface Part {
  message: Message;
  words: string;
}

/**
 * The text for a selection over several messages: who wrote, when, and then what, message by message, for each run of
 * one sender. `undefined` where the selection is within one message, and the browser knows best.
 *
 * @param within  The element that holds the rows, which carry `data-seq`.
 * @param head    The line above what one person wrote.
 */
export function copiedText(selection: Selection, within: Element, messages: readonly TimelineItem[], head: (first: Message) => string): string | undefined {
  if (selection.rangeCount === 0 || selection.isCollapsed) return undefined;
  const range = selection.getRangeAt(0);
  const bySeq = new Map(messages.flatMap((item) => (isPending(item) ? [] : [[item.seq, item] as const])));
  const parts: Part[] = [];
  for (const row of within.querySelectorAll<HTMLElement>('.msg[data-seq]')) {
    const text = row.querySelector('.text');
    const message = bySeq.get(Number(row.dataset['seq']));
    if (!text || !message || !range.intersectsNode(text)) continue;
    const words = selectedOf(text, range, message.text);
    if (words !== '') parts.push({ message, words });
  }
  if (parts.length < 2) return undefined;
  const many = new Set(parts.map(({ message }) => message.senderId)).size > 1;
  return parts
    .map(({ message, words }, at) => {
      const goesOn = parts[at - 1]?.message.senderId === message.senderId;
      if (!many || goesOn) return `${at === 0 ? '' : '\n'}${words}`;
      return `${at === 0 ? '' : '\n\n'}${head(message)}\n${words}`;
    })
    .join('');
}

/** A message that is selected to both ends is copied as it was typed, with its marks. */
function selectedOf(text: Element, range: Range, typed: string): string {
  const all = document.createRange();
  all.selectNodeContents(text);
  const part = all.cloneRange();
  if (range.compareBoundaryPoints(Range.START_TO_START, all) > 0) part.setStart(range.startContainer, range.startOffset);
  if (range.compareBoundaryPoints(Range.END_TO_END, all) < 0) part.setEnd(range.endContainer, range.endOffset);
  const words = part.toString();
  return words === all.toString() ? typed : words.trim();
}
