import { ref } from 'vue';

/** How many reports wait for an operator. 0 for everybody else. */
export const openReports = ref(0);
