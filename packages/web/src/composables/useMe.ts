import type { User } from '@kith/protocol';
import { fromReplica } from './useClient.ts';

const me = fromReplica<User | undefined>(['user'], (client) => client.me, undefined);

/** The person signed in; undefined until the replica or the server has told. */
export const useMe = () => me;
