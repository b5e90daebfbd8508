import type { Params, Settings } from '@kith/protocol';
import { computed, shallowRef } from 'vue';
import { attempt, fromReplica } from './useClient.ts';
import { useMe } from './useMe.ts';

type Privacy = Pick<Settings, 'readReceipts' | 'typing' | 'presence' | 'groups' | 'findable' | 'linkPreviews'>;

/** What holds for who has never decided otherwise, as the server has it. */
const undecided: Privacy = { readReceipts: true, typing: true, presence: 'everyone', groups: 'anyone', findable: true, linkPreviews: true };
const decided = fromReplica<Settings | undefined>(['settings'], (client) => client.store.get('settings'), undefined);

/** What others learn of the person signed in, and who may reach them. A switch moves at once, and back if the server refuses. */
export function usePrivacy() {
  const me = useMe();
  const wanted = shallowRef<Partial<Privacy>>({});
  const wantedAccepts = shallowRef<'friends' | 'anyone'>();
  const now = computed<Privacy>(() => ({ ...undecided, ...decided.value, ...wanted.value }));

  async function decide(changes: Params<'settings.update'> & Partial<Privacy>) {
    wanted.value = { ...wanted.value, ...changes };
    const mine = wanted.value;
    await attempt('settings.update', changes);
    // What was asked for meanwhile is still on its way.
    if (wanted.value === mine) wanted.value = {};
  }
  const choice = <K extends keyof Privacy>(key: K) => computed<Privacy[K]>({ get: () => now.value[key], set: (next) => void decide({ [key]: next }) });

  return {
    readReceipts: choice('readReceipts'),
    typing: choice('typing'),
    presence: choice('presence'),
    groups: choice('groups'),
    findable: choice('findable'),
    linkPreviews: choice('linkPreviews'),
    accepts: computed<'friends' | 'anyone'>({
      get: () => wantedAccepts.value ?? me.value?.accepts ?? 'friends',
      set(next) {
        wantedAccepts.value = next;
        void attempt('user.update', { accepts: next }).then(() => {
          if (wantedAccepts.value === next) wantedAccepts.value = undefined;
        });
      },
    }),
  };
}
