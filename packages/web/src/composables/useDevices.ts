import type { Session } from '@kith/protocol';
import { computed, ref, shallowRef } from 'vue';
import { attempt } from './useClient.ts';

/** Where one is signed in. */
export function useDevices() {
  const sessions = shallowRef<Session[]>([]);
  const current = ref('');

  async function load() {
    const found = await attempt('session.list', {});
    if (!found) return;
    current.value = found.current;
    sessions.value = found.sessions.filter((session) => session.endedAt === null);
  }
  void load();

  async function end(sessionIds: string[]) {
    for (const sessionId of sessionIds) await attempt('session.revoke', { sessionId });
    await load();
  }
  return {
    current,
    /** This device first. */
    sessions: computed(() => sessions.value.toSorted((a, b) => Number(b.id === current.value) - Number(a.id === current.value) || b.usedAt - a.usedAt)),
    others: computed(() => sessions.value.filter((session) => session.id !== current.value).map((session) => session.id)),
    end,
  };
}
