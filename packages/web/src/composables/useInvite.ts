import { computed, ref } from 'vue';
import { attempt } from './useClient.ts';
import { useServer } from './useServer.ts';
import { copyText } from './copy-text.ts';

const made = ref('');
const expiresAt = ref(0);

/** Links with which people join: operators make them, and where everybody may register there is one for all. */
export function useInvite() {
  const { server } = useServer();
  const busy = ref(false);
  const copied = ref(false);
  const open = computed(() => server.value?.registration === 'open');
  const link = computed(() => made.value || (open.value ? `${location.origin}/join` : ''));

  async function copy() {
    await copyText(link.value);
    copied.value = true;
    setTimeout(() => (copied.value = false), 2_000);
  }
  return {
    /** Empty: none was made yet. */
    link,
    /** Does the link work for anybody at any time? */
    open,
    expiresAt,
    busy,
    copied,
    copy,
    async make(options: { uses?: number; hours?: number } = {}) {
      busy.value = true;
      const answer = await attempt('admin.invite', { uses: options.uses ?? 20, hours: options.hours ?? 7 * 24 });
      busy.value = false;
      if (!answer) return;
      made.value = `${location.origin}/join#${answer.code}`;
      expiresAt.value = answer.expiresAt;
    },
  };
}
