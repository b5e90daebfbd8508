import { type Conversation, type Member, limits } from '@kith/protocol';
import { computed, ref } from 'vue';
import { useRouter } from 'vue-router';
import { t } from '../i18n.ts';
import { attempt, findClient, fromReplica } from './useClient.ts';
import { useConfirm } from './useConfirm.ts';
import { useMe } from './useMe.ts';
import { usePeople } from './usePeople.ts';

const rank = { owner: 0, admin: 1, member: 2 } as const;

/** The members of a conversation and what one may do with it. */
export function useGroup(conversationId: string) {
  const router = useRouter();
  const me = useMe();
  const { person } = usePeople();
  const { confirm } = useConfirm();
  const joined = fromReplica<Member[]>(['member'], (client) => client.store.members(conversationId).filter((member) => member.state === 'joined'), []);
  const members = computed(() => joined.value.toSorted((a, b) => rank[a.role] - rank[b.role] || a.joinedAt - b.joinedAt || (a.userId < b.userId ? -1 : 1)));
  const conversation = fromReplica<Conversation | undefined>(['conversation'], (client) => client.store.get('conversation', conversationId), undefined);
  const role = computed(() => joined.value.find((member) => member.userId === me.value?.id)?.role);
  /** Of a large group this device was told of a part only. */
  const hasAll = computed(() => joined.value.length >= (conversation.value?.memberCount ?? 0));
  const loading = ref(false);

  /** Asks for the members that this device does not hold, page by page. */
  async function loadAll() {
    if (loading.value) return;
    loading.value = true;
    let after: string | undefined;
    while (!hasAll.value) {
      const page: { members: Member[]; more: boolean } | undefined = await attempt('member.list', { conversationId, limit: limits.historyPage, ...(after && { after }) });
      after = page?.members.at(-1)?.userId;
      if (!page?.more) break;
    }
    loading.value = false;
  }

  /** Who put one into this group: the latest who is said to have, else who made it. */
  function inviter(): string | undefined {
    const own = me.value?.id ?? '';
    const lines = [...(findClient()?.store.messages(conversationId) ?? [])].filter(
      ({ event }) => (event?.type === 'added' || event?.type === 'created') && event.userIds?.includes(own),
    );
    return lines.toSorted((a, b) => a.seq - b.seq).at(-1)?.senderId ?? conversation.value?.createdBy ?? undefined;
  }

  function leaveText(): string {
    if (conversation.value?.type !== 'group' || role.value !== 'owner') return t('group.leaveText');
    // As the server chooses: the longest-standing admin, else the longest-standing member.
    const heir = hasAll.value ? members.value.find((member) => member.userId !== me.value?.id) : undefined;
    if (conversation.value.memberCount <= 1) return t('group.leaveLast');
    return t('group.leaveOwner', { heir: heir ? person(heir.userId, conversationId).name : t('group.heir') });
  }

  return {
    members,
    role,
    hasAll,
    loading,
    loadAll,
    inviter,
    governs: computed(() => role.value === 'owner' || role.value === 'admin' || (conversation.value?.type === 'room' && me.value?.operator === true)),
    accept: () => attempt('conversation.accept', { conversationId }),
    rename: async (title: string) => (await attempt('conversation.update', { conversationId, title })) !== undefined,
    paint: async (avatar: string) => (await attempt('conversation.update', { conversationId, avatar })) !== undefined,
    keep: (days: number) => attempt('conversation.retention', { conversationId, days }),
    pin: (on: boolean) => attempt('conversation.pin', { conversationId, on }),
    /** `until`: 0 ends it; `Number.MAX_SAFE_INTEGER` is for ever. */
    mute: (until: number) => attempt('conversation.mute', { conversationId, until }),
    add: async (userIds: string[]) => (await attempt('member.add', { conversationId, userIds })) !== undefined,
    async remove(userId: string, name: string) {
      if (await confirm({ title: t('group.removeTitle', { name }), text: t('group.removeText'), yes: t('group.remove') }))
        await attempt('member.remove', { conversationId, userId });
    },
    setRole: (userId: string, to: 'admin' | 'member') => attempt('member.role', { conversationId, userId, role: to }),
    async handOver(userId: string, name: string) {
      if (await confirm({ title: t('group.handOverTitle', { name }), text: t('group.handOverText'), yes: t('group.handOver') }))
        await attempt('member.role', { conversationId, userId, role: 'owner' });
    },
    async leave(title: string) {
      if (!(await confirm({ title: t('group.leaveTitle', { name: title }), text: leaveText(), yes: t('group.leaveGo') }))) return;
      if (await attempt('conversation.leave', { conversationId })) await router.replace('/');
    },
    async dissolve(title: string) {
      const n = conversation.value?.memberCount ?? 0;
      if (!(await confirm({ title: t('group.dissolveTitle', { name: title }), text: t('group.dissolveText', { n }, n), yes: t('group.dissolveGo') }))) return;
      if (await attempt('conversation.dissolve', { conversationId })) await router.replace('/');
    },
  };
}
