import { RequestError, userStream } from '@kith/protocol';
import { requireMember } from '../core/access.ts';
import type { Handlers } from '../core/context.ts';
import { addHeard, findHeard } from '../core/heard.ts';

export const voice: Handlers<'voice.heard'> = {
  async 'voice.heard'(context, { messageId }) {
    const { userId } = context;
    return context.commit([userStream(userId)], async (c) => {
      const message = await c.q.selectFrom('messages').select(['conversation_id', 'seq', 'type', 'sender_id']).where('id', '=', messageId).executeTakeFirst();
      if (!message) throw new RequestError('not_found');
      await requireMember(c.q, message.conversation_id, userId).catch((error: unknown) => {
        throw error instanceof RequestError ? new RequestError('not_found') : error;
      });
      if (message.type !== 'voice') throw new RequestError('bad_request', { path: 'params.messageId', message: 'params.messageId: not a voice message' });
      // One's own counts as heard, and a recalled one has nothing more to hear, but may have been heard a moment before.
      const changed = message.sender_id === userId ? undefined : await addHeard(c, userId, message.conversation_id, message.seq);
      if (!changed) throw c.unchanged({ heard: await findHeard(c.q, userId, message.conversation_id) });
      return { heard: changed };
    });
  },
};
