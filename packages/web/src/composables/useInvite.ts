import { ref } from 'vue';
import { attempt } from './useClient.ts';

const link = ref('');
const expiresAt = ref(0);

/** Links with which people join; operators make them. */
export function useInvite() {
  const busy = ref(false);
  const copied = ref(false);

  async function copy() {
    await navigator.clipboard.writeText(link.value);
    copied.value = true;
    setTimeout(() => (copied.value = false), 2_000);
  }
  return {
    link,
    expiresAt,
    busy,
    copied,
    copy,
    async make(options: { uses?: number; hours?: number } = {}) {
      busy.value = true;
      const made = await attempt('admin.invite', { uses: options.uses ?? 20, hours: options.hours ?? 7 * 24 });
      busy.value = false;
      if (!made) return;
      link.value = `${location.origin}/join#${made.code}`;
      expiresAt.value = made.expiresAt;
    },
  };
}
