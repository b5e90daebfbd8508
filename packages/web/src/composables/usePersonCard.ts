import { shallowRef } from 'vue';

export interface OpenCard {
  userId: string;
  /** Where they were met: it knows the names of people who are nowhere else. */
  conversationId?: string;
  /** The face or the name that was pressed; the card stands beside it and gives the focus back to it. */
  opener: HTMLElement;
}

const card = shallowRef<OpenCard>();

/** The one card about a person: beside what was pressed, or a sheet on a narrow screen. */
export function usePersonCard() {
  return {
    card,
    openCard(opener: EventTarget | null, userId: string, conversationId?: string) {
      if (opener instanceof HTMLElement) card.value = { userId, opener, ...(conversationId !== undefined && { conversationId }) };
    },
    closeCard() {
      card.value = undefined;
    },
  };
}
