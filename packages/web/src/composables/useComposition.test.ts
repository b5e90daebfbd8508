import { expect, test } from 'vitest';
import { useComposition } from './useComposition.ts';

const key = (more: Partial<KeyboardEvent> = {}) => ({ isComposing: false, keyCode: 13, timeStamp: 1_000, ...more });

test('[CP6] keys of an input method are known in every browser, also the one that Safari reports late', () => {
  const { onCompositionend, isImeKey } = useComposition();
  expect(isImeKey(key())).toBe(false);
  expect(isImeKey(key({ isComposing: true }))).toBe(true);
  expect(isImeKey(key({ keyCode: 229 }))).toBe(true);
  onCompositionend({ timeStamp: 995 });
  expect(isImeKey(key())).toBe(true);
  expect(isImeKey(key({ timeStamp: 1_100 }))).toBe(false);
});
