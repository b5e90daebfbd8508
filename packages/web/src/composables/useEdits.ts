import { shallowReactive } from 'vue';
import { useClient } from './useClient.ts';
import { problemText } from './useProblem.ts';

/** New words for a message that the server has not confirmed. */
export interface Edit {
  text: string;
  /** Why it was not saved; it then waits for the person. Empty while it is on its way. */
  problem: string;
}

/** By the id of the message. */
const edits = shallowReactive(new Map<string, Edit>());
/** The last request about each message: the words that were written last must be the last to arrive. */
const running = new Map<string, Promise<void>>();

/** Changes of messages: shown at once, saved in the background, and kept in sight when that fails. */
export function useEdits() {
  const client = useClient();

  function save(messageId: string, text: string) {
    const edit: Edit = { text, problem: '' };
    edits.set(messageId, edit);
    const request = send(messageId, edit, running.get(messageId)).finally(() => {
      if (running.get(messageId) === request) running.delete(messageId);
    });
    running.set(messageId, request);
  }

  async function send(messageId: string, edit: Edit, before: Promise<void> | undefined) {
    await before;
    // Changed once more meanwhile.
    if (edits.get(messageId) !== edit) return;
    try {
      await client.edit(messageId, edit.text);
      if (edits.get(messageId) === edit) edits.delete(messageId);
    } catch (error) {
      if (edits.get(messageId) === edit) edits.set(messageId, { ...edit, problem: problemText(error) });
    }
  }

  return {
    editOf: (messageId: string | undefined) => (messageId === undefined ? undefined : edits.get(messageId)),
    save,
    retry(messageId: string) {
      const edit = edits.get(messageId);
      if (edit) save(messageId, edit.text);
    },
    discard: (messageId: string) => void edits.delete(messageId),
  };
}
