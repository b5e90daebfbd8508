import type { Session } from '@kith/protocol';
import { computed, ref } from 'vue';
import { t } from '../i18n.ts';
import { attempt, fromReplica } from './useClient.ts';
import { useConfirm } from './useConfirm.ts';

const held = fromReplica<Session[]>(['session'], (client) => client.store.list('session').filter((session) => session.endedAt === null), []);

/** Where one is signed in, as it is now. */
export function useDevices() {
  const { confirm } = useConfirm();
  const current = ref('');

  /** The server alone knows which of them this one is, and when each was last used. */
  async function load() {
    current.value = (await attempt('session.list', {}))?.current ?? current.value;
  }
  void load();

  return {
    current,
    /** This device first. */
    sessions: computed(() =>
      current.value ? held.value.toSorted((a, b) => Number(b.id === current.value) - Number(a.id === current.value) || b.usedAt - a.usedAt || b.createdAt - a.createdAt) : [],
    ),
    others: computed(() => held.value.filter((session) => session.id !== current.value).map((session) => session.id)),
    async end(session: Session) {
      const title = t('devices.endTitle', { device: session.device || t('devices.unknown') });
      if (await confirm({ title, text: t('devices.endText'), yes: t('settings.signOut') })) await attempt('session.revoke', { sessionId: session.id });
    },
    async endOthers(sessionIds: string[]) {
      if (!(await confirm({ title: t('devices.othersTitle'), text: t('devices.endText'), yes: t('settings.signOut') }))) return;
      for (const sessionId of sessionIds) await attempt('session.revoke', { sessionId });
    },
  };
}
