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

/**
 * Keeps the keys of an input method from everything on the page, once for all fields there are and will be: Enter that
 * takes a word saves no form, Escape that gives one up closes nothing. The input method itself has its keys before us.
 *
 * @param target  Whose first listener this is: the window.
 */
export function guardComposition(target: Pick<EventTarget, 'addEventListener'>): void {
  const { onCompositionend, isImeKey } = useComposition();
  target.addEventListener('compositionend', onCompositionend, true);
  target.addEventListener(
    'keydown',
    (event) => {
      if (isImeKey(event as KeyboardEvent)) event.stopImmediatePropagation();
    },
    true,
  );
}
