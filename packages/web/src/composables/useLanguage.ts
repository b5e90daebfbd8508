import { computed } from 'vue';
import { type Language, language, languages, setLanguage } from '../i18n.ts';

const key = 'kith.language';
const ownNames: Record<Language, string> = { en: 'English', 'zh-CN': '中文' };

/** The chosen language, else the browser's, else English. */
export function firstLanguage(): Language {
  const chosen = localStorage.getItem(key);
  if (languages.includes(chosen as Language)) return chosen as Language;
  return /^zh/i.test(navigator.language) ? 'zh-CN' : 'en';
}

export function useLanguage() {
  const chosen = computed<Language>({
    get: () => language(),
    set(next) {
      localStorage.setItem(key, next);
      void setLanguage(next);
    },
  });
  return { language: chosen, languages: languages.map((value) => ({ value, label: ownNames[value] })) };
}
