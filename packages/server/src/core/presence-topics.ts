import type { Services } from './context.ts';
import { type Topic, encodeSignal } from './core.ts';
import type { Change } from './presence.ts';
import { readSettings } from './privacy.ts';

/** Followed by friends. */
export const friendsTopic = (userId: string): Topic => `presence:${userId}`;
/** Followed by people who only share a conversation. */
export const sharedTopic = (userId: string): Topic => `presence:${userId}/shared`;

/** Whom a topic is about; undefined where one needs no shared conversation to follow it. */
export const sharedPerson = (topic: Topic): string | undefined => /^presence:(.+)\/shared$/.exec(topic)?.[1];

/**
 * Tells those who watch these people, as far as each lets them.
 *
 * @param at  When they came or went.
 */
export async function tellPresence(services: Services, changes: Change[], at = services.now()): Promise<void> {
  const userIds = changes.map(({ userId }) => userId);
  const settings = await services.db.read((q) => readSettings(q, userIds));
  for (const { userId, online } of changes) {
    const { presence } = settings.get(userId)!;
    const frame = encodeSignal({ signal: 'presence', data: { userId, online, lastSeenAt: at } });
    const topics = presence === 'everyone' ? [friendsTopic(userId), sharedTopic(userId)] : presence === 'friends' ? [friendsTopic(userId)] : [];
    services.publish(topics.map((topic) => ({ kind: 'signal', topic, frame })));
  }
}

/** The person has become less visible: those who may not see them any more see them leave, and hear nothing from then on. */
export function hidePresence(services: Services, userId: string, from: 'strangers' | 'everyone'): void {
  const frame = encodeSignal({ signal: 'presence', data: { userId, online: false, lastSeenAt: null } });
  const topics = from === 'everyone' ? [sharedTopic(userId), friendsTopic(userId)] : [sharedTopic(userId)];
  for (const topic of topics) {
    services.publish([
      { kind: 'signal', topic, frame },
      { kind: 'control', topic, unfollow: [topic] },
    ]);
  }
}
