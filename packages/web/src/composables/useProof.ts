import { shallowRef } from 'vue';

/** Somebody is to show once more who they are. */
export interface Wanted {
  answer: (shown: boolean) => void;
}

const wanted = shallowRef<Wanted>();
let asking: Promise<boolean> | undefined;

/** Asked by several calls at once, it is one dialog. */
export function askForProof(): Promise<boolean> {
  return (asking ??= new Promise<boolean>((resolve) => (wanted.value = { answer: resolve })).finally(() => (asking = wanted.value = undefined)));
}

export const useWantedProof = () => wanted;
