import type { Conversation, Member, Message } from '@kith/protocol';
import { t } from '../i18n.ts';
import { useMe } from './useMe.ts';
import { type MenuItem, useMenu } from './useMenu.ts';
import { useToast } from './useToast.ts';

/** What can be done with a message, on right click, long press or the menu key. */
export function useMessageMenu(does: { edit: (message: Message) => void; recall: (message: Message) => void }) {
  const me = useMe();
  const { openAt } = useMenu();
  const { showToast } = useToast();

  return (event: MouseEvent, message: Message, where: { conversation: Conversation; role: Member['role'] | undefined; readBy: { read: number; of: number } }) => {
    const own = message.senderId === me.value?.id;
    const items: MenuItem[] = [
      {
        label: t('message.copy'),
        icon: 'copy',
        run: () => void navigator.clipboard.writeText(message.text).then(() => showToast(t('common.copied'))),
      },
    ];
    if (own) items.push({ label: t('message.edit'), icon: 'pencil', run: () => does.edit(message) });
    const governs = where.role === 'owner' || where.role === 'admin';
    if (own || (governs && where.conversation.type !== 'direct')) items.push({ label: t('message.recall'), icon: 'undo', danger: true, run: () => does.recall(message) });
    const { read, of } = where.readBy;
    openAt(event, { label: t('message.actions'), note: own && of > 1 ? t('message.readBy', { n: read, of }) : undefined, items });
  };
}
