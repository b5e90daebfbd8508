import { ref } from 'vue';

const now = ref(Date.now());
setInterval(() => (now.value = Date.now()), 15_000);

/** The time, for what reads "10 minutes ago". Moves every 15 s. */
export const useNow = () => now;
