import type { Client, Connection } from '@kith/client';
import { type ComputedRef, computed, effectScope, ref, shallowRef, watch } from 'vue';
import { useClient } from './useClient.ts';
import { isSignedOut } from './useSession.ts';

/** Nobody needs to hear of a pause shorter than this. Milliseconds. */
const quietMs = 4_000;
/** What the browser calls offline may still be a server on this machine: it gets this long to answer. Milliseconds. */
const doubtMs = 3_000;

interface Line {
  connection: Readonly<{ value: Connection }>;
  /** Down for long enough to say so. */
  down: ComputedRef<boolean>;
  /** Whole seconds to the next attempt; undefined while one is under way. */
  retryIn: ComputedRef<number | undefined>;
  retryNow: () => void;
}

const lines = new WeakMap<Client, Line>();

/** The state of the line to the server, as people should hear of it. One for all who ask. */
export function useConnection(): Line {
  const client = useClient();
  let line = lines.get(client);
  if (!line) lines.set(client, (line = effectScope(true).run(() => watchLine(client))!));
  return line;
}

function watchLine(client: Client): Line {
  const connection = shallowRef<Connection>({ ...client.connection });
  /** The browser says that there is no network, and the server does not answer either. */
  const silent = ref(!navigator.onLine && connection.value.at !== 'ready');
  client.onConnection((next) => {
    connection.value = { ...next };
    silent.value = false;
    // Not wanted although signed in: the server speaks a newer protocol than this page.
    if (next.at === 'ended' && next.reason !== 'stopped' && !isSignedOut(next.reason)) void import('./useServiceWorker.ts').then((worker) => worker.lookForNewVersion());
  });
  addEventListener('offline', () => {
    const { value } = connection;
    client.call('stream.heads', { streams: [] }, { timeoutMs: doubtMs }).catch(() => (silent.value = connection.value === value));
  });
  addEventListener('online', () => (silent.value = false));

  const now = ref(Date.now());
  const lostAt = ref(connection.value.since);
  const lost = computed(() => (connection.value.at !== 'ready' && connection.value.at !== 'syncing') || silent.value);
  let timer: ReturnType<typeof setInterval> | undefined;
  watch(
    lost,
    (is) => {
      clearInterval(timer);
      if (!is) return;
      now.value = Date.now();
      lostAt.value = silent.value ? now.value - doubtMs : now.value;
      timer = setInterval(() => (now.value = Date.now()), 500);
    },
    { immediate: true },
  );

  return {
    connection,
    down: computed(() => lost.value && now.value - lostAt.value >= quietMs),
    retryIn: computed(() => {
      const { at, retryAt } = connection.value;
      return at === 'offline' && retryAt ? Math.max(0, Math.ceil((retryAt - now.value) / 1_000)) : undefined;
    }),
    retryNow: () => client.retryNow(),
  };
}
