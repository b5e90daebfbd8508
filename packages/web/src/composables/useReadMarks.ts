import type { ConversationView } from '@kith/client';
import { useRoute, useRouter } from 'vue-router';
import { t } from '../i18n.ts';
import { findClient } from './useClient.ts';
import { useConversations } from './useConversations.ts';
import { useToast } from './useToast.ts';

/** What one decides about what is read and what is not, from the list or by keys. */
export function useReadMarks() {
  const router = useRouter();
  const route = useRoute();
  const { conversations } = useConversations();
  const { offer, showToast } = useToast();

  /** Read up to its end, or to be read again. */
  function setRead({ id, lastSeq }: Pick<ConversationView, 'id' | 'lastSeq'>, read: boolean): void {
    const client = findClient();
    client?.markUnread(id, !read);
    if (read) client?.markRead(id, lastSeq);
    // What one looks at is read: who puts it aside does not want to look at it now.
    else if (route.params['id'] === id) void router.push('/');
  }

  return {
    setRead,
    anyUnread: () => conversations.value.some(({ unread }) => unread > 0),
    readAll(): void {
      const held = findClient()?.markAllRead();
      if (!held) return;
      if (held.count === 0) return showToast(t('list.allRead'));
      // Who closes the page has seen that all is read.
      addEventListener('pagehide', held.keep);
      offer(t('list.readAllDone', { n: held.count }, held.count), { label: t('common.undo'), run: held.undo }, () => {
        held.keep();
        removeEventListener('pagehide', held.keep);
      });
    },
  };
}
