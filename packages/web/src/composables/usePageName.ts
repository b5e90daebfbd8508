import { nextTick, ref } from 'vue';
import { useRouter } from 'vue-router';

/**
 * The name of the page that was just opened, for a screen reader: a single-page application changes its page without
 * the browser saying so. Empty until the first change; the browser announces the page it loads itself.
 */
export function usePageName() {
  const router = useRouter();
  const name = ref('');
  router.afterEach(async (to, from, failure) => {
    if (failure || from.matched.length === 0 || to.path === from.path) return;
    await nextTick();
    const pane = document.querySelector(to.meta.pane === 'list' ? '.list' : 'main aside, main');
    name.value = pane?.querySelector('h1, h2')?.textContent.trim() || pane?.getAttribute('aria-label') || '';
  });
  return name;
}
