import type { Profile, Result } from '@kith/protocol';
import { type Ref, onScopeDispose, ref, shallowRef, watch } from 'vue';
import { useRouter } from 'vue-router';
import { attempt, useClient } from './useClient.ts';
import { useComingWishes } from './useComings.ts';

export type Room = Result<'room.list'>['rooms'][number];

/** The open rooms of this server. */
export function useRooms() {
  const router = useRouter();
  const rooms = shallowRef<Room[]>();

  async function load() {
    rooms.value = (await attempt('room.list', {}))?.rooms ?? rooms.value;
  }
  void load();
  const client = useClient();
  onScopeDispose(client.onConnection(() => client.connection.at === 'ready' && void load()));

  return {
    rooms,
    async join(conversationId: string) {
      if (await attempt('room.join', { conversationId })) await router.push(`/c/${conversationId}`);
    },
    async create(title: string): Promise<boolean> {
      const made = await attempt('room.create', { title });
      if (made) await router.push(`/c/${made.conversation.id}`);
      return made !== undefined;
    },
  };
}

/** Who is in a room now: the exact count and up to 200 people. Who comes and goes is told in `notice` for a while, where one asked for it. */
export function useRoomOnline(roomId: Ref<string | undefined>) {
  const client = useClient();
  const { isAsked } = useComingWishes();
  const online = ref<number>();
  const people = shallowRef<Profile[]>([]);
  const notice = shallowRef<{ name: string; came: boolean }>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function load(id: string | undefined) {
    if (!id || client.connection.at !== 'ready') return;
    try {
      const found = await client.call('room.online', { conversationId: id });
      if (roomId.value !== id) return;
      online.value = found.count;
      people.value = found.users;
    } catch {
      // Without an answer there is no count to show.
    }
  }

  function tell(name: string | undefined, came: boolean) {
    if (!name || !isAsked(roomId.value ?? '')) return;
    notice.value = { name, came };
    clearTimeout(timer);
    timer = setTimeout(() => (notice.value = undefined), 4_000);
  }

  watch(
    roomId,
    (id) => {
      online.value = undefined;
      people.value = [];
      notice.value = undefined;
      void load(id);
    },
    { immediate: true },
  );
  // The list is followed until the connection ends, so each new connection asks again.
  onScopeDispose(client.onConnection(() => client.connection.at === 'ready' && void load(roomId.value)));
  onScopeDispose(
    client.onSignal((signal) => {
      if (signal.signal !== 'room.online' || signal.data.conversationId !== roomId.value) return;
      const { count, joined, left } = signal.data;
      const gone = new Set(left);
      const known = new Map(people.value.map((user) => [user.id, user]));
      const leaver = left.map((id) => known.get(id)?.name).find((name) => name);
      const newcomer = joined.find((user) => !known.has(user.id) && user.id !== client.me?.id);
      online.value = count;
      people.value = [...people.value.filter((user) => !gone.has(user.id) && !joined.some((one) => one.id === user.id)), ...joined];
      if (newcomer) tell(newcomer.name, true);
      else tell(leaver, false);
    }),
  );
  onScopeDispose(() => clearTimeout(timer));
  return { online, people, notice };
}
