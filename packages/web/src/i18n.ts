import { createI18n } from 'petite-vue-i18n';

export const languages = ['en', 'zh-CN'] as const;
export type Language = (typeof languages)[number];

type Texts = Record<Language, () => Promise<{ default: Record<string, unknown> }>>;
const texts: Texts = {
  en: () => import('./locales/en.json'),
  'zh-CN': () => import('./locales/zh-CN.json'),
};
/** Of a few screens that most people never open. */
const later: Texts = {
  en: () => import('./locales/later/en.json'),
  'zh-CN': () => import('./locales/later/zh-CN.json'),
};
let wantsLater = false;

export const i18n = createI18n({ legacy: false, locale: 'en', messages: {}, missingWarn: import.meta.env.DEV, fallbackWarn: false });

// The schema of messages is read at run time, one language at a time; keys are compared by a test instead.
const global = i18n.global as unknown as {
  t(key: string, named?: Record<string, unknown>, plural?: number): string;
  locale: { value: string };
  getLocaleMessage(locale: string): Record<string, unknown>;
  setLocaleMessage(locale: string, messages: Record<string, unknown>): void;
  availableLocales: string[];
};

export const t = (key: string, named: Record<string, unknown> = {}, plural?: number): string => (plural === undefined ? global.t(key, named) : global.t(key, named, plural));
/** This edition of vue-i18n has no `te`. */
export const hasText = (key: string): boolean => Object.hasOwn(global.getLocaleMessage(global.locale.value), key);
export const language = (): Language => global.locale.value as Language;

/** `{a: {b: 'text'}}` → `{'a.b': 'text'}`: this edition of vue-i18n looks keys up, it does not walk. */
function flat(tree: object, prefix = ''): Record<string, string> {
  return Object.fromEntries(
    Object.entries(tree).flatMap(([key, value]) => (typeof value === 'string' ? [[prefix + key, value]] : Object.entries(flat(value as object, `${prefix}${key}.`)))),
  );
}

const laterThere = new Set<Language>();
async function loadLater(of: Language): Promise<void> {
  if (laterThere.has(of)) return;
  const { default: more } = await later[of]();
  global.setLocaleMessage(of, { ...global.getLocaleMessage(of), ...flat(more) });
  laterThere.add(of);
}

/** A screen whose texts come with it, and not with the first page. @param screen  Loads it. */
export const withItsTexts =
  <T>(screen: () => Promise<T>) =>
  async (): Promise<T> => {
    wantsLater = true;
    const [loaded] = await Promise.all([screen(), loadLater(language())]);
    return loaded;
  };

/** Loads a language's texts and shows them from the next frame on. */
export async function setLanguage(next: Language): Promise<void> {
  if (!global.availableLocales.includes(next)) global.setLocaleMessage(next, flat((await texts[next]()).default));
  if (wantsLater) await loadLater(next);
  global.locale.value = next;
  document.documentElement.lang = next;
}
