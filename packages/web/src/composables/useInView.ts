import { type Ref, onBeforeUnmount, ref, watch } from 'vue';

/** Is at least a part of it on the screen? False until it has been looked at. */
export function useInView(element: Readonly<Ref<HTMLElement | undefined>>): Readonly<Ref<boolean>> {
  const seen = ref(false);
  const observer = new IntersectionObserver((entries) => (seen.value = entries.at(-1)!.isIntersecting));
  watch(
    element,
    (now, before) => {
      if (before) observer.unobserve(before);
      if (now) observer.observe(now);
    },
    { immediate: true, flush: 'post' },
  );
  onBeforeUnmount(() => observer.disconnect());
  return seen;
}
