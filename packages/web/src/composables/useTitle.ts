import type { ConversationView } from '@kith/client';
import { t } from '../i18n.ts';
import { useMe } from './useMe.ts';
import { usePeople } from './usePeople.ts';

/** Whom the direct conversation is with; one's own id for one's notes; undefined for all others. */
export function peerOf(view: ConversationView): string | undefined {
  return view.conversation.type === 'direct' ? (view.peer?.userId ?? useMe().value?.id) : undefined;
}

/** The name and the picture a conversation goes by. */
export function useTitle() {
  const me = useMe();
  const { person } = usePeople();
  const isNotes = (view: ConversationView) => peerOf(view) === me.value?.id;
  return {
    isNotes,
    title(view: ConversationView): string {
      const peer = peerOf(view);
      if (peer) return isNotes(view) ? t('list.notes') : person(peer, view.id).name;
      if (view.conversation.type === 'announcements') return t('list.announcements');
      return view.conversation.title || view.title;
    },
    seed(view: ConversationView): string {
      const peer = peerOf(view);
      return peer ? person(peer, view.id).seed : view.conversation.avatar || view.id;
    },
  };
}
