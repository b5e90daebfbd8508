import { type Ref, onScopeDispose, ref, watch } from 'vue';
import { t } from '../i18n.ts';
import { useClient } from './useClient.ts';
import { useFormat } from './useFormat.ts';

/** Who of these is online. Watches them for as long as the component lives. */
export function usePresence(userIds: Ref<string[]>) {
  const { presence } = useClient();
  const moved = ref(0);
  const { ago } = useFormat();
  onScopeDispose(presence.onChange(() => moved.value++));

  let unwatch: (() => void) | undefined;
  watch(
    () => [...new Set(userIds.value)].sort().join(' '),
    (ids) => {
      const before = unwatch;
      unwatch = ids ? presence.watch(ids.split(' ')) : undefined;
      before?.();
    },
    { immediate: true },
  );
  onScopeDispose(() => unwatch?.());

  const get = (userId: string) => {
    void moved.value;
    return presence.get(userId);
  };
  return {
    isOnline: (userId: string): boolean => get(userId)?.online ?? false,
    /** "online", "last seen 10 minutes ago", or nothing where one may not know. */
    phrase(userId: string): string {
      const found = get(userId);
      if (!found) return '';
      if (found.online) return t('presence.online');
      return found.lastSeenAt ? t('presence.seen', { when: ago(found.lastSeenAt) }) : t('presence.offline');
    },
  };
}
