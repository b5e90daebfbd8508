import { RequestError, isQuiet, limits, userStream } from '@kith/protocol';
import type { Handlers } from '../core/context.ts';
import { dropDevices, findDevice, liveDevices } from '../core/push-devices.ts';
import { isPushEndpoint } from '../core/push-services.ts';
import { quietHoursOf, readSettings } from '../core/privacy.ts';
import { areDeviceKeys } from '../core/web-push.ts';

/** Milliseconds between two tests of one device: each is a request of ours to somebody else's server. */
const testEveryMs = 3_000;

export const push: Handlers<'push.key' | 'push.subscribe' | 'push.unsubscribe' | 'push.test' | 'push.check'> = {
  'push.key': async (context) => ({ publicKey: context.services.push.publicKey }),

  async 'push.subscribe'(context, { endpoint, p256dh, auth, publicKey: vapid = context.services.push.publicKey }) {
    const { config } = context;
    const { userId, sessionId } = context.identity;
    if (!isPushEndpoint(endpoint, config.pushHosts))
      throw new RequestError('bad_request', { path: 'params.endpoint', message: 'params.endpoint: not the address of a push service known here' });
    if (!areDeviceKeys({ p256dh, auth })) throw new RequestError('bad_request', { path: 'params.p256dh', message: 'params.p256dh: no key that a push can be encrypted for' });
    if (!context.services.push.isKnown(vapid)) throw new RequestError('bad_request', { path: 'params.publicKey', message: 'params.publicKey: not the key of this server' });
    // Under the lock of the person's stream, which ending a session takes too: no subscription outlives its session.
    await context.commit([userStream(userId)], async (c) => {
      const session = await c.q.selectFrom('sessions').select('id').where('id', '=', sessionId).where('ended_at', 'is', null).executeTakeFirst();
      if (!session) throw new RequestError('unauthenticated');
      // The same browser, signed in as somebody before: from now on it shows what is this person's.
      const before = await c.q.selectFrom('push_subscriptions').select(['session_id', 'endpoint']).where('endpoint', '=', endpoint).where('session_id', '!=', sessionId).execute();
      await dropDevices(
        c.q,
        before.map((row) => row.session_id),
        endpoint,
      );
      const own = await c.q.selectFrom('push_subscriptions').select('endpoint').where('session_id', '=', sessionId).executeTakeFirst();
      if (own && own.endpoint !== endpoint) await dropDevices(c.q, [sessionId]);
      const others = await liveDevices(c.q, config, c.now).where('push_subscriptions.user_id', '=', userId).where('push_subscriptions.session_id', '!=', sessionId).execute();
      if (others.length >= limits.pushSubscriptions)
        throw new RequestError('too_many', { limit: 'pushSubscriptions', message: `Pushes go to at most ${limits.pushSubscriptions} devices of a person.` });
      await c.q
        .insertInto('push_subscriptions')
        .values({ session_id: sessionId, user_id: userId, endpoint, p256dh, auth, vapid, created_at: c.now, last_at: null, last_status: null })
        .onConflict((conflict) => conflict.column('session_id').doUpdateSet({ p256dh, auth, vapid }))
        .execute();
    });
    return {};
  },

  async 'push.unsubscribe'(context, { endpoint }) {
    const { userId } = context;
    await context.services.db.write([userStream(userId)], async (q) => {
      const own = await q.selectFrom('push_subscriptions').select('session_id').where('endpoint', '=', endpoint).where('user_id', '=', userId).execute();
      await dropDevices(
        q,
        own.map((row) => row.session_id),
        endpoint,
      );
    });
    return {};
  },

  async 'push.test'(context) {
    const { config } = context;
    const { sessionId } = context.identity;
    const device = await context.read((q) => findDevice(q, config, context.now(), sessionId));
    const waitMs = (device?.last_at ?? 0) + testEveryMs - context.now();
    if (config.rateLimits && waitMs > 0) throw new RequestError('rate_limited', { retryAfterMs: Math.min(waitMs, testEveryMs) });
    const { status } = await context.services.push.test(context.identity);
    return { status, ok: status !== null && status >= 200 && status < 300 };
  },

  async 'push.check'(context) {
    const { config } = context;
    const { userId, sessionId } = context.identity;
    const now = context.now();
    const here = context.services.push.isElsewhere(context.identity);
    const elsewhere = await context.services.presence.elsewhere([userId]);
    return context.read(async (q) => {
      const device = await findDevice(q, config, now, sessionId);
      const settings = (await readSettings(q, [userId])).get(userId)!;
      const muted = await q
        .selectFrom('inbox')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('user_id', '=', userId)
        .where('joined', '=', 1)
        .where('muted_until', '>', now)
        .executeTakeFirstOrThrow();
      return {
        subscribed: device !== undefined,
        last: device && device.last_at !== null ? { at: device.last_at, status: device.last_status || null } : null,
        mutedConversations: Number(muted.count),
        quietNow: isQuiet(quietHoursOf(settings), now),
        content: settings.push_content === 1,
        otherDeviceActive: here || elsewhere.has(userId),
      };
    });
  },
};
