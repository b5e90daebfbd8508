import type { Friend, Member, Profile } from '@kith/protocol';
import { computed, reactive } from 'vue';
import { t } from '../i18n.ts';
import { findClient, fromReplica } from './useClient.ts';
import { useMe } from './useMe.ts';

export interface Person {
  id: string;
  /** The name to show: a remark of one's own goes before the name they chose. */
  name: string;
  /** The name they chose. */
  ownName: string;
  seed: string;
  handle: string | null;
  bio?: string;
  guest?: boolean;
  friend?: Friend;
}

const friends = fromReplica<Map<string, Friend>>(['friend'], (client) => new Map(client.store.list('friend').map((friend) => [friend.userId, friend])), new Map());
/** People looked up on the server, by id. Bounded by how many one looks at. */
const looked = reactive(new Map<string, Profile>());
const asked = new Set<string>();

const me = useMe();

/** Everybody one can see: friends, members of one's conversations, people looked up. */
export function usePeople() {
  function person(userId: string, conversationId?: string): Person {
    const client = findClient();
    const friend = friends.value.get(userId);
    const member = conversationId ? client?.store.get('member', conversationId, userId) : undefined;
    const profile = looked.get(userId);
    const own = me.value?.id === userId ? me.value : undefined;
    const from: Pick<Member, 'name' | 'avatar' | 'handle'> | undefined = own ?? member ?? profile ?? friend;
    if (!from) void lookUp(userId);
    const ownName = from?.name || t('people.unknown');
    return {
      id: userId,
      name: friend?.remark || ownName,
      ownName,
      seed: from?.avatar || userId,
      handle: from?.handle ?? null,
      bio: own?.bio ?? profile?.bio,
      guest: own?.guest ?? profile?.guest,
      friend,
    };
  }

  async function lookUp(userId: string, again = false): Promise<void> {
    const client = findClient();
    if (!client || (asked.has(userId) && !again)) return;
    asked.add(userId);
    try {
      const { user } = await client.call('user.get', { userId });
      looked.set(userId, user);
    } catch {
      asked.delete(userId);
    }
  }

  return {
    person,
    lookUp,
    friends: computed(() => [...friends.value.values()].filter((friend) => friend.state === 'friends' && !friend.blocked)),
    incoming: computed(() => [...friends.value.values()].filter((friend) => friend.state === 'incoming' && !friend.blocked).sort((a, b) => b.since - a.since)),
    outgoing: computed(() => [...friends.value.values()].filter((friend) => friend.state === 'outgoing' && !friend.blocked).sort((a, b) => b.since - a.since)),
    blocked: computed(() => [...friends.value.values()].filter((friend) => friend.blocked)),
  };
}
