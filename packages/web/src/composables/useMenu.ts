import { shallowRef } from 'vue';
import type { IconName } from '../components/ui/icons.ts';

export interface MenuItem {
  label: string;
  /** A few small words at the end of the line. */
  hint?: string;
  icon?: IconName;
  danger?: boolean;
  run: () => void;
}
export interface Menu {
  label: string;
  /** A line of text above the items. */
  note?: string;
  items: MenuItem[];
  at: { x: number; y: number; alignEnd?: boolean };
  /** Gets the focus back when the menu closes. */
  opener: HTMLElement | null;
}

const open = shallowRef<Menu>();

/** The one floating menu. */
export function useMenu() {
  return {
    menu: open,
    openAt(event: MouseEvent, menu: { label: string; note?: string; items: MenuItem[] }) {
      event.preventDefault();
      const target = event.currentTarget as HTMLElement | null;
      // The context-menu key reports no place of its own: the menu then opens at the element.
      const box = target?.getBoundingClientRect();
      const byPointer = event.clientX !== 0 || event.clientY !== 0;
      open.value = { ...menu, at: byPointer || !box ? { x: event.clientX, y: event.clientY } : { x: box.left, y: box.bottom }, opener: target };
    },
    openUnder(event: Event, menu: { label: string; note?: string; items: MenuItem[] }) {
      const target = event.currentTarget as HTMLElement;
      const box = target.getBoundingClientRect();
      const alignEnd = box.left > innerWidth / 2;
      open.value = { ...menu, at: { x: alignEnd ? box.right : box.left, y: box.bottom + 4, alignEnd }, opener: target };
    },
    closeMenu() {
      open.value = undefined;
    },
  };
}
