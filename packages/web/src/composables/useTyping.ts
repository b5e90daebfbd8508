import { type Ref, computed, onScopeDispose, ref } from 'vue';
import { t } from '../i18n.ts';
import { useClient } from './useClient.ts';
import { useMe } from './useMe.ts';
import { usePeople } from './usePeople.ts';

/** Who types in which conversation. */
export function useTyping() {
  const client = useClient();
  const moved = ref(0);
  onScopeDispose(client.onTyping(() => moved.value++));
  const me = useMe();
  const { person } = usePeople();

  const typists = (conversationId: string): string[] => {
    void moved.value;
    return client.typing(conversationId).filter((id) => id !== me.value?.id);
  };
  return {
    typists,
    /** "A, B and 2 others are typing…"; empty when nobody does. */
    phrase(conversationId: string, direct: boolean): string {
      const ids = typists(conversationId);
      if (ids.length === 0) return '';
      if (direct) return t('typing.direct');
      const names = ids.map((id) => person(id, conversationId).name);
      if (names.length === 1) return t('typing.one', { a: names[0] });
      if (names.length === 2) return t('typing.two', { a: names[0], b: names[1] });
      return t('typing.many', { a: names[0], b: names[1], n: names.length - 2 }, names.length - 2);
    },
  };
}

export const useTypingIn = (conversationId: Ref<string>) => {
  const { typists } = useTyping();
  return computed(() => typists(conversationId.value));
};
