import { isQuiet } from '@kith/protocol';
import type { Config } from '../config.ts';
import type { Database, Query } from '../db/db.ts';
import { prepare } from '../db/prepare.ts';
import type { PushSubscriptionsTable } from '../db/schema.ts';
import { quietHoursOf, readSettings } from './privacy.ts';
import type { PushAnswer } from './push-services.ts';

const dayMs = 86_400_000;
/** Devices read at once. */
const pageSize = 500;

/** Devices that subscribed with a pair that is no more: their push services take nothing of ours. They subscribe anew when they connect. */
export async function dropDevicesOfOtherKeys(db: Database, known: string[]): Promise<void> {
  // Of which it is not known which pair it was; then from pair to pair, of which there are a few, and not from device to device.
  await dropDevicesOf(db, null);
  for (let pair = await nextPair(db, ''); pair !== undefined; pair = await nextPair(db, pair)) if (!known.includes(pair)) await dropDevicesOf(db, pair);
}

const nextPair = async (db: Database, after: string): Promise<string | undefined> =>
  (await db.read((q) => q.selectFrom('push_subscriptions').select('vapid').where('vapid', '>', after).orderBy('vapid').limit(1).executeTakeFirst()))?.vapid ?? undefined;

async function dropDevicesOf(db: Database, pair: string | null): Promise<void> {
  const find = (q: Query) => {
    const devices = q.selectFrom('push_subscriptions').select('session_id').limit(pageSize);
    return (pair === null ? devices.where('vapid', 'is', null) : devices.where('vapid', '=', pair)).execute();
  };
  for (let found = await db.read(find); found.length > 0; found = found.length < pageSize ? [] : await db.read(find)) {
    const ids = found.map((row) => row.session_id);
    await db.write(ids, (q) => dropDevices(q, ids));
  }
}

/** Subscriptions whose session lives: not ended, and not over by disuse or age, of which nobody may have been told yet. */
export function liveDevices(q: Query, { sessionIdleDays, sessionMaxDays }: Config, now: number) {
  return q
    .selectFrom('push_subscriptions')
    .innerJoin('sessions', 'sessions.id', 'push_subscriptions.session_id')
    .selectAll('push_subscriptions')
    .where('sessions.ended_at', 'is', null)
    .where('sessions.used_at', '>=', now - sessionIdleDays * dayMs)
    .where('sessions.created_at', '>=', now - sessionMaxDays * dayMs);
}

export function findDevice(q: Query, config: Config, now: number, sessionId: string): Promise<PushSubscriptionsTable | undefined> {
  return liveDevices(q, config, now).where('push_subscriptions.session_id', '=', sessionId).executeTakeFirst();
}

/** Those of these people, but for whom it is quiet now. */
export async function devicesOf(q: Query, config: Config, now: number, userIds: string[]): Promise<PushSubscriptionsTable[]> {
  const settings = await readSettings(q, userIds);
  const awake = userIds.filter((userId) => !isQuiet(quietHoursOf(settings.get(userId)!), now));
  return liveDevices(q, config, now)
    .where('push_subscriptions.user_id', 'in', ['', ...awake])
    .execute();
}

const findDevicesToTell = prepare((q, { conversationId, seq, now, from }: { conversationId: string; seq: number; now: number; from: string }) =>
  q
    .selectFrom('members')
    .innerJoin('push_subscriptions', 'push_subscriptions.user_id', 'members.user_id')
    .innerJoin('inbox', (on) => on.onRef('inbox.user_id', '=', 'members.user_id').onRef('inbox.conversation_id', '=', 'members.conversation_id'))
    .select(['push_subscriptions.session_id as sessionId', 'members.user_id as userId'])
    .where('members.conversation_id', '=', conversationId)
    .where('members.user_id', '>=', from)
    .where('members.state', '=', 'joined')
    .where('inbox.read_seq', '<', seq)
    .where('inbox.muted_until', '<=', now)
    .orderBy('members.user_id')
    .limit(pageSize),
);

/**
 * Devices of members that have not read up to `seq` and not muted the conversation, from a member on, by member. A page
 * may begin with what the last one ended with.
 *
 * @returns no `next`: that was all
 */
