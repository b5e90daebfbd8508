import type { Message, Params } from '@kith/protocol';
import { computed, onScopeDispose, ref, shallowRef } from 'vue';
import { useClient } from './useClient.ts';

export type SharedKind = Params<'message.media'>['kind'];

/** Messages asked for at once. */
const page = 60;

/** Is it still to be seen, as it is now? */
const isShown = ({ deletedAt }: Message): boolean => deletedAt === undefined;

/**
 * What was shared in a conversation, a page at a time, the newest first. What is recalled or hidden meanwhile goes, what
 * is new comes.
 *
 * @param from  Begin with this one, in the middle; else with the newest.
 */
export function useShared(conversationId: string, kind: SharedKind, from?: Message, limit = page) {
  const client = useClient();
  const found = shallowRef<readonly Message[]>(from ? [from] : []);
  const hidden = shallowRef(new Set<string>());
  const more = { older: ref(true), newer: ref(from !== undefined) };
  const loading = { older: ref(false), newer: ref(false) };
  const failed = ref(false);

  async function load(way: 'older' | 'newer'): Promise<void> {
    if (loading[way].value || !more[way].value) return;
    loading[way].value = true;
    failed.value = false;
    const edge = way === 'older' ? found.value.at(-1) : found.value[0];
    const place = way === 'older' ? edge && { before: edge.seq } : { after: edge?.seq ?? 0 };
    try {
      const answer = await client.call('message.media', { conversationId, kind, limit, ...place });
      found.value = way === 'older' ? [...found.value, ...answer.messages] : [...answer.messages, ...found.value];
      more[way].value = answer.more;
    } catch {
      failed.value = true;
    } finally {
      loading[way].value = false;
      look();
    }
  }

  /** Up to where the conversation went when what is newer was last asked for. */
  let asked = client.conversation(conversationId)?.lastSeq ?? 0;
  function look(): void {
    hidden.value = new Set(found.value.filter(({ id }) => client.store.get('hidden', id)).map(({ id }) => id));
    const now = found.value.map((message) => client.store.get('message', message.id) ?? message);
    if (now.some((message, index) => message !== found.value[index])) found.value = now;
    const { lastSeq = 0 } = client.conversation(conversationId) ?? {};
    // What comes while a page is on its way may not be in it: asked for when that is here.
    if (lastSeq === asked || loading.newer.value || (found.value.length === 0 && more.older.value)) return;
    asked = lastSeq;
    more.newer.value = true;
    // At the newest already: then it grows with the conversation.
    if (from === undefined) void load('newer');
  }
  onScopeDispose(client.store.watch(({ kinds }) => (kinds.has('message') || kinds.has('hidden') || kinds.has('timeline')) && look()));

  return {
    messages: computed(() => found.value.filter((message) => isShown(message) && !hidden.value.has(message.id))),
    hasOlder: more.older,
    hasNewer: more.newer,
    loading: computed(() => loading.older.value || loading.newer.value),
    failed,
    loadOlder: () => load('older'),
    loadNewer: () => load('newer'),
  };
}
