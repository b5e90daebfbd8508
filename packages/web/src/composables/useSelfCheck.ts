import { ref, shallowRef } from 'vue';
import { t } from '../i18n.ts';
import { useClient } from './useClient.ts';
import { useFormat } from './useFormat.ts';
import { findObstacle, findRegistration, findSubscription, usePushDevice } from './usePushDevice.ts';
import { useQuietHours } from './useQuietHours.ts';

/** One link of the chain between a message and this screen. */
export interface Link {
  name: string;
  /** broken: nothing comes. note: something may not come. */
  is: 'whole' | 'broken' | 'note';
  text: string;
  /** What to do about it. */
  todo?: string;
  /** A new subscription may mend it. */
  renew?: boolean;
}

/** Why did I not get one? Looks at each link in its order, and names the first that is broken. */
export function useSelfCheck() {
  const client = useClient();
  const { ago } = useFormat();
  const { on, permission, refusal } = usePushDevice();
  const { to } = useQuietHours();
  const links = shallowRef<Link[]>([]);
  const busy = ref(false);

  const whole = (name: string, values = {}): Link => ({ name, is: 'whole', text: t(`check.${name}.ok`, values) });
  const fault =
    (is: 'broken' | 'note') =>
    (name: string, which: string, values: Record<string, unknown> = {}, renew = false): Link => {
      const n = values['n'] as number | undefined;
      return { name, is, text: t(`check.${name}.${which}`, values, n), todo: t(`check.${name}.${which}Todo`, values), renew };
    };
  const broken = fault('broken');
  const note = fault('note');

  /** Each link only makes sense where the one before it holds. */
  async function* follow(): AsyncGenerator<Link> {
    const obstacle = findObstacle();
    yield obstacle ? broken('support', obstacle) : whole('support');
    yield permission.value === 'granted' ? whole('permission') : broken('permission', permission.value);
    yield on.value ? whole('choice') : broken('choice', 'off');
    yield (await findRegistration()) ? whole('worker') : broken('worker', 'none');
    const subscription = await findSubscription();
    yield subscription ? whole('subscription') : refusal.value ? broken('subscription', 'refused', { reason: refusal.value }, true) : broken('subscription', 'none', {}, true);
    const server = await client.call('push.check', {}).catch(() => undefined);
    yield server ? (server.subscribed ? whole('server') : broken('server', 'unknown', {}, true)) : broken('server', 'unreachable');
    yield lastPush(server!.last);
  }

  function lastPush(last: { at: number; status: number | null } | null): Link {
    if (!last) return note('last', 'never');
    const when = ago(last.at);
    if (last.status === null) return broken('last', 'unreached', { when });
    return last.status < 300 ? whole('last', { when }) : broken('last', 'failed', { when, status: last.status }, true);
  }

  /** What holds everything back for a reason, whatever becomes of the chain. */
  async function reasons(): Promise<Link[]> {
    const server = await client.call('push.check', {}).catch(() => undefined);
    if (!server) return [];
    return [
      server.quietNow ? note('quiet', 'now', { time: to.value }) : whole('quiet'),
      server.mutedConversations > 0 ? note('muted', 'some', { n: server.mutedConversations }) : whole('muted'),
      server.otherDeviceActive ? note('elsewhere', 'open') : whole('elsewhere'),
    ];
  }

  return {
    links,
    busy,
    async check(): Promise<void> {
      if (busy.value) return;
      busy.value = true;
      const found: Link[] = [];
      for await (const link of follow()) {
        found.push(link);
        if (link.is === 'broken') break;
      }
      links.value = [...found, ...(await reasons())];
      busy.value = false;
    },
  };
}
