import { onScopeDispose, ref } from 'vue';
import { useRoute, useRouter } from 'vue-router';
import { type ShortcutName, everywhere, isLetter, isPressed } from './shortcuts.ts';
import { useComposition } from './useComposition.ts';
import { isMuted, useConversations } from './useConversations.ts';
import { useReadMarks } from './useReadMarks.ts';
import { focusRegion } from './useRegions.ts';

type Layer = 'switcher' | 'sheet';

const isField = (target: EventTarget | null): boolean => target instanceof HTMLElement && target.matches('input, textarea, select, [contenteditable]');
/** What lies over the page has its keys to itself. */
const isCovered = (): boolean => document.querySelector('dialog:modal, [role=menu]') !== null;

/** Listens for the shortcuts that work everywhere. @returns what of them lies over the page now */
export function useShortcuts() {
  const route = useRoute();
  const router = useRouter();
  const { conversations, find } = useConversations();
  const { setRead, readAll } = useReadMarks();
  const { onCompositionend, isImeKey } = useComposition();
  const layer = ref<Layer>();

  /** To the next conversation in the list that is wanted; from no conversation, to the first or last one. */
  function go(step: 1 | -1, wanted: (view: (typeof conversations.value)[number]) => boolean) {
    const all = conversations.value;
    const here = all.findIndex((view) => view.id === route.params['id']);
    const ahead = step > 0 ? all.slice(here + 1) : all.slice(0, here < 0 ? all.length : here).reverse();
    const next = ahead.find(wanted);
    if (next) void router.push(`/c/${next.id}`);
  }
  const isUnread = (view: (typeof conversations.value)[number]) => view.unread > 0 && !isMuted(view);

  /** Of the row that has the focus, else of what is open. */
  function toggleUnread() {
    const row = document.activeElement?.closest<HTMLElement>('[data-conversation]');
    const view = find(row?.dataset['conversation'] ?? String(route.params['id']));
    if (view) setRead(view, view.unread > 0);
  }

  const handlers: Record<ShortcutName, () => void> = {
    switcher: () => (layer.value = 'switcher'),
    sheet: () => (layer.value = 'sheet'),
    previous: () => go(-1, () => true),
    next: () => go(1, () => true),
    previousUnread: () => go(-1, isUnread),
    nextUnread: () => go(1, isUnread),
    unread: toggleUnread,
    readAll,
    region: () => focusRegion(1),
    regionBack: () => focusRegion(-1),
  };

  function onKeydown(event: KeyboardEvent) {
    if (event.defaultPrevented || isImeKey(event)) return;
    const pressed = everywhere.find(({ keys }) => keys.some((one) => isPressed(one, event) && !(isLetter(one) && isField(event.target))));
    if (!pressed || isCovered()) return;
    event.preventDefault();
    handlers[pressed.name]();
  }

  addEventListener('keydown', onKeydown);
  addEventListener('compositionend', onCompositionend);
  onScopeDispose(() => {
    removeEventListener('keydown', onKeydown);
    removeEventListener('compositionend', onCompositionend);
  });
  return { layer };
}
