import type { ConversationView } from '@kith/client';
import { type Message, plainText } from '@kith/protocol';
import type { IconName } from '../components/ui/icons.ts';
import { t } from '../i18n.ts';
import { fileInWords } from './file-words.ts';
import { useFormat } from './useFormat.ts';
import { useMe } from './useMe.ts';
import { usePeople } from './usePeople.ts';

/** Messages in one line of words: list previews and lines of the system. */
export function useSummary() {
  const me = useMe();
  const { person } = usePeople();
  const { list } = useFormat();
  const subject = (userId: string, conversationId: string) => (userId === me.value?.id ? t('people.you') : person(userId, conversationId).name);
  const object = (userId: string, conversationId: string) => (userId === me.value?.id ? t('people.youObject') : person(userId, conversationId).name);

  function systemLine(message: Message): string {
    return joined(systemText(message));
  }

  /** Of people who came and went one after the other: where each of them is now. */
  function movesLine(messages: readonly Message[]): string {
    const last = new Map<string, boolean>();
    for (const { event, senderId } of messages) for (const id of event?.type === 'added' ? (event.userIds ?? []) : [senderId]) last.set(id, event?.type === 'added');
    const names = (came: boolean) => {
      const all = [...last].filter(([, is]) => is === came).map(([id]) => subject(id, messages[0]!.conversationId));
      const more = all.length - namesShown;
      return list(more > 1 ? [...all.slice(0, namesShown), t('system.others', { n: more }, more)] : all);
    };
    const [came, left] = [names(true), names(false)];
    return [came && joined(t('system.joined', { a: came })), left && joined(t('system.left', { a: left }))].filter(Boolean).join(' · ');
  }

  function systemText(message: Message): string {
    const { event, conversationId } = message;
    const a = subject(message.senderId, conversationId);
    const b = list((event?.userIds ?? []).map((id) => object(id, conversationId)));
    switch (event?.type) {
      case 'created':
        return t('system.created', { a });
      case 'renamed':
        return t('system.renamed', { a, title: event.title ?? '' });
      case 'picture':
        return t('system.picture', { a });
      case 'added':
        return event.userIds?.length === 1 && event.userIds[0] === message.senderId ? t('system.joined', { a }) : t('system.added', { a, b });
      case 'removed':
        return t('system.removed', { a, b });
      case 'left':
        return t('system.left', { a });
      case 'retention':
        return event.days ? t('system.retention', { a, n: event.days }, event.days) : t('system.retentionNone', { a });
      case 'role':
        return t(event.role === 'owner' ? 'system.owner' : event.role === 'admin' ? 'system.admin' : 'system.member', { a, b });
      default:
        return message.text;
    }
  }

  function recalledLine(message: Message): string {
    const by = message.deletedBy ?? message.senderId;
    const a = subject(by, message.conversationId);
    return joined(by === message.senderId ? t('system.recalled', { a }) : t('system.recalledOther', { a, b: object(message.senderId, message.conversationId) }));
  }

  return {
    /** Of one message, or of several that are one line. */
    systemLine: (messages: readonly Message[]) => (messages.length > 1 ? movesLine(messages) : systemLine(messages[0]!)),
    recalledLine,
    /** What stands before the preview of a message with a file. */
    previewIcon: ({ lastMessage, pending }: ConversationView): IconName | undefined => {
      const shown = pending?.state === 'waiting' ? pending : lastMessage;
      return shown && fileInWords(shown)?.icon;
    },
    /** Of the last message of a conversation, with the sender's name where it could be anybody's. */
    preview(view: ConversationView): string {
      const message = view.lastMessage;
      if (view.pending && view.pending.state === 'waiting') return oneLine(view.pending.text) || (fileInWords(view.pending)?.word ?? '');
      if (!message) return '';
      if (message.type === 'system') return systemLine(message);
      if (message.deletedAt) return recalledLine(message);
      const text = oneLine(message.text) || (fileInWords(message)?.word ?? '');
      if (view.conversation.type === 'direct' || message.senderId === me.value?.id) return text;
      return t('list.from', { name: person(message.senderId, message.conversationId).name, text });
    },
  };
}

/** Of many who came at once, so many are named. */
const namesShown = 3;

/** A space parts a name from Chinese words, but not Chinese words from each other: 你将群名改为. */
const joined = (line: string) => line.replace(/^你 /, '你');

// Of a long text only the beginning is read: a list has many rows, and each shows a line.
const oneLine = (text: string) => plainText(text.slice(0, 500)).slice(0, 200);
