import type { Client, TimelineItem } from '@kith/client';
import type { Message } from '@kith/protocol';
import { isEmojiText } from '@kith/protocol';
import { onScopeDispose, ref, shallowRef } from 'vue';
import { t } from '../i18n.ts';
import { problemText } from './useProblem.ts';
import { useClient } from './useClient.ts';
import { useToast } from './useToast.ts';

/** The messages of one conversation, a window that moves with what is read, and what one does with them. */
export function useTimeline(conversationId: string) {
  const client = useClient();
  const { showToast } = useToast();
  const handle = client.timeline(conversationId);
  const messages = shallowRef<readonly TimelineItem[]>([]);
  const hasBefore = ref(false);
  const hasAfter = ref(false);
  const loading = ref(false);
  const failed = ref(false);

  function read() {
    messages.value = handle.messages;
    hasBefore.value = handle.hasBefore;
    hasAfter.value = handle.hasAfter;
    loading.value = handle.loading;
    failed.value = handle.error !== undefined;
  }
  read();
  onScopeDispose(handle.onChange(read));
  onScopeDispose(() => handle.close());

  return {
    messages,
    hasBefore,
    hasAfter,
    loading,
    /** The last page could not be had. */
    failed,
    loadBefore: () => void handle.loadBefore(),
    loadAfter: () => void handle.loadAfter(),
    /** Resolves when the message and its neighbours are among `messages`, or cannot be. */
    loadAround: (seq: number) => handle.loadAround(seq),
    loadLatest: () => handle.loadLatest(),
    /** @returns The seq of the first message from this time on. */
    loadAt: (at: number) => handle.loadAt(at),
    /** Says which message is being read; undefined: the newest. */
    setReading: (seq: number | undefined) => void (handle.reading = seq),
    send(text: string) {
      client.send(conversationId, { type: isEmojiText(text) ? 'emoji' : 'text', text });
    },
    /** Tells the others that one types. */
    typing: () => client.setTyping(conversationId),
    retry(clientId: string) {
      client.retryNow();
      client.outbox.retry(clientId);
    },
    /** @returns What it said, for going on with it, once it is sure that it was not sent. */
    cancel: (clientId: string) => takeBack(client, clientId),
    async recall({ id, text }: Message) {
      // Before the call: the push that empties the message may come ahead of the reply.
      keepText(id, text);
      try {
        await client.recall(id);
      } catch (error) {
        recalledTexts.delete(id);
        showToast(problemText(error));
      }
    },
    /** Deletes it for oneself. */
    async hide({ id }: Message) {
      try {
        await client.hide(id);
      } catch (error) {
        showToast(problemText(error));
      }
    },
    /** What one's own recalled message said, for writing it anew; known only where it was recalled, until reload. */
    recalledText: (messageId: string) => recalledTexts.get(messageId),
  };
}

/** Takes back what waits; what was sent all the same stays, and one is told. */
export async function takeBack({ outbox }: Client, clientId: string): Promise<string | undefined> {
  // A second click on the same button.
  if (outbox.pending().some((entry) => entry.clientId === clientId && entry.state === 'leaving')) return undefined;
  const taken = await outbox.cancel(clientId);
  if (!taken) useToast().showToast(t('message.wasSent'));
  return taken?.text;
}

/** At most what a person recalls in one sitting. */
const recalledTexts = new Map<string, string>();
function keepText(id: string, text: string) {
  recalledTexts.set(id, text);
  if (recalledTexts.size > 100) recalledTexts.delete(recalledTexts.keys().next().value!);
}
