import { RequestError, userStream } from '@kith/protocol';
import { requireOpenToInvited } from '../core/access.ts';
import { type Handlers, newCode, sha256 } from '../core/context.ts';
import { readUser } from '../core/entities.ts';
import { endSessions } from '../core/sessions.ts';

const hourMs = 3_600_000;

export const admin: Handlers<'admin.invite' | 'admin.disable'> = {
  async 'admin.invite'(context, { uses = 1, hours = 72 }) {
    requireOpenToInvited(context);
    const code = newCode();
    const expiresAt = context.now() + hours * hourMs;
    await context.services.db.write([], async (q) => {
      await q.deleteFrom('invites').where('expires_at', '<', context.now()).execute();
      await q
        .insertInto('invites')
        .values({ code_hash: sha256(code), operator: 0, uses_left: uses, expires_at: expiresAt, created_by: context.userId })
        .execute();
      await context.audit({ q, now: context.now() }, 'invite.made', { detail: { uses, hours } });
    });
    return { code, expiresAt };
  },

  async 'admin.disable'(context, { userId, disabled }) {
    if (userId === context.userId) throw new RequestError('bad_request', { path: 'params.userId', message: 'params.userId: this is you' });
    await context.commit([userStream(userId)], async (c) => {
      const own = userStream(userId);
      const row = await c.q.selectFrom('users').select('disabled_at').where('id', '=', userId).executeTakeFirstOrThrow();
      if ((row.disabled_at !== null) === disabled) throw c.unchanged(undefined);
      await c.q
        .updateTable('users')
        .set({ disabled_at: disabled ? c.now : null, version: c.version(own) })
        .where('id', '=', userId)
        .execute();
      c.put(own, await readUser(c.q, userId));
      await context.audit(c, disabled ? 'account.disabled' : 'account.enabled', { subject: userId });
      if (disabled) await endSessions(c, userId, 'disabled', {}, { as: 'accountDisabled', actor: context.userId, ip: context.caller.ip });
    });
    return {};
  },
};
