import { RequestError, userStream } from '@kith/protocol';
import type { Handlers } from '../core/context.ts';
import { toSettings } from '../core/entities.ts';
import { everyPresence } from '../core/core.ts';
import { hidePresence, tellPresence } from '../core/presence-topics.ts';
import { defaultSettings } from '../core/privacy.ts';
import type { SettingsTable } from '../db/schema.ts';

export const settings: Handlers<'settings.update'> = {
  async 'settings.update'(context, { readReceipts, typing, presence, groups, findable, pushContent, linkPreviews, quietFrom, quietTo, timeZone }) {
    const { userId } = context;
    if (timeZone !== undefined) requireTimeZone(timeZone);
    const own = userStream(userId);
    const { roomsOnline } = context.services;
    let was = presence;
    const result = await context.commit([own], async (c) => {
      const row = await c.q.selectFrom('settings').selectAll().where('user_id', '=', userId).executeTakeFirst();
      const before: SettingsTable = row ?? { user_id: userId, version: 0, ...defaultSettings };
      const after: SettingsTable = {
        user_id: userId,
        version: c.version(own),
        read_receipts: flag(readReceipts) ?? before.read_receipts,
        typing: flag(typing) ?? before.typing,
        presence: presence ?? before.presence,
        groups_from: groups ?? before.groups_from,
        findable: flag(findable) ?? before.findable,
        push_content: flag(pushContent) ?? before.push_content,
        link_previews: flag(linkPreviews) ?? before.link_previews,
        quiet_from: quietFrom === undefined ? before.quiet_from : quietFrom,
        quiet_to: quietTo === undefined ? before.quiet_to : quietTo,
        time_zone: timeZone ?? before.time_zone,
      };
      if (row && JSON.stringify({ ...after, version: 0 }) === JSON.stringify({ ...before, version: 0 })) throw c.unchanged({ settings: toSettings(row) });
      await c.q
        .insertInto('settings')
        .values(after)
        .onConflict((conflict) => conflict.column('user_id').doUpdateSet(after))
        .execute();
      c.put(own, toSettings(after));
      was = before.presence;
      // Who hides from everybody hears no more of others either, from this commit on.
      if (after.presence === 'nobody') c.unfollow(own, everyPresence);
      return { settings: toSettings(after) };
    });
    if (presence === 'nobody' || presence === 'friends') hidePresence(context.services, userId, presence === 'nobody' ? 'everyone' : 'strangers');
    if (was === 'everyone' && presence !== 'everyone') await roomsOnline.hidden(userId);
    if (presence === 'friends' || presence === 'everyone') {
      await context.services.presence.settled();
      const online = await context.read(async (q) => (await context.services.presence.among(q, [userId])).has(userId));
      await tellPresence(context.services, [{ userId, online }]);
      if (was !== presence && online) await roomsOnline.changed([{ userId, online }]);
    }
    return result;
  },
};

const flag = (given: boolean | undefined): 0 | 1 | undefined => (given === undefined ? undefined : given ? 1 : 0);

/** @throws bad_request */
function requireTimeZone(name: string): void {
  try {
    Intl.DateTimeFormat('en', { timeZone: name });
  } catch {
    throw new RequestError('bad_request', { path: 'params.timeZone', message: 'params.timeZone: no such time zone' });
  }
}
