import { conversationStream, limits, typingEveryMs } from '@kith/protocol';
import { isWaiting, readBlocks, requireWriter } from '../core/access.ts';
import type { Handlers } from '../core/context.ts';
import { readSettings } from '../core/privacy.ts';
import type { Query } from '../db/db.ts';

/** When each person last typed in each conversation, so that a fast client is heard once in three seconds. Bounded. */
const heard = new Map<string, number>();
const remembered = 10_000;

export const typing: Handlers<'typing.set'> = {
  async 'typing.set'(context, { conversationId }) {
    const { userId } = context;
    const { type, memberCount, tells } = await context.read(async (q) => {
      const membership = await requireWriter(q, conversationId, userId);
      const told = (await readSettings(q, [userId])).get(userId)!.typing === 1 && !(await isWaiting(q, conversationId, userId));
      return { type: membership.type, memberCount: membership.memberCount, tells: told };
    });
    // Everybody is in the announcements, and nobody is counted there.
    if (!tells || type === 'announcements' || memberCount > limits.attentionMembers) return {};
    const key = `${conversationId} ${userId}`;
    const now = performance.now();
    // A little less than the client's own interval, whose timer may come early.
    if (now - (heard.get(key) ?? -Infinity) < typingEveryMs - 500) return {};
    heard.delete(key);
    heard.set(key, now);
    if (heard.size > remembered) heard.delete(heard.keys().next().value!);
    context.signalOthers(
      conversationStream(conversationId),
      { signal: 'typing', data: { conversationId, userId } },
      await context.read((q) => unseeing(q, conversationId, userId)),
    );
    return {};
  },
};

/** Who has switched typing off sees nobody typing, and whoever has a block with somebody, by either of the two, not this one. */
async function unseeing(q: Query, conversationId: string, typistId: string): Promise<string[]> {
  const members = await q.selectFrom('members').select('user_id').where('conversation_id', '=', conversationId).where('state', '=', 'joined').execute();
  const userIds = members.map((row) => row.user_id);
  const settings = await readSettings(q, userIds);
  const blocks = await readBlocks(q, typistId);
  return userIds.filter((userId) => settings.get(userId)!.typing === 0 || blocks.includes(userId));
}
