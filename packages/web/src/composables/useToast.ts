import { shallowRef } from 'vue';

export interface ToastAction {
  label: string;
  run: () => void;
}
interface Toast {
  text: string;
  action?: ToastAction | undefined;
  /** Milliseconds. */
  stays: number;
  onGone?: (() => void) | undefined;
}

/** Milliseconds that a line stays, and one with something to do: long enough to be read, and to be reached with the keys. */
const lineMs = 4_000;
const actionMs = 10_000;

const shown = shallowRef<Toast>();
let timer: ReturnType<typeof setTimeout> | undefined;

function wait(): void {
  clearTimeout(timer);
  timer = setTimeout(end, shown.value?.stays);
}

function end(): void {
  clearTimeout(timer);
  const before = shown.value;
  shown.value = undefined;
  before?.onGone?.();
}

/** One short line about something that just happened. It goes by itself, or when the next one comes. */
export function useToast() {
  return {
    toast: shown,
    showToast(text: string) {
      end();
      shown.value = { text, stays: lineMs };
      wait();
    },
    /** @param onGone  The time to do it is over, or it was done. */
    offer(text: string, action: ToastAction, onGone?: () => void) {
      end();
      shown.value = { text, action, onGone, stays: actionMs };
      wait();
    },
    act() {
      shown.value?.action?.run();
      end();
    },
    /** While somebody is about to do it, it does not go away. */
    hold: () => clearTimeout(timer),
    letGo: wait,
  };
}
