import type { Message } from '@kith/protocol';
import { shallowRef } from 'vue';

const forwarded = shallowRef<Message>();

/** The one message that is being sent on. */
export function useForward() {
  return {
    forwarded,
    startForward(message: Message) {
      forwarded.value = message;
    },
    endForward() {
      forwarded.value = undefined;
    },
  };
}
