import type { ChangedKind, Client } from '@kith/client';
import type { MethodName, Params, Result } from '@kith/protocol';
import { type ComputedRef, type Ref, computed, ref, shallowRef } from 'vue';
import { problemText } from './useProblem.ts';
import { useToast } from './useToast.ts';

const client = shallowRef<Client>();
/** One number for each kind of thing in the replica; it moves when something of that kind changed. */
const moved = new Map<ChangedKind, Ref<number>>();
let unwatch: (() => void) | undefined;

function movedOf(kind: ChangedKind): Ref<number> {
  let found = moved.get(kind);
  if (!found) moved.set(kind, (found = ref(0)));
  return found;
}

/** Takes a client into use, or none. The one place that holds it. */
export function useOnly(next: Client | undefined): void {
  unwatch?.();
  client.value = next;
  unwatch = next?.store.watch(({ kinds }) => {
    for (const kind of kinds) movedOf(kind).value++;
  });
}

export const findClient = (): Client | undefined => client.value;

/** The same, to be watched. */
export const clientNow: Readonly<Ref<Client | undefined>> = client;

export function useClient(): Client {
  if (!client.value) throw new Error('Nobody is signed in.');
  return client.value;
}

/**
 * What `read` finds in the replica, read again when something of these kinds changed; `empty` while nobody is signed in.
 */
export function fromReplica<T>(kinds: readonly ChangedKind[], read: (client: Client) => T, empty: T): ComputedRef<T> {
  return computed(() => {
    for (const kind of kinds) void movedOf(kind).value;
    return client.value ? read(client.value) : empty;
  });
}

/** Calls a method; a failure becomes a line at the bottom of the screen and `undefined`. */
export async function attempt<M extends MethodName>(method: M, params: Params<M>): Promise<Result<M> | undefined> {
  try {
    return await useClient().call(method, params);
  } catch (error) {
    useToast().showToast(problemText(error));
    return undefined;
  }
}
