import { computed } from 'vue';
import { useRouter } from 'vue-router';
import type { IconName } from '../components/ui/icons.ts';
import { hasText, t } from '../i18n.ts';
import { useContacts } from './useContacts.ts';
import { useConversations } from './useConversations.ts';
import { usePeople } from './usePeople.ts';
import { useRooms } from './useRooms.ts';
import { peerOf, useTitle } from './useTitle.ts';

/** Somewhere to go. */
export interface Place {
  key: string;
  title: string;
  /** What it is, or by which other name somebody is known. */
  second: string;
  /** What else it is found by: names, a handle. */
  also: string[];
  picture: { seed: string; group: boolean } | { icon: IconName };
  unread: number;
  open: () => unknown;
}

/** Every place there is: conversations, the most recent first, then friends without one, rooms to enter, settings. */
export function useSwitcher() {
  const router = useRouter();
  const { conversations } = useConversations();
  const { title, seed, isNotes } = useTitle();
  const { friends, person } = usePeople();
  const { message } = useContacts();
  const { rooms, join } = useRooms();

  const chats = computed(() =>
    conversations.value
      .toSorted((a, b) => (b.lastMessage?.at ?? 0) - (a.lastMessage?.at ?? 0))
      .map((view): Place => {
        const { type } = view.conversation;
        const peer = peerOf(view);
        const who = peer && !isNotes(view) ? person(peer, view.id) : undefined;
        return {
          key: view.id,
          title: title(view),
          second: who ? otherNames(who.name, who.ownName, who.handle) : isNotes(view) || type === 'announcements' ? '' : t(`switcher.${type}`),
          also: who ? [who.ownName, who.handle ?? ''] : [],
          picture: { seed: seed(view), group: type !== 'direct' },
          unread: view.unread,
          open: () => router.push(`/c/${view.id}`),
        };
      }),
  );

  const people = computed(() => {
    const known = new Set(conversations.value.map(peerOf));
    return friends.value
      .filter(({ userId }) => !known.has(userId))
      .map(({ userId }): Place => {
        const who = person(userId);
        return {
          key: userId,
          title: who.name,
          second: otherNames(who.name, who.ownName, who.handle),
          also: [who.ownName, who.handle ?? ''],
          picture: { seed: who.seed, group: false },
          unread: 0,
          open: () => message(userId),
        };
      });
  });

  const others = computed(() =>
    (rooms.value ?? [])
      .filter(({ joined }) => !joined)
      .map(({ conversation }): Place => ({
        key: conversation.id,
        title: conversation.title ?? '',
        second: t('switcher.room'),
        also: [],
        picture: { seed: conversation.avatar || conversation.id, group: true },
        unread: 0,
        open: () => join(conversation.id),
      })),
  );

  const pages = computed(() =>
    router
      .getRoutes()
      .filter(({ path }) => path.startsWith('/settings/'))
      .map(({ path }) => ({ path, text: `settings.${path.slice('/settings/'.length)}` }))
      .filter(({ text }) => hasText(text))
      .map(({ path, text }): Place => ({
        key: path,
        title: t(text),
        second: t('nav.settings'),
        also: [],
        picture: { icon: 'settings' },
        unread: 0,
        open: () => router.push(path),
      })),
  );

  return { places: computed(() => [...chats.value, ...people.value, ...others.value, ...pages.value]) };
}

const otherNames = (name: string, ownName: string, handle: string | null): string => [name === ownName ? '' : ownName, handle ? `@${handle}` : ''].filter(Boolean).join(' · ');
