import { shallowRef } from 'vue';

export interface Question {
  title: string;
  text: string;
  /** The word on the button that does it. */
  yes: string;
  answer: (yes: boolean) => void;
}

const asked = shallowRef<Question>();

/** Asks before something that cannot be taken back. */
export function useConfirm() {
  return {
    asked,
    confirm: (question: Omit<Question, 'answer'>) =>
      new Promise<boolean>((resolve) => {
        asked.value = {
          ...question,
          answer(yes) {
            asked.value = undefined;
            resolve(yes);
          },
        };
      }),
  };
}
