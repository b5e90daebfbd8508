import { limits } from '@kith/protocol';
import { type ShallowRef, computed, reactive, ref, shallowRef } from 'vue';
import { t } from '../i18n.ts';
import { isPlayed, keepLocal } from './local-files.ts';
import { type FileKind, kindOf } from './shown-file.ts';
import { useClient } from './useClient.ts';
import { useFormat } from './useFormat.ts';
import { useServer } from './useServer.ts';

/** A file that was chosen and is not sent yet. */
export interface TrayItem {
  key: number;
  bytes: Blob;
  name: string;
  size: number;
  /** The media type, as the browser names it. */
  type: string;
  kind: FileKind;
  /** Object URLs. */
  url: string;
  poster?: string;
  posterBytes?: Blob;
  width?: number;
  height?: number;
  durationMs?: number;
}

interface Held {
  items: ShallowRef<TrayItem[]>;
  /** Pictures go out as they are, with the place where they were taken. */
  original: boolean;
  /** What was found out, by key; also of what has just been sent. */
  measured: Map<number, Promise<Partial<TrayItem>>>;
}

/** What waits in each conversation. It stays while one looks elsewhere, until the page goes. */
const held = new Map<string, Held>();
let lastKey = 0;

/** The types of pictures that people see in place. */
const picturesShown = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif']);

export type Tray = ReturnType<typeof useTray>;

/** Files that are chosen for one conversation, in the order in which they will be sent. */
export function useTray(conversationId: string) {
  const client = useClient();
  const { server } = useServer();
  const { bytes } = useFormat();
  if (!held.has(conversationId)) held.set(conversationId, reactive({ items: shallowRef([]), original: false, measured: new Map() }) as unknown as Held);
  const mine = held.get(conversationId) as unknown as { items: TrayItem[]; original: boolean; measured: Held['measured'] };
  /** Why something was not taken. */
  const problem = ref('');
  const most = computed(() => server.value?.fileBytes ?? limits.fileBytes);

  function add(files: Iterable<File>): void {
    const refused: string[] = [];
    for (const file of files) {
      if (mine.items.length >= limits.attachments) {
        refused.push(t('tray.tooMany', { n: limits.attachments }));
        break;
      }
      if (file.size > most.value) refused.push(t('tray.tooLarge', { name: file.name, size: bytes(file.size), most: bytes(most.value) }));
      else put(file);
    }
    problem.value = refused.join(' ');
  }

  function put(file: File): void {
    const key = ++lastKey;
    const { name, size, type } = file;
    const as = picturesShown.has(type) ? 'image' : 'file';
    const url = URL.createObjectURL(file);
    mine.items = [...mine.items, { key, bytes: file, name: name || t('tray.unnamed'), size, type, kind: isPlayed(type) ? kindOf(as, type) : 'file', url }];
    const found = isPlayed(type) ? measure(type, url, kindOf(as, type)) : Promise.resolve({});
    mine.measured.set(key, found);
    void found.then((measures) => (mine.items = mine.items.map((item) => (item.key === key ? { ...item, ...measures } : item))));
  }

  async function measure(type: string, url: string, kind: FileKind): Promise<Partial<TrayItem>> {
    const { measureFile } = await import('./measure-file.ts');
    const { shown, poster, ...measures } = await measureFile(type, url);
    // A picture that this browser cannot show goes as a file.
    return { ...measures, kind: kind === 'picture' && !shown ? 'file' : kind, ...(poster && { poster: URL.createObjectURL(poster), posterBytes: poster }) };
  }

  function forget({ key, url, poster }: TrayItem): void {
    mine.measured.delete(key);
    mine.items = mine.items.filter((item) => item.key !== key);
    URL.revokeObjectURL(url);
    if (poster) URL.revokeObjectURL(poster);
  }

  return {
    items: computed(() => mine.items),
    original: computed({ get: () => mine.original, set: (on) => void (mine.original = on) }),
    problem,
    add,
    refuse: (why: string) => void (problem.value = why),
    remove(key: number): void {
      problem.value = '';
      const item = mine.items.find((one) => one.key === key);
      if (item) forget(item);
    },
    move(key: number, to: number): void {
      const others = mine.items.filter((item) => item.key !== key);
      const item = mine.items.find((one) => one.key === key);
      if (item) mine.items = [...others.slice(0, to), item, ...others.slice(to)];
    },
    /** Sends all of them, one message each, with the caption on the first. Resolves when they are in the timeline. */
    async send(caption: string): Promise<void> {
      const { items, original } = mine;
      mine.items = [];
      mine.original = false;
      problem.value = '';
      for (const [index, item] of items.entries()) {
        const { bytes: file, name, type, kind, url, poster, posterBytes, width, height, durationMs } = { ...item, ...(await mine.measured.get(item.key)) };
        mine.measured.delete(item.key);
        const { clientId } = client.sendFile(
          conversationId,
          { name, type, bytes: file },
          {
            type: kind === 'picture' ? 'image' : 'file',
            text: index === 0 ? caption : '',
            ...(original && kind === 'picture' && { original }),
            width,
            height,
            durationMs,
            poster: posterBytes,
          },
        );
        keepLocal(clientId, { url, poster });
      }
    },
  };
}
