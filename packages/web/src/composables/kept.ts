import { type Ref, customRef } from 'vue';

/**
 * A yes or no that this browser remembers, the same in all its tabs.
 *
 * @param name  In `localStorage`.
 * @param otherwise  Where nobody has decided yet.
 */
export function kept(name: string, otherwise: boolean): Ref<boolean> {
  return customRef((track, trigger) => {
    addEventListener('storage', ({ key }) => (key === name || key === null) && trigger());
    return {
      get() {
        track();
        return (localStorage.getItem(name) ?? (otherwise ? 'on' : 'off')) === 'on';
      },
      set(next) {
        localStorage.setItem(name, next ? 'on' : 'off');
        trigger();
      },
    };
  });
}
