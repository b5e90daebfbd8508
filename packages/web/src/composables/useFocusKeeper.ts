import { onScopeDispose } from 'vue';
import { entryOf } from './useRegions.ts';

/**
 * Sees to it that the focus is never lost: when what had it goes from the page, or can no longer have it, the nearest
 * thing around it that is still there gets it. Without that a keyboard would start at the top of the page again.
 */
export function useFocusKeeper(): void {
  /** What has the focus, and all that it is in, from the inside out: once it is gone it no longer knows. */
  let path: HTMLElement[] = [];

  function remember({ target }: FocusEvent) {
    path = [];
    for (let at = target instanceof HTMLElement ? target : null; at; at = at.parentElement) path.push(at);
  }

  /** Who lets go of it on purpose, with a click beside everything, has not lost it. */
  function forget() {
    queueMicrotask(() => {
      if (document.activeElement === document.body && path[0] && isHere(path[0])) path = [];
    });
  }

  function look() {
    const [last] = path;
    if (!last || document.activeElement !== document.body || isHere(last)) return;
    const around = path.find((element, index) => index > 0 && element !== document.body && isHere(element));
    const wide = !around || !around.closest('.rail, section.list, main, dialog');
    const target = wide ? document.querySelector<HTMLElement>('main, section.list') : around;
    if (target) entryOf(target).focus({ preventScroll: true });
  }

  const observer = new MutationObserver(look);
  observer.observe(document.body, { childList: true, subtree: true, attributeFilter: ['disabled', 'hidden', 'style'] });
  addEventListener('focusin', remember);
  addEventListener('focusout', forget);
  onScopeDispose(() => {
    observer.disconnect();
    removeEventListener('focusin', remember);
    removeEventListener('focusout', forget);
  });
}

const isHere = (element: HTMLElement): boolean => element.isConnected && element.getClientRects().length > 0 && !element.matches(':disabled');
