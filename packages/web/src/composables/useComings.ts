import { computed, onScopeDispose, ref, watch } from 'vue';
import { t } from '../i18n.ts';
import { useClient } from './useClient.ts';
import { useMe } from './useMe.ts';
import { usePeople } from './usePeople.ts';
import { useToast } from './useToast.ts';

/** After a lost connection everybody else comes back too; who was only away that long is no news. Milliseconds. */
const settleMs = 30_000;

const me = useMe();
const moved = ref(0);
const place = (userId: string) => `kith.comings.${userId}`;

const asked = computed<ReadonlySet<string>>(() => {
  void moved.value;
  try {
    return new Set(me.value ? (JSON.parse(localStorage.getItem(place(me.value.id)) ?? '[]') as string[]) : []);
  } catch {
    return new Set();
  }
});

/** Does one want to hear who comes and goes: this friend, or those in this room? Decided on this device, for this device. */
export function useComingWishes() {
  return {
    isAsked: (id: string): boolean => asked.value.has(id),
    ask(id: string, on: boolean) {
      if (!me.value) return;
      const ids = [...asked.value].filter((one) => one !== id);
      localStorage.setItem(place(me.value.id), JSON.stringify(on ? [...ids, id] : ids));
      moved.value++;
    },
  };
}

/** Tells, for as long as the component lives, when a friend comes online or goes of whom one wants to hear. */
export function useComings(): void {
  const client = useClient();
  const { friends, person } = usePeople();
  const { showToast } = useToast();
  const ids = computed(() => friends.value.map((friend) => friend.userId).filter((id) => asked.value.has(id)));
  const before = new Map<string, boolean>();
  let unwatch: (() => void) | undefined;
  let wasReady = false;
  let settledAt = 0;

  watch(
    () => ids.value.join(' '),
    () => {
      const last = unwatch;
      unwatch = ids.value.length > 0 ? client.presence.watch(ids.value) : undefined;
      last?.();
      for (const id of before.keys()) if (!ids.value.includes(id)) before.delete(id);
      look(ids.value);
    },
    { immediate: true },
  );

  /** What is known of somebody for the first time is no change. */
  function look(userIds: string[]) {
    for (const id of userIds) {
      const online = client.presence.get(id)?.online;
      if (online === undefined || !asked.value.has(id)) continue;
      const was = before.get(id);
      before.set(id, online);
      if (was !== undefined && was !== online && Date.now() >= settledAt) showToast(t(online ? 'presence.came' : 'presence.went', { name: person(id).name }));
    }
  }

  onScopeDispose(client.presence.onChange(look));
  onScopeDispose(
    client.onConnection(({ at }) => {
      if (at !== 'ready') return;
      if (wasReady) settledAt = Date.now() + settleMs;
      wasReady = true;
    }),
  );
  onScopeDispose(() => unwatch?.());
}
