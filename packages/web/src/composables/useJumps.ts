import { type Ref, nextTick, watch } from 'vue';
import { useRoute } from 'vue-router';

interface List<Place> {
  place(): Place;
  goTo(place: Place): Promise<unknown>;
  show(seq: number): Promise<unknown>;
}

/**
 * Follows addresses of messages, `/c/:id?m=<seq>`, in an open conversation; going back leads to where one was.
 *
 * @returns The message to open at, if the address names one.
 */
export function useJumps<Place>(list: Readonly<Ref<List<Place> | undefined>>): number | undefined {
  const route = useRoute();
  const target = () => {
    const seq = Number(route.query['m']);
    return Number.isInteger(seq) && seq > 0 ? seq : undefined;
  };
  const position = () => (history.state as { position?: number } | null)?.position ?? 0;

  /** Where one was, by position in the history of the page. */
  const places = new Map<number, Place>();
  let current = position();
  let shown = target();
  watch(
    () => [route.fullPath, target()] as const,
    async ([, seq]) => {
      // The details beside it are no other place in it.
      if (route.name !== 'chat' || (position() === current && seq === shown)) return;
      shown = seq;
      if (list.value) places.set(current, list.value.place());
      const before = current;
      current = position();
      const place = current < before ? places.get(current) : undefined;
      await nextTick();
      if (place !== undefined) await list.value?.goTo(place);
      else if (seq !== undefined) await list.value?.show(seq);
    },
    { flush: 'sync' },
  );
  return target();
}
