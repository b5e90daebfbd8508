/** A finger that rests this long asks for the menu. Milliseconds. */
const restMs = 450;

/**
 * A long press of a finger, for browsers that make no `contextmenu` of it (Safari on iOS), a right click, the menu key.
 * Bind with `v-on`. Where words are selected, a finger goes on selecting, and on a link a mouse finds the browser's menu.
 *
 * @param options.onLink  It is a link itself, and its menu is ours.
 */
export function useLongPress(pressed: (event: MouseEvent) => void, { onLink = false } = {}) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let held = false;
  const cancel = () => clearTimeout(timer);
  return {
    touchstart(event: TouchEvent) {
      cancel();
      held = false;
      const { target, touches } = event;
      const touch = touches[0];
      if (!touch || touches.length > 1) return;
      const { clientX, clientY } = touch;
      timer = setTimeout(() => target?.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true, clientX, clientY })), restMs);
    },
    touchmove: cancel,
    touchend(event: TouchEvent) {
      cancel();
      // The finger that has opened the menu is lifted: that is no click on what it rested on.
      if (held && event.cancelable) event.preventDefault();
    },
    touchcancel: cancel,
    contextmenu(event: MouseEvent) {
      cancel();
      const { pointerType } = event as PointerEvent;
      if (pointerType === 'mouse' ? !onLink && event.target instanceof Element && event.target.closest('a') : event.currentTarget instanceof Element && hasSelection(event)) return;
      held = true;
      pressed(event);
    },
  };
}

/** Is there a finger on words that are selected already? The keyboard has no place of its own, and gets the menu. */
function hasSelection({ currentTarget, clientX, clientY }: MouseEvent): boolean {
  const selection = getSelection();
  return (clientX !== 0 || clientY !== 0) && selection !== null && !selection.isCollapsed && selection.containsNode(currentTarget as Element, true);
}
