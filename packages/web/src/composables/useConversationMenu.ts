import type { ConversationView } from '@kith/client';
import { t } from '../i18n.ts';
import { attempt, findClient } from './useClient.ts';
import { isMuted } from './useConversations.ts';
import { type MenuItem, useMenu } from './useMenu.ts';

const hourMs = 3_600_000;

/** What can be done with a conversation from the list, on right click, long press or the menu key. */
export function useConversationMenu() {
  const { openAt } = useMenu();
  return (event: MouseEvent, { id: conversationId, inbox, unread, lastMessage, ...view }: ConversationView, title: string) => {
    const mute = (until: number) => void attempt('conversation.mute', { conversationId, until });
    const items: MenuItem[] = [];
    if (unread > 0 && lastMessage) items.push({ label: t('list.markRead'), icon: 'ticks', run: () => findClient()?.markRead(conversationId, lastMessage.seq) });
    // What waits to be accepted is nobody's to arrange yet.
    if (!inbox.request) {
      const pinned = inbox.pinnedAt > 0;
      items.push({ label: t(pinned ? 'list.unpin' : 'group.pin'), icon: 'pin', run: () => void attempt('conversation.pin', { conversationId, on: !pinned }) });
      if (isMuted({ id: conversationId, inbox, unread, lastMessage, ...view })) items.push({ label: t('mute.end'), icon: 'bell', run: () => mute(0) });
      else
        items.push(
          { label: t('mute.hour'), icon: 'mute', run: () => mute(Date.now() + hourMs) },
          { label: t('mute.hours'), icon: 'mute', run: () => mute(Date.now() + 8 * hourMs) },
          { label: t('mute.ever'), icon: 'mute', run: () => mute(Number.MAX_SAFE_INTEGER) },
        );
    }
    if (items.length > 0) openAt(event, { label: t('list.actions', { title }), items });
  };
}
