import type { Params } from '@kith/protocol';
import { useClient } from './useClient.ts';

/** Shows the server once more who is there. Throws what it refuses. */
export const useConfirmation = () => ({ confirm: (proof: Params<'auth.confirm'>) => useClient().call('auth.confirm', proof) });
