import type { Security } from '@kith/protocol';
import { computed } from 'vue';
import { deviceName } from './device.ts';
import { fromReplica, useClient } from './useClient.ts';
import { usePasskey } from './usePasskey.ts';

const security = fromReplica<Security | undefined>(['security'], (client) => client.store.get('security'), undefined);

/** How one signs in. Each throws what the server refuses; what it answers with recovery codes shows them this once. */
export function useSecurity() {
  const { make, show } = usePasskey();
  const client = useClient();
  return {
    appSince: computed(() => security.value?.appSince ?? null),
    passkeys: computed(() => security.value?.passkeys ?? []),
    recoveryCodes: computed(() => security.value?.recoveryCodes ?? 0),
    /** Does the password need something beside it? */
    hasFactor: computed(() => security.value !== undefined && (security.value.appSince !== null || security.value.passkeys.length > 0)),
    beginApp: () => client.call('app.begin', {}),
    addApp: (secret: string, ticket: string, code: string) => client.call('app.add', { secret, ticket, code }),
    removeApp: () => client.call('app.remove', {}),
    renewCodes: () => client.call('recovery.renew', {}),
    async addPasskey() {
      const { options } = await client.call('passkey.begin', {});
      return client.call('passkey.add', { name: deviceName(), ...(await make(options)) });
    },
    renamePasskey: (passkeyId: string, name: string) => client.call('passkey.rename', { passkeyId, name }),
    removePasskey: (passkeyId: string) => client.call('passkey.remove', { passkeyId }),

    /** Shows the server once more who is there. */
    confirm: (password: string, code?: string) => client.call('auth.confirm', { password, ...(code !== undefined && { code }) }),
    async confirmByPasskey() {
      const { options } = await client.call('passkey.challenge', {});
      return client.call('auth.confirm', { passkey: await show(options) });
    },
  };
}
