import { type Ref, onBeforeUnmount, onBeforeUpdate, onMounted, onUpdated, ref } from 'vue';

/** Within this many pixels of the end, new messages pull the view along. */
const followPx = 100;

/**
 * Keeps the eye's place in a scrolling log: prepended history does not move what is being read, and at the end the view
 * follows. `overflow-anchor` is not enough: Safari has none, and it fails when the anchor itself is replaced.
 *
 * @param scroller  The scrolling element; rows inside it carry `data-key`.
 */
export function useScrollAnchor(scroller: Ref<HTMLElement | undefined>, content: Ref<HTMLElement | undefined>) {
  const atEnd = ref(true);
  let following = true;
  let anchor: { key: string; top: number } | undefined;
  let resize: ResizeObserver | undefined;

  const rowOf = (key: string) => scroller.value?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`) ?? undefined;

  function remember() {
    const box = scroller.value;
    if (!box) return;
    const top = box.getBoundingClientRect().top;
    for (const row of box.querySelectorAll<HTMLElement>('[data-key]')) {
      const place = row.getBoundingClientRect();
      if (place.bottom > top) {
        anchor = { key: row.dataset['key']!, top: place.top };
        return;
      }
    }
    anchor = undefined;
  }

  function restore() {
    const box = scroller.value;
    if (!box) return;
    if (following) {
      box.scrollTop = box.scrollHeight;
      return;
    }
    const row = anchor && rowOf(anchor.key);
    if (row) box.scrollTop += row.getBoundingClientRect().top - anchor!.top;
  }

  function look() {
    const box = scroller.value;
    if (!box) return;
    const left = box.scrollHeight - box.clientHeight - box.scrollTop;
    following = left <= followPx;
    atEnd.value = left <= followPx;
  }

  onBeforeUpdate(remember);
  onUpdated(() => {
    restore();
    look();
  });
  onMounted(() => {
    // The composer grows, a font arrives, the window turns: the end stays the end.
    resize = new ResizeObserver(() => following && restore());
    if (scroller.value) resize.observe(scroller.value);
    if (content.value) resize.observe(content.value);
  });
  onBeforeUnmount(() => resize?.disconnect());

  return {
    /** Is the view at the end, so that what arrives is seen? */
    atEnd,
    onScroll: look,
    toEnd(smooth = false) {
      following = true;
      scroller.value?.scrollTo({ top: scroller.value.scrollHeight, behavior: smooth ? 'smooth' : 'instant' });
      atEnd.value = true;
    },
    /** Puts a row at a third of the height. @returns Is it there? */
    toRow(key: string): boolean {
      const box = scroller.value;
      const row = rowOf(key);
      if (!box || !row) return false;
      following = false;
      box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 3;
      look();
      return true;
    },
    rowOf,
  };
}
