/** Alphabets whose letters look like each other's. Chinese, Japanese and Korean beside Latin letters deceive nobody. */
const alike = [/\p{Script=Latin}/u, /\p{Script=Cyrillic}/u, /\p{Script=Greek}/u, /\p{Script=Armenian}/u, /\p{Script=Cherokee}/u];

/** Has the name a word with letters of several alphabets that look alike: Аda with a Cyrillic А? Whole words of another alphabet are a language. */
export const mixesScripts = (name: string): boolean => name.split(/[^\p{L}\p{M}]+/u).some((word) => alike.filter((script) => script.test(word)).length > 1);
