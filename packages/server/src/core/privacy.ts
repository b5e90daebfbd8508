import type { Query } from '../db/db.ts';
import type { SettingsTable } from '../db/schema.ts';

/** What holds for a person who has never decided otherwise. */
export const defaultSettings = {
  read_receipts: 1,
  typing: 1,
  presence: 'everyone',
  groups_from: 'anyone',
  findable: 1,
  push_content: 0,
  link_previews: 1,
  quiet_from: null,
  quiet_to: null,
  time_zone: 'UTC',
} as const satisfies Omit<SettingsTable, 'user_id' | 'version'>;

/** The settings of these people, by id; who has none has the defaults. */
export async function readSettings(q: Query, userIds: string[]): Promise<Map<string, Omit<SettingsTable, 'version' | 'user_id'>>> {
  const rows = userIds.length === 0 ? [] : await q.selectFrom('settings').selectAll().where('user_id', 'in', userIds).execute();
  const found = new Map(rows.map((row) => [row.user_id, row]));
  return new Map(userIds.map((userId) => [userId, found.get(userId) ?? defaultSettings]));
}

/** Of these, those who are shown to everybody with whom they share a conversation. */
export async function shownToAll(q: Query, userIds: string[]): Promise<Set<string>> {
  const settings = await readSettings(q, userIds);
  return new Set(userIds.filter((userId) => settings.get(userId)!.presence === 'everyone'));
}

export const quietHoursOf = ({ quiet_from, quiet_to, time_zone }: Pick<SettingsTable, 'quiet_from' | 'quiet_to' | 'time_zone'>) => ({
  quietFrom: quiet_from,
  quietTo: quiet_to,
  timeZone: time_zone,
});
