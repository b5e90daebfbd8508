import type { FileRef, Message } from '@kith/protocol';
import type { IconName } from '../components/ui/icons.ts';
import { t } from '../i18n.ts';
import { playTime } from './play-time.ts';
import { type FileKind, kindOf } from './shown-file.ts';

const icons: Record<FileKind, IconName> = { picture: 'image', video: 'video', voice: 'mic', sound: 'sound', file: 'file' };

/** What a file is called where it is only spoken of: by what it is, or by its name where that says more. */
export function fileWord(kind: FileKind, name: string): string {
  if (kind === 'picture') return t('file.picture');
  if (kind === 'video') return t('file.video');
  return kind === 'voice' ? t('file.voice') : name;
}

/** The same of a message: a word and an icon. */
export function fileInWords({ type, file }: { type: Message['type']; file?: Pick<FileRef, 'name' | 'type' | 'durationMs'> }): { word: string; icon: IconName } | undefined {
  if (!file) return undefined;
  const kind = kindOf(type, file.type);
  const word = fileWord(kind, file.name);
  return { word: kind === 'voice' && file.durationMs !== undefined ? `${word} ${playTime(file.durationMs)}` : word, icon: icons[kind] };
}
