import { RequestError, limits, userStream } from '@kith/protocol';
import { requireMember } from '../core/access.ts';
import type { Handlers } from '../core/context.ts';
import { toHidden } from '../core/entities.ts';

export const hidden: Handlers<'message.hide'> = {
  async 'message.hide'(context, { messageId }) {
    const { userId } = context;
    const own = userStream(userId);
    return context.commit([own], async (c) => {
      const message = await c.q.selectFrom('messages').select(['conversation_id', 'seq']).where('id', '=', messageId).executeTakeFirst();
      if (!message) throw new RequestError('not_found');
      await requireMember(c.q, message.conversation_id, userId).catch((error: unknown) => {
        throw error instanceof RequestError ? new RequestError('not_found') : error;
      });
      const before = await c.q.selectFrom('hidden').selectAll().where('user_id', '=', userId).where('message_id', '=', messageId).executeTakeFirst();
      if (before) throw c.unchanged({ hidden: toHidden(before) });
      const { count } = await c.q
        .selectFrom('hidden')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('user_id', '=', userId)
        .executeTakeFirstOrThrow();
      if (Number(count) >= limits.hiddenMessages)
        throw new RequestError('too_many', { limit: 'hiddenMessages', message: `At most ${limits.hiddenMessages} messages can be deleted for oneself.` });
      const row = { user_id: userId, message_id: messageId, conversation_id: message.conversation_id, seq: message.seq, version: c.version(own) };
      await c.q.insertInto('hidden').values(row).execute();
      c.put(own, toHidden(row));
      return { hidden: toHidden(row) };
    });
  },
};
