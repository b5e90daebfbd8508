import type { Params } from '@kith/protocol';
import { useClient } from './useClient.ts';

/** One's own account. Each throws what the server refuses. */
export function useProfile() {
  const client = useClient();
  return {
    update: (changes: Params<'user.update'>) => client.call('user.update', changes),
    claim: (handle: string, password: string) => client.call('auth.claim', { handle, password }),
    changePassword: (password: string, newPassword: string) => client.call('user.changePassword', { password, newPassword }),
  };
}
