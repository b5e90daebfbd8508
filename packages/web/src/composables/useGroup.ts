import type { Member } from '@kith/protocol';
import { computed } from 'vue';
import { useRouter } from 'vue-router';
import { t } from '../i18n.ts';
import { attempt, fromReplica } from './useClient.ts';
import { useConfirm } from './useConfirm.ts';
import { useMe } from './useMe.ts';

const rank = { owner: 0, admin: 1, member: 2 } as const;

/** The members of a conversation and what one may do with it. */
export function useGroup(conversationId: string) {
  const router = useRouter();
  const me = useMe();
  const { confirm } = useConfirm();
  const joined = fromReplica<Member[]>(['member'], (client) => client.store.members(conversationId).filter((member) => member.state === 'joined'), []);
  const members = computed(() => joined.value.toSorted((a, b) => rank[a.role] - rank[b.role] || a.joinedAt - b.joinedAt));
  const role = computed(() => joined.value.find((member) => member.userId === me.value?.id)?.role);

  return {
    members,
    role,
    governs: computed(() => role.value === 'owner' || role.value === 'admin'),
    accept: () => attempt('conversation.accept', { conversationId }),
    rename: async (title: string) => (await attempt('conversation.update', { conversationId, title })) !== undefined,
    pin: (on: boolean) => attempt('conversation.pin', { conversationId, on }),
    /** `until`: 0 ends it; `Number.MAX_SAFE_INTEGER` is for ever. */
    mute: (until: number) => attempt('conversation.mute', { conversationId, until }),
    add: async (userIds: string[]) => (await attempt('member.add', { conversationId, userIds })) !== undefined,
    async remove(member: Member, name: string) {
      if (await confirm({ title: t('group.removeTitle', { name }), text: t('group.removeText'), yes: t('group.remove') }))
        await attempt('member.remove', { conversationId, userId: member.userId });
    },
    setRole: (userId: string, to: Member['role']) => attempt('member.role', { conversationId, userId, role: to }),
    async leave(title: string) {
      if (!(await confirm({ title: t('group.leaveTitle', { name: title }), text: t('group.leaveText'), yes: t('group.leave') }))) return;
      if (await attempt('conversation.leave', { conversationId })) await router.replace('/');
    },
  };
}
