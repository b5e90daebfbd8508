import { ref } from 'vue';

const text = ref('');
let timer: ReturnType<typeof setTimeout> | undefined;

/** One short line about something that just happened; gone after 4 s. */
export function useToast() {
  return {
    toast: text,
    showToast(line: string) {
      text.value = line;
      clearTimeout(timer);
      timer = setTimeout(() => (text.value = ''), 4_000);
    },
  };
}
