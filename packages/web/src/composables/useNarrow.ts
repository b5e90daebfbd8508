import { ref } from 'vue';

const media = matchMedia('(max-width: 719px)');
const narrow = ref(media.matches);
media.addEventListener('change', () => (narrow.value = media.matches));

/** One column? */
export const useNarrow = () => narrow;

/** A finger rather than a mouse: Enter is then a new line, and nothing takes the focus by itself. */
export const isTouch = (): boolean => matchMedia('(pointer: coarse)').matches;
