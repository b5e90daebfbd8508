import { describe, expect, test } from 'vitest';
import { looksLike, readsAsServer } from './look-alikes.ts';

describe('names that look alike', () => {
  test.each([
    ['Cyrillic', 'Аnna', 'Anna'],
    ['all of it Cyrillic', 'Сора', 'Copa'],
    ['Greek', 'Αnna', 'Anna'],
    ['full width', 'Ａｎｎａ', 'Anna'],
    ['mathematical', '𝐀𝐧𝐧𝐚', 'Anna'],
    ['Cherokee', 'Ꭺnna', 'anna'],
    ['digits', 'Cl0e', 'Cloe'],
    ['a one for an l', 'E1la', 'Ella'],
    ['a capital I for an l', 'EIla', 'Ella'],
    ['a bar', 'E|la', 'Ella'],
    ['two letters for one', 'Torn', 'Tom'],
    ['two v for a w', 'vvilma', 'Wilma'],
    ['a dotted capital I', 'İda', 'Ida'],
    ['a dotless one', 'Nına', 'Nina'],
    ['marks at the ends', '.Anna', 'Anna'],
    ['of a name in Cyrillic, by Latin letters', 'Capa', 'Сара'],
  ])('[US5] by %s: %s is not %s', (_, name, other) => {
    expect(looksLike(name, other)).toBe(true);
    expect(looksLike(other, name)).toBe(true);
  });

  test.each([
    ['Anna', 'Anna'],
    ['anna', 'ANNA'],
    ['Anna', 'Anne'],
    ['Anna', 'Анна'],
    ['Ian', 'Lan'],
    ['Ali', 'All'],
    ['Clara', 'Dara'],
    ['Jürgen', 'Jurgen'],
    ['Anna 2', 'Anna'],
    ['Anna 🌸', 'Anna'],
    ['王伟', '王维'],
    ['!', '?'],
    ['🌸', '🌻'],
  ])('[US5] %s and %s are two people, or the same name', (name, other) => {
    expect(looksLike(name, other)).toBe(false);
  });

  test('[US5] the voice of the server is known in every way of writing it, and nobody has it by chance', () => {
    for (const name of ['Admin', 'ADMIN', 'аdmin', 'adm1n', 'ADMlN', 'Ａｄｍｉｎ', '*admin*', 'Systеm', 'Support', 'kıth', '管理员', '客服。'])
      expect([name, readsAsServer(name)]).toEqual([name, true]);
    for (const name of ['Adam', 'Ali', 'Sam', 'Admina', 'Edith', 'Keith', '管', 'Systema']) expect([name, readsAsServer(name)]).toEqual([name, false]);
  });
});
