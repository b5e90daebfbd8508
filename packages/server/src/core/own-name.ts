import { RequestError } from '@kith/protocol';
import { sql } from 'kysely';
import type { Query } from '../db/db.ts';
import { isOperator } from './access.ts';
import { looksLike, readsAsServer } from './look-alikes.ts';

/**
 * May somebody who is no operator be called this? Not what reads as the server's own voice, and nothing that looks like the name of an
 * operator, or of those who govern a group that the person is in, while it is written otherwise.
 *
 * @param userId  Who has an account already.
 * @throws name_taken
 */
export async function requireOwnName(q: Query, name: string, userId?: string): Promise<void> {
  if (userId !== undefined && (await isOperator(q, userId))) return;
  if (await isTaken(q, name)) throw new RequestError('name_taken');
  if (userId !== undefined && (await governorsOf(q, userId)).some((other) => looksLike(name, other))) throw new RequestError('name_taken');
}

/** The same, of somebody who has no group yet. */
export async function isTaken(q: Query, name: string): Promise<boolean> {
  if (readsAsServer(name)) return true;
  const operators = await q.selectFrom('users').select('name').where('operator', '=', sql.lit(1)).where('deleted_at', 'is', null).execute();
  return operators.some((other) => looksLike(name, other.name));
}

/** Whoever comes into a group looks like none of those who govern it: their names may have been chosen for that before. @throws name_taken */
export async function requireTellApart(q: Query, conversationId: string, newcomers: string[]): Promise<void> {
  const governors = await q
    .selectFrom('members')
    .innerJoin('users', 'users.id', 'members.user_id')
    .select(['users.id', 'users.name'])
    .where('members.conversation_id', '=', conversationId)
    .where('members.state', '=', 'joined')
    .where('members.role', 'in', ['owner', 'admin'])
    .execute();
  const people = await q
    .selectFrom('users')
    .select(['id', 'name'])
    .where('id', 'in', ['', ...newcomers])
    .where('operator', '=', 0)
    .execute();
  const double = people.find((one) => governors.some((other) => other.id !== one.id && looksLike(one.name, other.name)));
  if (double) throw new RequestError('name_taken', { message: `The name of ${double.name} looks like that of somebody who governs this group.` });
}

async function governorsOf(q: Query, userId: string): Promise<string[]> {
  const rows = await q
    .selectFrom('inbox')
    .innerJoin('members', 'members.conversation_id', 'inbox.conversation_id')
    .innerJoin('users', 'users.id', 'members.user_id')
    .select('users.name')
    .distinct()
    .where('inbox.user_id', '=', userId)
    .where('inbox.joined', '=', 1)
    .where('members.user_id', '!=', userId)
    .where('members.state', '=', 'joined')
    .where('members.role', 'in', ['owner', 'admin'])
    .execute();
  return rows.map((row) => row.name);
}
