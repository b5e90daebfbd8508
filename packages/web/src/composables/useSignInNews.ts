import type { Security, Session } from '@kith/protocol';
import { computed, ref } from 'vue';
import { fromReplica } from './useClient.ts';

/** Up to when this device was told of what others did, and which session it has; since it signed in. */
const key = 'kith.signInNews';

interface Known {
  sessionId: string;
  until: number;
}

const read = (): Known | undefined => JSON.parse(localStorage.getItem(key) ?? 'null') ?? undefined;
const known = ref(read());

/** This device has just signed in: what was before is no news to it. */
export function beginSignInNews(sessionId: string): void {
  localStorage.setItem(key, JSON.stringify({ sessionId, until: Date.now() } satisfies Known));
  known.value = read();
}

const sessions = fromReplica<Session[]>(['session'], (client) => client.store.list('session'), []);
const security = fromReplica<Security | undefined>(['security'], (client) => client.store.get('security'), undefined);

export type SignInNews = { what: 'device'; device: string; at: number } | { what: Security['last']['what']; at: number };

/** What another device did about how one signs in, and this one was not told of yet. Whoever came in unasked is seen by that. */
export function useSignInNews() {
  const news = computed<SignInNews | undefined>(() => {
    if (!known.value) return undefined;
    const { sessionId, until } = known.value;
    const devices = sessions.value
      .filter((session) => session.id !== sessionId && session.createdAt > until)
      .map(({ device, createdAt: at }): SignInNews => ({ what: 'device', device, at }));
    const last = security.value?.last;
    const changed: SignInNews[] = last && last.sessionId !== sessionId && last.at > until ? [last] : [];
    // A recovery code says more than that somebody signed in by it.
    return [...changed, ...devices].toSorted((a, b) => b.at - a.at)[0];
  });
  return {
    news,
    seen() {
      if (!known.value || !news.value) return;
      localStorage.setItem(key, JSON.stringify({ ...known.value, until: news.value.at }));
      known.value = read();
    },
  };
}
