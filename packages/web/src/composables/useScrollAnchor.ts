import { type Ref, onBeforeUnmount, onBeforeUpdate, onMounted, onUpdated, ref } from 'vue';

/** Within this many pixels of the end, new messages pull the view along. */
const followPx = 100;
/** Rows whose places are remembered: should the first be gone, the next one holds. */
const anchorRows = 6;

/**
 * Keeps the eye's place in a scrolling log: whatever grows, comes or goes around it, what is being read stays where it is
 * on the screen, and at the end the view follows. `overflow-anchor` is not enough: Safari has none, and it fails when the
 * anchor itself is replaced.
 *
 * @param scroller  The scrolling element; rows inside it carry `data-key`, messages also `data-seq`.
 * @param isLast  Does the log end with the newest message? Only then is there an end to follow.
 */
export function useScrollAnchor(scroller: Ref<HTMLElement | undefined>, content: Ref<HTMLElement | undefined>, isLast: () => boolean) {
  const atEnd = ref(true);
  let following = true;
  /** Where the rows in view are on the screen, and have to stay. */
  let anchors: { key: string; top: number }[] = [];
  /** As we left it: what differs is somebody's scrolling. */
  let lastTop = 0;
  let size = '';
  let found: HTMLElement[] | undefined;
  let resize: ResizeObserver | undefined;

  const rows = () => (found ??= [...(content.value?.querySelectorAll<HTMLElement>('[data-key]') ?? [])]);
  const rowOf = (key: string) => rows().find((row) => row.dataset['key'] === key);
  const sizeOf = (box: HTMLElement) => `${box.clientWidth} ${box.clientHeight} ${box.scrollHeight}`;
  const endOf = (box: HTMLElement) => box.scrollHeight - box.clientHeight;
  /** Not shown: on a narrow screen something lies over it. */
  const box = () => (scroller.value && scroller.value.clientHeight > 0 ? scroller.value : undefined);

  /** Index of the first row that is not wholly above this place on the screen. Rows stand in order, so it is found by halves. */
  function rowFrom(y: number): number {
    const all = rows();
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (all[middle]!.getBoundingClientRect().bottom > y) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  function remember(view: HTMLElement) {
    const { top, bottom } = view.getBoundingClientRect();
    anchors = [];
    for (let i = rowFrom(top); i < rows().length && anchors.length < anchorRows; i++) {
      const row = rows()[i]!;
      const at = row.getBoundingClientRect().top;
      if (at > bottom) break;
      anchors.push({ key: row.dataset['key']!, top: at });
    }
    // Half a row at the upper edge is not what one reads; nor is it kept when the lines break anew.
    if (anchors.length > 1 && anchors[0]!.top < top) anchors.push(anchors.shift()!);
    note(view);
  }

  function note(view: HTMLElement) {
    lastTop = view.scrollTop;
    size = sizeOf(view);
  }

  function restore() {
    const view = box();
    if (!view) return;
    if (following) view.scrollTop = view.scrollHeight;
    else {
      for (const { key, top } of anchors) {
        const row = rowOf(key);
        if (!row) continue;
        const shift = row.getBoundingClientRect().top - top;
        if (Math.abs(shift) >= 0.5) view.scrollTop += shift;
        break;
      }
    }
    note(view);
    if (following || anchors.length === 0) remember(view);
    atEnd.value = following || (isLast() && endOf(view) - view.scrollTop <= followPx);
  }

  /** Takes in what somebody scrolled since we looked. */
  function absorb(view: HTMLElement) {
    const by = view.scrollTop - lastTop;
    if (by === 0) return;
    const resized = size !== sizeOf(view);
    const end = endOf(view);
    if (!resized) {
      following = isLast() && end - view.scrollTop <= followPx;
      remember(view);
    } else if (view.scrollTop < end - 1) {
      // It grew or shrank and was scrolled in the same frame: each has its part.
      if (by < 0) following = false;
      for (const anchor of anchors) anchor.top -= by;
      restore();
    } else note(view);
    atEnd.value = following;
  }

  function onScroll() {
    const view = box();
    if (view) absorb(view);
  }

  onBeforeUpdate(() => {
    const view = box();
    // The wheel may have turned in this very frame, and its event comes only after this.
    if (view) absorb(view);
  });
  onUpdated(() => {
    found = undefined;
    restore();
  });
  onMounted(() => {
    // A picture arrives in a row, the composer grows, a font is there, the window turns. Told before it is painted.
    resize = new ResizeObserver(restore);
    if (scroller.value) resize.observe(scroller.value);
    if (content.value) resize.observe(content.value);
  });
  onBeforeUnmount(() => resize?.disconnect());

  function toTop(view: HTMLElement, top: number) {
    following = false;
    view.scrollTop = top;
    following = isLast() && endOf(view) - view.scrollTop <= followPx;
    atEnd.value = following;
    remember(view);
  }

  return {
    /** Is the view at the end, so that what arrives is seen? */
    atEnd,
    onScroll,
    rows,
    rowOf,
    rowFrom,
    toEnd() {
      following = true;
      restore();
    },
    /** Puts a row on the screen, so many pixels below the upper edge; default: a third of the height. */
    toRow(row: HTMLElement, below?: number) {
      const view = box();
      if (!view) return;
      const place = row.getBoundingClientRect().top - view.getBoundingClientRect().top;
      toTop(view, view.scrollTop + place - (below ?? view.clientHeight / 3));
    },
    /** Where the eye is: a row and its distance from the upper edge; undefined at the end. */
    eye(): { row: HTMLElement; below: number } | undefined {
      const view = box();
      const row = following || !view ? undefined : anchors.map(({ key }) => rowOf(key)).find((one) => one?.dataset['seq'] !== undefined);
      return row && { row, below: row.getBoundingClientRect().top - view!.getBoundingClientRect().top };
    },
  };
}
