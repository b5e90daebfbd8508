import { ref } from 'vue';

const media = matchMedia('(prefers-reduced-motion: reduce)');
const reduced = ref(media.matches);
media.addEventListener('change', () => (reduced.value = media.matches));

/** Is nothing to move by itself? */
export const useReducedMotion = () => reduced;
