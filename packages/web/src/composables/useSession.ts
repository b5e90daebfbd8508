import { Client, idbStorage, signIn } from '@kith/client';
import type { Params } from '@kith/protocol';
import { nextTick, ref } from 'vue';
import { deviceName } from './device.ts';
import { findClient, useOnly } from './useClient.ts';

/** Whose session this browser holds. The session itself is in a cookie that no script can read. */
const key = 'kith.user';
const ended = ref('');

export const signedInAs = (): string | null => localStorage.getItem(key);

/** Reasons after which one has to sign in again. Others, such as a newer version of the server, are the banner's to tell. */
const signedOut = new Set(['unauthenticated', 'sessionEnded', 'accountDisabled']);

async function open(userId: string): Promise<void> {
  const client = new Client({ url: location.origin, device: deviceName(), storage: idbStorage(`kith-${userId}`) });
  client.onConnection(({ at, reason }) => {
    if (at === 'ended' && findClient() === client && reason && signedOut.has(reason)) void close(reason);
  });
  await client.start();
  useOnly(client);
}

/** The session is over, but what was not sent and what was half written stays for when the same person comes back. */
async function close(reason: string): Promise<void> {
  const client = findClient();
  localStorage.removeItem(key);
  ended.value = reason;
  // The screens that use the client go before it does.
  await nextTick();
  useOnly(undefined);
  await client?.stop();
}

type Ways = 'auth.register' | 'auth.login' | 'auth.guest';

export function useSession() {
  return {
    /** Why the last session ended, when it was not signed out here. */
    ended,
    /** Opens what this browser keeps of the person signed in. */
    async resume(): Promise<void> {
      const userId = signedInAs();
      if (userId) await open(userId);
    },
    async enter<W extends Ways>(way: W, params: Params<W>): Promise<void> {
      const { user } = await signIn(location.origin, way, { ...params, device: deviceName() });
      localStorage.setItem(key, user.id);
      ended.value = '';
      await open(user.id);
    },
    /**
     * Ends the session here and on the server, and forgets everything this browser kept of it.
     *
     * @throws where there is no connection: the cookie would stay good, and only the server can end it
     */
    async leave(): Promise<void> {
      const client = findClient();
      if (!client) return;
      if (client.connection.at !== 'ready' && client.connection.at !== 'syncing') throw new Error('There is no connection.');
      // The answer makes the browser clear its storage: nothing may be in the middle of a write then.
      await client.stop();
      const looks = ['kith.theme', 'kith.language'].map((name) => [name, localStorage.getItem(name)] as const);
      if (!(await logout())) return location.reload();
      for (const [name, value] of looks) if (value !== null) localStorage.setItem(name, value);
      localStorage.removeItem(key);
      useOnly(undefined);
      await client.wipe();
      ended.value = '';
    },
  };
}

/** @returns Is the session over? */
async function logout(): Promise<boolean> {
  try {
    const answer = await fetch('/api/auth.logout', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
    return answer.ok || answer.status === 401;
  } catch {
    return false;
  }
}
