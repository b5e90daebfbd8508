import { type Settings, isQuiet } from '@kith/protocol';
import { computed } from 'vue';
import { attempt, fromReplica } from './useClient.ts';
import { useNow } from './useNow.ts';

/** Where nobody has decided yet. Minutes after midnight. */
const usual = { quietFrom: 22 * 60, quietTo: 7 * 60 };
const none = { pushContent: false, quietFrom: null, quietTo: null, timeZone: 'UTC' };

const settings = fromReplica<Pick<Settings, keyof typeof none>>(['settings'], (client) => client.store.get('settings') ?? none, none);

/** When one is not to be disturbed, on all of one's devices, and what notifications may say. */
export function useQuietHours() {
  const now = useNow();
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const change = (changes: Partial<Pick<Settings, keyof typeof none>>) => void attempt('settings.update', changes);
  /** "22:00", as `<input type="time">` has it. */
  const end = (name: 'quietFrom' | 'quietTo') =>
    computed<string>({
      get: () => clock(settings.value[name] ?? usual[name]),
      set: (time) => time && change({ [name]: minutes(time) }),
    });

  return {
    on: computed<boolean>({
      get: () => settings.value.quietFrom !== null && settings.value.quietTo !== null,
      set: (on) => change(on ? { ...usual, timeZone: here } : { quietFrom: null, quietTo: null }),
    }),
    from: end('quietFrom'),
    to: end('quietTo'),
    /** By whose clock. */
    timeZone: computed(() => settings.value.timeZone),
    /** Of this device, where it is another one. */
    otherZone: computed(() => (here === settings.value.timeZone ? undefined : here)),
    takeZone: () => change({ timeZone: here }),
    quiet: computed(() => isQuiet(settings.value, now.value)),
    /** At this moment, for what cannot wait for the clock to be drawn. */
    isQuietNow: () => isQuiet(settings.value, Date.now()),
    /** May a notification carry what was said? */
    content: computed<boolean>({ get: () => settings.value.pushContent, set: (pushContent) => change({ pushContent }) }),
  };
}

const clock = (minute: number): string => [Math.floor(minute / 60), minute % 60].map((part) => String(part).padStart(2, '0')).join(':');
const minutes = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));
