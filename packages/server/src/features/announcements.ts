import { RequestError, conversationStream } from '@kith/protocol';
import { append, sentHash } from '../core/append.ts';
import { type Handlers, newId } from '../core/context.ts';
import { toMessage } from '../core/entities.ts';
import { offerLink } from '../core/links.ts';
import { announcementsId } from '../core/places.ts';

export const announcements: Handlers<'announcement.send'> = {
  async 'announcement.send'(context, { text, clientId = newId() }) {
    const { userId } = context;
    if (text.trim() === '') throw new RequestError('bad_request', { path: 'params.text', message: 'params.text: empty' });
    const conversationId = await context.read(announcementsId);
    const stream = conversationStream(conversationId);
    const result = await context.commit(
      [stream],
      async (c) => {
        const message = await append(c, { conversationId, senderId: userId, clientId, type: 'text', text });
        if (message) return { message };
        const first = await c.q.selectFrom('messages').selectAll().where('sender_id', '=', userId).where('client_id', '=', clientId).executeTakeFirstOrThrow();
        if (first.conversation_id !== conversationId || first.sent_hash !== sentHash('text', text)) throw new RequestError('client_id_reused');
        throw c.unchanged({ message: toMessage(first) });
      },
      { append: stream },
    );
    context.services.push.messageSent(result.message);
    offerLink(context.services, result.message);
    return result;
  },
};
