import { ref, watch } from 'vue';

export type Theme = 'system' | 'light' | 'dark';
const key = 'kith.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

const stored = localStorage.getItem(key);
const theme = ref<Theme>(stored === 'light' || stored === 'dark' ? stored : 'system');

function show() {
  const now = theme.value === 'system' ? (dark.matches ? 'dark' : 'light') : theme.value;
  document.documentElement.dataset['theme'] = now;
  document.querySelector<HTMLMetaElement>('meta[name="theme-color"]')!.content = now === 'dark' ? '#161311' : '#eee9e1';
}

dark.addEventListener('change', show);
watch(theme, (next) => {
  if (next === 'system') localStorage.removeItem(key);
  else localStorage.setItem(key, next);
  show();
});

/** `public/theme.js` has set the first theme before the first paint; from here on this does. */
export const useTheme = () => ({ theme });
