import { onScopeDispose, ref, shallowRef } from 'vue';
import { t } from '../i18n.ts';
import { useClient } from './useClient.ts';
import { findRegistration, findSubscription, usePushDevice } from './usePushDevice.ts';
import { useSound } from './useSound.ts';

/** How long a push may take from its push service to here before the screen says so. Milliseconds. */
const arrivalMs = 15_000;

export interface Outcome {
  name: 'sound' | 'notice' | 'push';
  is: 'ok' | 'off' | 'failed' | 'sent';
  text: string;
}

/** Tries what would happen for a message: a sound, a notification, and a push by way of the server and the push service. */
export function useDeviceTest() {
  const client = useClient();
  const { sound, play } = useSound();
  const { on } = usePushDevice();
  const outcomes = shallowRef<Outcome[]>([]);
  const busy = ref(false);
  const say = (outcome: Outcome): void => void (outcomes.value = [...outcomes.value.filter(({ name }) => name !== outcome.name), outcome]);

  async function trySound(): Promise<Outcome> {
    const is = !sound.value ? 'off' : (await play()) ? 'ok' : 'failed';
    return { name: 'sound', is, text: t(`tested.sound.${is}`) };
  }

  async function tryNotice(): Promise<Outcome> {
    const is = on.value ? await show() : 'off';
    return { name: 'notice', is, text: t(`tested.notice.${is}`) };
  }

  async function show(): Promise<'ok' | 'failed'> {
    try {
      const registration = await findRegistration();
      await registration!.showNotification(t('notification.testTitle'), { body: t('notification.testPage'), tag: 'test', icon: '/icon.svg', silent: true });
      return 'ok';
    } catch {
      return 'failed';
    }
  }

  const push = (is: Outcome['is'], word: string, values = {}): Outcome => ({ name: 'push', is, text: t(`tested.push.${word}`, values) });

  async function tryPush(): Promise<Outcome> {
    if (!(await findSubscription())) return push('off', 'off');
    try {
      const { ok, status } = await client.call('push.test', {});
      if (!ok) return status === null ? push('failed', 'unreachable') : push('failed', 'failed', { status });
    } catch {
      return push('failed', 'error');
    }
    return arrived ? push('ok', 'ok') : push('sent', 'sent');
  }

  let arrived = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  function onArrival({ data }: MessageEvent<{ arrived?: string }>): void {
    if (data.arrived !== 'test') return;
    arrived = true;
    clearTimeout(timer);
    // The server's word may still be on its way.
    if (!busy.value) say(push('ok', 'ok'));
  }
  const { serviceWorker } = navigator as Partial<Navigator>;
  serviceWorker?.addEventListener('message', onArrival);
  onScopeDispose(() => {
    serviceWorker?.removeEventListener('message', onArrival);
    clearTimeout(timer);
  });

  return {
    outcomes,
    busy,
    async test(): Promise<void> {
      if (busy.value) return;
      busy.value = true;
      arrived = false;
      clearTimeout(timer);
      outcomes.value = [];
      say(await trySound());
      say(await tryNotice());
      say(await tryPush());
      busy.value = false;
      if (outcomes.value.some(({ is }) => is === 'sent')) timer = setTimeout(() => say(push('failed', 'late')), arrivalMs);
    },
  };
}
