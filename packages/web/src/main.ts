import { createApp } from 'vue';
import App from './App.vue';
import { firstLanguage } from './composables/useLanguage.ts';
import { useSession } from './composables/useSession.ts';
import { i18n, setLanguage } from './i18n.ts';
import { router } from './router.ts';

// The replica and the texts come from this device, so the first picture is already the real one.
await Promise.all([setLanguage(firstLanguage()), useSession().resume()]);
createApp(App).use(i18n).use(router).mount('#app');

// Not needed for the first picture, so it does not compete with it.
// Without the network it cannot be had now; the next start asks again.
setTimeout(
  () =>
    void import('./composables/useServiceWorker.ts').then(
      ({ useServiceWorker }) => useServiceWorker(),
      () => undefined,
    ),
  3_000,
);
