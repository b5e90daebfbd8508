/** Safari ends a composition first and reports its Enter after. Milliseconds. */
const afterEndMs = 30;

/** Tells keys that belong to an input method from those meant for us. */
export function useComposition() {
  let endedAt = -Infinity;
  return {
    onCompositionend(event: { timeStamp: number }) {
      endedAt = event.timeStamp;
    },
    isImeKey: (event: Pick<KeyboardEvent, 'isComposing' | 'keyCode' | 'timeStamp'>): boolean =>
      event.isComposing || event.keyCode === 229 || event.timeStamp - endedAt < afterEndMs,
  };
}
