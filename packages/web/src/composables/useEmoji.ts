import { ref, shallowRef } from 'vue';
import { type Emoji, type Tone, popularEmoji, tones, unpackEmoji, withTone } from './emoji-list.ts';

const recentKey = 'kith.emoji.recent';
const toneKey = 'kith.emoji.tone';
/** How many of the last used are kept. */
const recentMax = 27;

const list = shallowRef<Emoji[]>([]);
let loading: Promise<void> | undefined;

const recent = ref<string[]>(storedRecent());
const tone = ref<Tone>(tones.find((one) => String(one) === localStorage.getItem(toneKey)) ?? 0);

function storedRecent(): string[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(recentKey) ?? '[]');
    return Array.isArray(stored) ? stored.filter((one): one is string => typeof one === 'string' && one.length <= 40).slice(0, recentMax) : [];
  } catch {
    return [];
  }
}

async function load(): Promise<void> {
  const { default: packed } = await import('./emoji-list.json');
  list.value = unpackEmoji(packed);
}

/** The list of emoji, and what this browser remembers of their use. */
export function useEmoji() {
  return {
    /** Empty until it is loaded. */
    list,
    /** Without the network the list may not come; it is then asked for again the next time. */
    loadEmoji: (): Promise<void> =>
      (loading ??= load().catch(() => {
        loading = undefined;
      })),
    /** As they were inserted, with their tone; last used first. */
    recent,
    popular: popularEmoji,
    tone,
    setTone(next: Tone) {
      tone.value = next;
      localStorage.setItem(toneKey, String(next));
    },
    /** As it is to be inserted, in the tone of choice. */
    inTone: (emoji: Emoji): string => (emoji.toned ? withTone(emoji.char, tone.value) : emoji.char),
    use(char: string) {
      recent.value = [char, ...recent.value.filter((one) => one !== char)].slice(0, recentMax);
      localStorage.setItem(recentKey, JSON.stringify(recent.value));
    },
  };
}
