import type { Message } from '@kith/protocol';
import { shallowRef } from 'vue';

export interface Looked {
  message: Message;
  /** Where it was small: it grows from there, and gives the focus back to it. */
  opener: HTMLElement | undefined;
}

const looked = shallowRef<Looked>();

/** The one picture or video that fills the screen. */
export function useLightbox() {
  return {
    looked,
    openLightbox(message: Message, opener?: EventTarget | null) {
      if (message.file) looked.value = { message, opener: opener instanceof HTMLElement ? opener : undefined };
    },
    closeLightbox() {
      looked.value = undefined;
    },
  };
}
