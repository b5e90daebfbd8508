import { sql } from 'kysely';
import type { Query } from '../db/db.ts';
import { emptiedAtOnce, emptyMessages } from './empty-messages.ts';
import type { Services } from './context.ts';

// Messages that are older than their conversation, or the server, keeps them. Times never go back within a conversation, so
// those that are over are its beginning, and a mark says how far that is done.

const dayMs = 86_400_000;
/** Conversations looked at in one question. */
const lookedAt = 50;

type Parts = Pick<Services, 'db' | 'now' | 'publish' | 'config'>;

/** Goes through the conversations, a few at a time, and lets go of what is over. */
export class Retention {
  readonly #parts: Parts;
  /** Up to which conversation this round has come. */
  #after = '';

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @returns whether this round goes on */
  async some(): Promise<boolean> {
    const { db, config } = this.#parts;
    const found = await db.read((q) =>
      q
        .selectFrom('conversations')
        .select(['id', 'retention_days', 'expired_seq'])
        .where('id', '>', this.#after)
        // Where the server keeps everything, only those that do not; by an index of their own.
        .$if(config.retentionDays === 0, (query) => query.where(sql<boolean>`retention_days <> 0`))
        .orderBy('id')
        .limit(lookedAt)
        .execute(),
    );
    for (const { id, retention_days, expired_seq } of found) {
      const days = retention_days === -1 ? 0 : Math.min(...[retention_days, config.retentionDays].filter((bound) => bound > 0));
      if (await this.#expire(id, days === 0 ? Infinity : this.#parts.now() - days * dayMs, expired_seq)) return true;
      this.#after = id;
    }
    if (found.length === lookedAt) return true;
    this.#after = '';
    return false;
  }

  /** @returns whether there may be more in this conversation */
  async #expire(conversationId: string, before: number, from: number): Promise<boolean> {
    const over = (q: Query) =>
      q.selectFrom('messages').selectAll().where('conversation_id', '=', conversationId).where('seq', '>', from).orderBy('seq').limit(emptiedAtOnce).execute();
    const rows = (await this.#parts.db.read(over)).filter(({ at }) => at < before);
    const last = rows.at(-1);
    if (!last) return false;
    await emptyMessages(this.#parts, conversationId, async (q) =>
      (await over(q)).filter(({ seq, type, deleted_at }) => seq <= last.seq && type !== 'system' && deleted_at === null),
    );
    await this.#parts.db.write([], (q) => q.updateTable('conversations').set({ expired_seq: last.seq }).where('id', '=', conversationId).execute());
    return rows.length === emptiedAtOnce;
  }
}
