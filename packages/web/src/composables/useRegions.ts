import { isTouch } from './useNarrow.ts';

/** The parts of the screen, in the order in which F6 goes through them. */
const regions = '.rail, section.list, main, main aside';
const focusable = 'a[href], button, input, textarea, select, [tabindex]:not([tabindex="-1"])';

const isShown = (element: HTMLElement): boolean => element.getClientRects().length > 0 && !element.matches(':disabled');

/** Where the focus last was in each part. */
const lastIn = new WeakMap<Element, HTMLElement>();

/** The innermost part that holds an element. */
const regionOf = (element: Element | null): HTMLElement | null => element?.closest<HTMLElement>('.rail, section.list, main aside, main') ?? null;

addEventListener('focusin', ({ target }) => {
  const region = target instanceof HTMLElement ? regionOf(target) : null;
  if (region && target !== region) lastIn.set(region, target as HTMLElement);
});

/** What to begin with in a part, or in a piece of one: where one was, what one would write in, what is open there, or what comes first. */
export function entryOf(around: HTMLElement): HTMLElement {
  const region = regionOf(around);
  const all = [...around.querySelectorAll<HTMLElement>(focusable)].filter((element) => regionOf(element) === region && isShown(element));
  const last = region === around ? lastIn.get(region) : undefined;
  return (
    all.find((element) => element === last) ??
    // On a phone a field with the focus brings up the keyboard, which nobody asked for.
    (isTouch() ? undefined : all.find((element) => element.matches('textarea'))) ??
    all.find((element) => element.hasAttribute('aria-current')) ??
    all[0] ??
    around
  );
}

/** Moves the focus to the next part of the screen, or the one before. */
export function focusRegion(step: 1 | -1): void {
  const all = [...document.querySelectorAll<HTMLElement>(regions)].filter(isShown);
  const here = all.indexOf(regionOf(document.activeElement)!);
  const next = here < 0 ? (step > 0 ? 0 : all.length - 1) : (here + step + all.length) % all.length;
  if (all[next]) entryOf(all[next]).focus();
}
