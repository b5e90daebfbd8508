import { type Ref, computed, ref, shallowRef } from 'vue';
import { completionAt } from './emoji-completion.ts';
import { type Emoji, searchEmoji } from './emoji-list.ts';
import { useEmoji } from './useEmoji.ts';

/** How many are offered at once. */
const offered = 8;

/** The emoji that `:smi` in a field may become. `replace` puts one in the place of the word. */
export function useEmojiCompletion(field: Ref<HTMLTextAreaElement | undefined>, replace: (from: number, to: number, emoji: string) => void) {
  const { list, loadEmoji, inTone, use } = useEmoji();
  const options = shallowRef<Emoji[]>([]);
  const active = ref(0);
  /** Where the word began that was sent away with Escape; it stays away until another one begins. */
  let dismissed = -1;

  function close() {
    options.value = [];
  }

  /** After each change of the text or the caret. What an input method composes is not text yet. */
  async function update(composing = false) {
    const box = field.value;
    const word = box && !composing && box.selectionStart === box.selectionEnd ? completionAt(box.value, box.selectionStart) : undefined;
    if (!word) {
      dismissed = -1;
      return close();
    }
    if (word.from === dismissed) return close();
    const { value } = box!;
    await loadEmoji();
    if (box!.value !== value) return;
    options.value = searchEmoji(list.value, word.query, offered);
    active.value = 0;
  }

  function pick(at = active.value) {
    const box = field.value!;
    const word = completionAt(box.value, box.selectionStart);
    const emoji = options.value[at];
    close();
    if (!word || !emoji) return;
    const char = inTone(emoji);
    use(char);
    replace(word.from, box.selectionStart, char);
  }

  return {
    options,
    active,
    open: computed(() => options.value.length > 0),
    update,
    close,
    pick,
    /** @returns whether the key was for the list */
    onKey(event: KeyboardEvent): boolean {
      if (options.value.length === 0) return false;
      if (event.key === 'ArrowDown' || event.key === 'ArrowUp') active.value = (active.value + (event.key === 'ArrowDown' ? 1 : -1) + options.value.length) % options.value.length;
      else if ((event.key === 'Enter' && !event.shiftKey) || (event.key === 'Tab' && !event.shiftKey)) pick();
      else if (event.key === 'Escape') {
        const box = field.value!;
        dismissed = completionAt(box.value, box.selectionStart)?.from ?? -1;
        close();
      } else return false;
      event.preventDefault();
      event.stopPropagation();
      return true;
    },
  };
}
