import { RequestError, limits, userStream } from '@kith/protocol';
import { requireOpenToInvited } from '../core/access.ts';
import { type Handlers, newCode, sha256 } from '../core/context.ts';
import { setDisabled } from '../core/disable.ts';
import { resetMs, resetOf } from '../core/tickets.ts';

const hourMs = 3_600_000;

export const admin: Handlers<'admin.invite' | 'admin.disable' | 'admin.reset'> = {
  async 'admin.invite'(context, { uses = 1, hours = 72 }) {
    requireOpenToInvited(context);
    const code = newCode();
    const expiresAt = context.now() + hours * hourMs;
    await context.services.db.write([], async (q) => {
      await q.deleteFrom('invites').where('expires_at', '<', context.now()).execute();
      const open = await q.selectFrom('invites').select('code_hash').where('created_by', '=', context.userId).where('uses_left', '>', 0).execute();
      if (open.length >= limits.openInvites) throw new RequestError('too_many', { limit: 'openInvites', message: `At most ${limits.openInvites} invitations can be open.` });
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
    await context.commit([userStream(userId)], (c) => setDisabled(c, userId, disabled, { actor: context.userId, ip: context.caller.ip }));
    return {};
  },

  async 'admin.reset'(context, { userId }) {
    const user = await context.read((q) => q.selectFrom('users').select(['id', 'handle', 'password']).where('id', '=', userId).executeTakeFirst());
    if (!user || user.handle === null || user.password === null) throw new RequestError('not_found');
    const now = context.now();
    await context.services.db.write([], (q) => context.audit({ q, now }, 'password.reset-begun', { subject: userId }));
    return { handle: user.handle, ticket: context.services.tickets.seal(resetOf(user), resetMs), expiresAt: now + resetMs };
  },
};
