import { userStream } from '@kith/protocol';
import type { Config } from './config.ts';
import { record } from './core/audit.ts';
import { newCode, sha256 } from './core/context.ts';
import { setDisabled } from './core/disable.ts';
import { commit } from './core/streams.ts';
import { openSecrets } from './core/secrets.ts';
import { Tickets, resetMs, resetOf } from './core/tickets.ts';
import { type Database, DatabaseError } from './db/db.ts';
import { besideServer } from './db/open.ts';

// `kith admin`: what the operator does from the machine itself, beside the server, which may be running.

type Where = Pick<Config, 'data' | 'database'>;

const hourMs = 3_600_000;

/** A code with which one more operator's account is made, once, within an hour. */
export async function inviteOperator(config: Where, now = Date.now()): Promise<string> {
  const code = newCode();
  await besideServer(config, 'write', async (q) => {
    await q
      .insertInto('invites')
      .values({ code_hash: sha256(code), operator: 1, uses_left: 1, expires_at: now + hourMs, created_by: null })
      .execute();
    await record(q, now, { event: 'invite.made', detail: { operator: true, by: 'command' } });
  });
  return code;
}

/** What a link needs with which this person chooses a new password, once, within half an hour. @throws DatabaseError */
export async function resetTicket(config: Where, handle: string, now = Date.now()): Promise<string> {
  const db = beside(config);
  const user = await find(db, handle);
  if (user.password === null) throw new DatabaseError(`${handle} has no password here.`);
  const tickets = new Tickets(await openSecrets(config, { db, now: () => now }), { db, now: () => now });
  await db.write([], (q) => record(q, now, { event: 'password.reset-begun', subject: user.id, detail: { by: 'command' } }));
  return tickets.seal(resetOf(user), resetMs);
}

/** @throws DatabaseError */
export async function disableAccount(config: Where, handle: string, now = Date.now()): Promise<void> {
  const db = beside(config);
  const { id } = await find(db, handle);
  await commit({ db, now: () => now, publish: () => {} }, [userStream(id)], (c) => setDisabled(c, id, true));
}

/** The server finds out at its next heartbeat, when it asks for the newest versions. */
const beside = (config: Where): Database => ({
  read: (work) => besideServer(config, 'read', work),
  write: (_keys, work) => besideServer(config, 'write', work),
  scrub: async () => true,
  refuseWaiting() {},
  close: async () => {},
});

async function find(db: Database, handle: string): Promise<{ id: string; password: string | null }> {
  const user = await db.read((q) => q.selectFrom('users').select(['id', 'password']).where('handle', '=', handle).executeTakeFirst());
  if (!user) throw new DatabaseError(`Nobody here has the user name ${handle}.`);
  return user;
}
