/** A finger that rests this long asks for the menu. Milliseconds. */
const restMs = 450;

/** A long press of a finger, for browsers that make no `contextmenu` of it (Safari on iOS). Bind with `v-on`. */
export function useLongPress(pressed: (event: MouseEvent) => void) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const cancel = () => clearTimeout(timer);
  return {
    touchstart(event: TouchEvent) {
      cancel();
      const { target, touches } = event;
      const touch = touches[0];
      if (!touch || touches.length > 1) return;
      const { clientX, clientY } = touch;
      timer = setTimeout(() => target?.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true, clientX, clientY })), restMs);
    },
    touchmove: cancel,
    touchend: cancel,
    touchcancel: cancel,
    contextmenu(event: MouseEvent) {
      cancel();
      pressed(event);
    },
  };
}
