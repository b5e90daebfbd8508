import type { Profile } from '@kith/protocol';
import { useRouter } from 'vue-router';
import { t } from '../i18n.ts';
import { attempt } from './useClient.ts';
import { useConfirm } from './useConfirm.ts';

/** What one does with people. */
export function useContacts() {
  const router = useRouter();
  const { confirm } = useConfirm();
  return {
    search: async (query: string): Promise<Profile[] | undefined> => (await attempt('user.search', { query }))?.users,
    request: async (userId: string, note: string) => (await attempt('friend.request', note ? { userId, note } : { userId })) !== undefined,
    accept: (userId: string) => attempt('friend.accept', { userId }),
    refuse: (userId: string) => attempt('friend.refuse', { userId }),
    remark: (userId: string, remark: string) => attempt('friend.remark', { userId, remark }),
    unblock: (userId: string) => attempt('block.remove', { userId }),
    async block(userId: string, name: string) {
      if (await confirm({ title: t('person.blockTitle', { name }), text: t('person.blockText'), yes: t('person.block') })) await attempt('block.add', { userId });
    },
    async remove(userId: string, name: string) {
      if (await confirm({ title: t('person.removeTitle', { name }), text: t('person.removeText'), yes: t('person.remove') })) await attempt('friend.remove', { userId });
    },
    /** Opens the conversation of you two. */
    async message(userId: string) {
      const opened = await attempt('conversation.direct', { userId });
      if (opened) await router.push(`/c/${opened.conversation.id}`);
    },
  };
}