export async function devicesToTell(
  db: Database,
  { conversationId, seq, now, from }: { conversationId: string; seq: number; now: number; from: string },
): Promise<{ devices: { sessionId: string; userId: string }[]; next?: string }> {
  return db.read(async (q) => {
    const devices = await findDevicesToTell.all(q, { conversationId, seq, now, from });
    return devices.length < pageSize ? { devices } : { devices, next: devices.at(-1)!.userId };
  });
}

/** Keeps what the push service answered; who is gone is forgotten. */
export async function recordAnswer(q: Query, { session_id, endpoint }: PushSubscriptionsTable, { status }: PushAnswer, now: number): Promise<void> {
  if (status === 404 || status === 410) return dropDevices(q, [session_id], endpoint);
  await q
    .updateTable('push_subscriptions')
    .set({ last_at: now, last_status: status ?? 0 })
    .where('session_id', '=', session_id)
    .where('endpoint', '=', endpoint)
    .execute();
}

/** @param endpoint  Only if it is still this one: a browser may have subscribed anew meanwhile. */
export async function dropDevices(q: Query, sessionIds: string[], endpoint?: string): Promise<void> {
  if (sessionIds.length === 0) return;
  const dropped = await q
    .deleteFrom('push_subscriptions')
    .where('session_id', 'in', sessionIds)
    .$if(endpoint !== undefined, (query) => query.where('endpoint', '=', endpoint!))
    .returning('session_id')
    .execute();
  const ids = dropped.map((row) => row.session_id);
  if (ids.length > 0) await q.deleteFrom('push_told').where('session_id', 'in', ids).execute();
}

/**
 * This device is about to be told up to `seq`. From this commit on, whoever looks for what to take back finds it.
 *
 * @returns up to where it was told before, 0 for nothing; undefined: it was told this, by somebody else, or it is read, or the device is gone
 */
export async function claim(q: Query, device: PushSubscriptionsTable, conversationId: string, seq: number): Promise<number | undefined> {
  const { session_id, user_id } = device;
  const unread = await q
    .selectFrom('push_subscriptions')
    .innerJoin('inbox', 'inbox.user_id', 'push_subscriptions.user_id')
    .select('inbox.read_seq')
    .where('push_subscriptions.session_id', '=', session_id)
    .where('inbox.conversation_id', '=', conversationId)
    .where('inbox.read_seq', '<', seq)
    .executeTakeFirst();
  if (!unread) return undefined;
  const before = await q.selectFrom('push_told').select('seq').where('session_id', '=', session_id).where('conversation_id', '=', conversationId).executeTakeFirst();
  const claimed = await q
    .insertInto('push_told')
    .values({ session_id, conversation_id: conversationId, user_id, seq })
    .onConflict((conflict) => conflict.columns(['session_id', 'conversation_id']).doUpdateSet({ seq }).where('push_told.seq', '<', seq))
    .returning('seq')
    .executeTakeFirst();
  return claimed && (before?.seq ?? 0);
}

/** It was not told after all. */
export async function giveBack(q: Query, { session_id }: PushSubscriptionsTable, conversationId: string, seq: number, before: number): Promise<void> {
  if (before === 0) return forgetTold(q, [session_id], conversationId, seq);
  await q.updateTable('push_told').set({ seq: before }).where('session_id', '=', session_id).where('conversation_id', '=', conversationId).where('seq', '=', seq).execute();
}

/** Devices of a person on which a notification of this conversation stands that is read by now. */
export async function toldDevices(q: Query, userId: string, conversationId: string, readSeq: number): Promise<string[]> {
  const rows = await q
    .selectFrom('push_told')
    .select('session_id')
    .where('user_id', '=', userId)
    .where('conversation_id', '=', conversationId)
    .where('seq', '<=', readSeq)
    .execute();
  return rows.map((row) => row.session_id);
}

export async function forgetTold(q: Query, sessionIds: string[], conversationId: string, upTo: number): Promise<void> {
  await q.deleteFrom('push_told').where('session_id', 'in', sessionIds).where('conversation_id', '=', conversationId).where('seq', '<=', upTo).execute();
}
