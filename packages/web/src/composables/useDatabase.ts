import type { Result } from '@kith/protocol';
import { computed, ref, watch } from 'vue';
import { attempt } from './useClient.ts';
import { useMe } from './useMe.ts';

/** What operators are to know of the database: whether what is confirmed would survive its loss, and what did not. */
export function useDatabase() {
  const me = useMe();
  const found = ref<Result<'site.database'>>({});
  watch(
    () => me.value?.operator,
    async (operator) => {
      if (operator) found.value = (await attempt('site.database', {})) ?? {};
    },
    { immediate: true },
  );
  return {
    standing: computed(() => found.value.standing),
    lost: computed(() => found.value.lost),
    /** Is there something to be done? */
    warning: computed(() => found.value.standing === 'asynchronous' || found.value.standing === 'missing'),
  };
}
