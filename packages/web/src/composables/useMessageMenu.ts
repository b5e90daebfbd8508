import { fileUrl } from '@kith/client';
import type { Conversation, FileRef, Member, Message } from '@kith/protocol';
import { t } from '../i18n.ts';
import { useChangeLimit } from './useChangeLimit.ts';
import { removePreview } from './useLinkPreviews.ts';
import { useMe } from './useMe.ts';
import { type MenuItem, useMenu } from './useMenu.ts';
import { isTouch } from './useNarrow.ts';
import { useToast } from './useToast.ts';
import { copyText } from './copy-text.ts';

const minuteMs = 60_000;

export interface MessageActions {
  edit: (message: Message) => void;
  recall: (message: Message) => void;
  hide: (message: Message) => void;
  tell: (message: Message) => void;
  forward: (message: Message) => void;
}
export interface MessagePlace {
  conversation: Conversation;
  role: Member['role'] | undefined;
  mayWrite: boolean;
  readBy: { read: number; of: number };
}

/** What can be done with a message, on right click, long press or the menu key: what the server would refuse is not offered. */
export function useMessageMenu(does: MessageActions) {
  const me = useMe();
  const { openAt } = useMenu();
  const { showToast } = useToast();
  const { changeLeft } = useChangeLimit();

  return (event: MouseEvent, message: Message, where: MessagePlace) => {
    const own = message.senderId === me.value?.id;
    const governs = where.role === 'owner' || where.role === 'admin' || (where.conversation.type === 'room' && me.value?.operator === true);
    const left = changeLeft(message);
    const inTime = left === undefined || left > 0;

    const row = event.currentTarget as HTMLElement | null;
    const words = row?.closest('.msg')?.querySelector<HTMLElement>('.text');
    const selected = words ? selectedIn(words) : '';
    const copy = (text: string) => void copyText(text).then(() => showToast(t('common.copied')));

    const items: MenuItem[] = [];
    if (selected) items.push({ label: t('message.copySelected'), icon: 'copy', run: () => copy(selected) });
    if (message.text) items.push({ label: t('message.copy'), icon: 'copy', run: () => copy(message.text) });
    items.push({ label: t('forward.action'), icon: 'forward', run: () => does.forward(message) });
    if (message.file) items.push({ label: t('file.download'), icon: 'download', run: () => download(message.file!) });
    // A finger that rests opened this menu; here is what it would have done.
    if (words && isTouch()) items.push({ label: t('message.select'), icon: 'text', run: () => getSelection()?.selectAllChildren(words) });
    if (own && inTime && where.mayWrite) items.push({ label: t('message.edit'), icon: 'pencil', hint: timeLeft(left), run: () => does.edit(message) });
    if (own && message.link) items.push({ label: t('links.remove'), icon: 'link', run: () => removePreview(message) });
    items.push({ label: t('message.info'), icon: 'info', run: () => does.tell(message) });
    items.push({ label: t('message.hide'), icon: 'eyeOff', danger: true, run: () => does.hide(message) });
    if (governs || (own && inTime))
      items.push({ label: t('message.recall'), icon: 'undo', danger: true, hint: governs ? undefined : timeLeft(left), run: () => does.recall(message) });
    const { read, of } = where.readBy;
    openAt(event, { label: t('message.actions'), note: own && of > 1 ? t('message.readBy', { n: read, of }) : undefined, items });
  };
}

/** As a click on a link that saves what it leads to. */
function download(file: FileRef): void {
  const link = document.createElement('a');
  Object.assign(link, { href: fileUrl(file), download: file.name });
  link.click();
}

/** The part of these words that is selected; empty where nothing is, or more than them. */
function selectedIn(words: HTMLElement): string {
  const selection = getSelection();
  if (!selection || selection.isCollapsed || !words.contains(selection.anchorNode) || !words.contains(selection.focusNode)) return '';
  return selection.toString();
}

function timeLeft(ms: number | undefined): string | undefined {
  if (ms === undefined) return undefined;
  const minutes = Math.ceil(ms / minuteMs);
  if (minutes < 60) return t('message.minutesLeft', { n: minutes }, minutes);
  const hours = Math.floor(minutes / 60);
  if (hours < 72) return t('message.hoursLeft', { n: hours }, hours);
  return t('message.daysLeft', { n: Math.floor(hours / 24) }, Math.floor(hours / 24));
}
