import { ref, watch } from 'vue';

/** What sends a message: Enter, or Ctrl/Cmd+Enter, and Enter is a new line. */
export type SendKey = 'enter' | 'mod-enter';

const key = 'kith.sendKey';
const sendKey = ref<SendKey>(localStorage.getItem(key) === 'mod-enter' ? 'mod-enter' : 'enter');

watch(sendKey, (next) => {
  if (next === 'enter') localStorage.removeItem(key);
  else localStorage.setItem(key, next);
});

/** How one writes on this device. */
export const useWriting = () => ({
  sendKey,
  /** What the second way is called on this keyboard. */
  modEnter: /Mac|iP(?:hone|ad|od)/.test(navigator.platform) ? '⌘ Enter' : 'Ctrl + Enter',
});
