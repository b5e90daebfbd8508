import { useClient } from './useClient.ts';
import { signedInAs } from './useSession.ts';

/** Opens the conversation with oneself for somebody new, so that their list is not empty. */
export async function beginNotes(): Promise<void> {
  const userId = signedInAs();
  if (!userId) return;
  try {
    await useClient().call('conversation.direct', { userId });
  } catch {
    // No loss: it can be begun at any time, from the page for a new conversation.
  }
}
