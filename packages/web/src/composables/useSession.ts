import { Client, Tabs, canShareTabs, idbStorage, signIn } from '@kith/client';
import type { Params } from '@kith/protocol';
import { nextTick, ref } from 'vue';
import { deviceName } from './device.ts';
import { beginSignInNews } from './useSignInNews.ts';
import { askForProof } from './useProof.ts';
import { findClient, useOnly } from './useClient.ts';

/** Whose session this browser holds. The session itself is in a cookie that no script can read. */
const key = 'kith.user';
const ended = ref('');
/** What outlives signing out: it is of the device, not of the person. */
const looks = new Set(['kith.theme', 'kith.language', 'kith.sendKey']);
/** Deletes its account: it need not hear from the server that the session is over. */
let leaving: Client | undefined;
/** The other tabs of the same person, where the browser lets tabs work together. */
let tabs: Tabs | undefined;

export const signedInAs = (): string | null => localStorage.getItem(key);

/** Reasons after which one has to sign in again. Others, such as a newer version of the server, are the banner's to tell. */
const signedOut = new Set<string | undefined>(['unauthenticated', 'sessionEnded', 'accountDisabled']);
export const isSignedOut = (reason: string | undefined): boolean => signedOut.has(reason);

async function open(userId: string): Promise<void> {
  tabs = canShareTabs() ? new Tabs({ name: userId }) : undefined;
  const client = new Client({
    url: location.origin,
    device: deviceName(),
    storage: idbStorage(`kith-${userId}`),
    confirm: askForProof,
    ...(tabs && { WebSocket: tabs.WebSocket, hints: tabs.hints, peers: tabs }),
  });
  client.onConnection(({ at, reason }) => {
    if (at === 'ended' && findClient() === client && leaving !== client && reason && isSignedOut(reason)) void close(reason);
  });
  // Another tab signs out. It must not find us in the middle of a write, and when it is done nothing is left to show.
  tabs?.onTold('leaving', () => void client.stop());
  tabs?.onTold('left', () => void goToGate());
  tabs?.onTold('stayed', () => location.reload());
  await client.start();
  useOnly(client);
}

/** By loading the page again, so that nothing of the person is left in memory either; and not from a screen that keeps what stands in it. */
async function goToGate(): Promise<void> {
  await leaveScreens();
  await nextTick();
  sessionStorage.clear();
  location.replace('/signin');
}

let leaveScreens: () => Promise<unknown> = () => Promise.resolve();
/** @param leave  Goes to where one signs in, when the session has ended; resolves when nothing else is shown. */
export const onSessionEnded = (leave: () => Promise<unknown>): void => void (leaveScreens = leave);

/** The session is over, but what was not sent and what was half written stays for when the same person comes back. */
async function close(reason: string): Promise<void> {
  const client = findClient();
  localStorage.removeItem(key);
  ended.value = reason;
  // The screens that use the client go before it does, and keep what was being written in them.
  await leaveScreens();
  await nextTick();
  useOnly(undefined);
  await client?.stop();
  tabs?.close();
}

// Signed in again in another tab: this one goes on, too, where it was.
addEventListener('storage', (event) => {
  if (event.key === key && event.newValue !== null && !findClient()) location.reload();
});

type Ways = 'auth.register' | 'auth.login' | 'auth.factor' | 'auth.guest' | 'passkey.login';

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
      const { user, sessionId } = await signIn(location.origin, way, { ...params, device: deviceName() });
      beginSignInNews(sessionId);
      localStorage.setItem(key, user.id);
      ended.value = '';
      await open(user.id);
    },
    /** A new password, by a link of an operator. @throws wrong_credentials: it is too old, or was used */
    reset: (given: Params<'auth.reset'>) => signIn(location.origin, 'auth.reset', given),
    /** For signing in with a passkey. */
    challenge: async () => (await signIn(location.origin, 'passkey.challenge', {})).options,
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
      tabs?.tell('leaving', null);
      await client.stop();
      const kept = [...looks].map((name) => [name, localStorage.getItem(name)] as const);
      if (!(await logout())) {
        tabs?.tell('stayed', null);
        return location.reload();
      }
      await forgetDevice();
      for (const [name, value] of kept) if (value !== null) localStorage.setItem(name, value);
      await client.wipe();
      tabs?.tell('left', null);
      await goToGate();
    },
    /** Brings a deleted account back; then one can sign in. @throws wrong_credentials */
    async restore(handle: string, password: string): Promise<void> {
      await signIn(location.origin, 'auth.restore', { handle, password });
    },
    /** Deletes the account, and everything this browser kept of it. @throws wrong_credentials */
    async deleteAccount(password: string, messages: 'keep' | 'erase'): Promise<void> {
      const client = findClient();
      if (!client) return;
      leaving = client;
      try {
        await client.call('user.delete', { password, messages });
      } catch (error) {
        // With the account the session ends, and that may be heard before the answer.
        if (client.connection.at !== 'ended') {
          leaving = undefined;
          throw error;
        }
      }
      await forgetDevice();
      await client.wipe();
      tabs?.tell('left', null);
      await goToGate();
    },
  };
}

/** What the server's answer makes a browser forget by itself, where the page came over TLS; everywhere else it is done here. */
async function forgetDevice(): Promise<void> {
  for (const name of Object.keys(localStorage)) if (!looks.has(name)) localStorage.removeItem(name);
  sessionStorage.clear();
  if ('caches' in globalThis) await Promise.all((await caches.keys()).map((name) => caches.delete(name)));
  const registration = await navigator.serviceWorker?.getRegistration().catch(() => undefined);
  for (const notification of (await registration?.getNotifications()) ?? []) notification.close();
  // Also ends the subscription to pushes. The page that is loaded next registers it anew.
  await registration?.unregister();
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
