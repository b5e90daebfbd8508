import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type MarkupNode, linksIn, markupDepth, parseMarkup, plainText } from './markup.ts';

/** The tree in a short notation, to be read in one glance. */
function drawn(nodes: MarkupNode[]): string {
  return nodes
    .map((node) => {
      switch (node.type) {
        case 'text':
          return node.text;
        case 'code':
          return `<code>${node.text}</code>`;
        case 'code-block':
          return `<pre ${node.language}>${node.text}</pre>`;
        case 'link':
          return `<a ${node.href}>${drawn(node.children)}</a>`;
        case 'list':
          return `<list>${node.items.map((item) => `<item${item.number === undefined ? '' : ` ${item.number}`}>${drawn(item.children)}</item>`).join('')}</list>`;
        default:
          return `<${node.type}>${drawn(node.children)}</${node.type}>`;
      }
    })
    .join('');
}
const draw = (text: string): string => drawn(parseMarkup(text));

const childrenOf = (node: MarkupNode): MarkupNode[] => (node.type === 'list' ? node.items.flatMap((item) => item.children) : 'children' in node ? node.children : []);
const leaves = (nodes: MarkupNode[]): string => nodes.map((node) => ('text' in node ? node.text : leaves(childrenOf(node)))).join('');
const depthOf = (nodes: MarkupNode[]): number => nodes.reduce((most, node) => Math.max(most, 'text' in node ? 0 : 1 + depthOf(childrenOf(node))), 0);

/** Chat as it might come from a fuzzer: words of many scripts between everything that means something. */
const piece = fc.constantFrom(
  ...[
    '*',
    '**',
    '***',
    '_',
    '__',
    '~~',
    '`',
    '``',
    '```',
    '```js\n',
    '> ',
    '>',
    '- ',
    '1. ',
    '  ',
    ' ',
    '\n',
    '\n\n',
    '[',
    ']',
    '](',
    ')',
    '(',
    '\\',
    'http://',
    'https://a.io',
    'mailto:',
    'a@b.c',
    '@',
    '/',
    '.',
    '，',
    '。',
    '）',
    '中',
    '文字',
    'かな',
    '한글',
    'word',
    'x',
    '5',
    '🙂',
    '\ud83d',
    '\u0301',
    '\u202e',
    '\t',
  ],
);
const chat = fc.oneof(
  fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join('')),
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
);

describe('what is recognised', () => {
  test.for([
    ['**strong** and *emphasis*, _too_', '<strong>strong</strong> and <emphasis>emphasis</emphasis>, <emphasis>too</emphasis>'],
    ['***both*** and **a *b* c**', '<emphasis><strong>both</strong></emphasis> and <strong>a <emphasis>b</emphasis> c</strong>'],
    ['~~gone~~', '<strike>gone</strike>'],
    ['`a*b*c` and ``a ` b``', '<code>a*b*c</code> and <code>a ` b</code>'],
    ['```ts\nlet a = 1;\n\n  b\n```\nafter', '<pre ts>let a = 1;\n\n  b</pre>after'],
    ['```\nlast line```', '<pre >last line</pre>'],
    ['> one\n> two\n> > three\nfour', '<quote>one\ntwo<quote>three</quote></quote>four'],
    ['- a\n  more\n  - b\n- c', '<list><item>a\nmore<list><item>b</item></list></item><item>c</item></list>'],
    ['Mine:\n1. yes\n3. no', 'Mine:<list><item 1>yes</item><item 3>no</item></list>'],
    ['a\nb\n\nc', 'a\nb\n\nc'],
  ])('[MK1] %j', ([text, tree]) => {
    expect(draw(text!)).toBe(tree);
  });

  test.for([
    '# no heading',
    '![no image](x.png)',
    '<b>no HTML</b> &amp; no entities',
    '| no | table |',
    '---',
    'a_b_c',
    'snake_case_name',
    '__init__',
    '5*3*2',
    '2 * 3 * 4',
    'f(*args, **kwargs)',
    '****1234****',
    '*^_^* >_< -_- T_T',
    '¯\\_(ツ)_/¯',
    '->',
    '>_<',
    '-5 degrees',
    '3.5 kg',
    '**not\nover lines**',
    '``` never closed',
    '`open',
    '~one~',
    '~~~three~~~',
    '* *',
    '** a **',
    '\\*kept\\*',
    // Full width, and file names.
    '报告_2024_终稿.pdf',
    '好的~~明天见~~',
    '＊全角＊',
  ])('[MK2] %j stays as it was typed', (text) => {
    expect(parseMarkup(text)).toEqual([{ type: 'text', text }]);
  });

  test.for([
    ['**加粗**。', '<strong>加粗</strong>。'],
    ['这是**加粗**文字', '这是<strong>加粗</strong>文字'],
    ['他说**“真的吗？”**然后走了', '他说<strong>“真的吗？”</strong>然后走了'],
    ['（*强调*）和*强调*', '（<emphasis>强调</emphasis>）和<emphasis>强调</emphasis>'],
    ['これは**太字**です', 'これは<strong>太字</strong>です'],
    ['이것은**굵게**입니다', '이것은<strong>굵게</strong>입니다'],
    ['，_斜体_。', '，<emphasis>斜体</emphasis>。'],
    ['原价~~100~~元', '原价<strike>100</strike>元'],
    ['用`npm start`启动', '用<code>npm start</code>启动'],
  ])('[MK3] %j is marked without spaces around it', ([text, tree]) => {
    expect(draw(text!)).toBe(tree);
  });
});

describe('links', () => {
  test.for([
    ['see https://example.org/a?b=c#d now', 'see <a https://example.org/a?b=c#d>https://example.org/a?b=c#d</a> now'],
    ['去https://example.org看看', '去<a https://example.org>https://example.org</a>看看'],
    ['https://zh.wikipedia.org/wiki/中文，对', '<a https://zh.wikipedia.org/wiki/中文>https://zh.wikipedia.org/wiki/中文</a>，对'],
    ['mailto:ada@example.org!', '<a mailto:ada@example.org>mailto:ada@example.org</a>!'],
    ['[our plan](https://example.org/plan_(2)) ok', '<a https://example.org/plan_(2)>our plan</a> ok'],
    ['[a **b**](HTTP://example.org)', '<a HTTP://example.org>a <strong>b</strong></a>'],
    ['**https://example.org/**', '<strong><a https://example.org/>https://example.org/</a></strong>'],
    ['https://example.org/wiki/A_(b)_c*d', '<a https://example.org/wiki/A_(b)_c*d>https://example.org/wiki/A_(b)_c*d</a>'],
    // The address of the link, not the one in its words.
    ['[https://bank.example](https://evil.example)', '<a https://evil.example>https://bank.example</a>'],
  ])('[MK4] %j', ([text, tree]) => {
    expect(draw(text!)).toBe(tree);
  });

  test.for('.,!?:;。，；：！？、）」』】》”’…'.split('').map((end) => [end]))('[MK5] a link ends before %s', ([end]) => {
    expect(draw(`(https://example.org/a${end}`)).toBe(`(<a https://example.org/a>https://example.org/a</a>${end}`);
  });

  test.for([
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](data:text/html,hi)',
    '[x](vbscript:x)',
    '[x](//evil.example)',
    '[x](/settings)',

    '[](https://)',
    '[ ](https://)',
    'javascript:alert(1)',
    'file:///etc/passwd',
    'ftp://example.org',
    'blob:x',
    'http://',
    'https://.',
    'mailto:',
    'mailto:x',
    'shttp:x',
    // Who reads it sees the bank, and arrives elsewhere.
    'https://bank.example@evil.example',
    'https://bank.example:443@evil.example/x',
    '[x](https://bank.example@evil.example)',
    '[x](https://bank.example\u202egro.live)',
  ])('[MK6] %j is no link', (text) => {
    expect(linksIn(text)).toEqual([]);
    expect(leaves(parseMarkup(text))).toBe(text);
  });

  test('[MK6] a backslash ends an address, as it would in a browser', () => {
    expect(linksIn('[x](https://bank.example\\@evil.example)')).toEqual(['https://bank.example']);
  });

  test('[MK6] whatever is written, links lead to http, https and mailto only, and none stands in another', () => {
    const linksOf = (nodes: MarkupNode[]): (MarkupNode & { type: 'link' })[] => nodes.flatMap((node) => [...(node.type === 'link' ? [node] : []), ...linksOf(childrenOf(node))]);
    fc.assert(
      fc.property(chat, (text) => {
        const links = linksOf(parseMarkup(text));
        expect(links.filter((link) => !/^(?:https?:\/\/[^/?#@\\]|mailto:)/i.test(link.href))).toEqual([]);
        expect(links.flatMap((link) => linksOf(link.children))).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  test('[MK7] the links of a text are listed once and in order', () => {
    expect(linksIn('> https://b.example\n- [a](https://a.example)\n\n**https://b.example** `https://c.example`')).toEqual(['https://b.example', 'https://a.example']);
  });
});

describe('whatever is written', () => {
  test('[MK8] nothing that was written is lost but the markers, nothing is added, and parsing never throws', () => {
    fc.assert(
      fc.property(chat, (text) => {
        const shown = leaves(parseMarkup(text));
        // What is shown is what was written with something left out …
        let at = 0;
        let left = '';
        for (const char of shown) {
          const found = text.indexOf(char, at);
          expect(found).toBeGreaterThanOrEqual(at);
          left += text.slice(at, found);
          at = found + char.length;
        }
        left += text.slice(at);
        // … and where no word can be part of a marker (the language of code, the address of a link), that is markers alone.
        const anything = text.includes('```') || text.includes('](');
        expect(left).toMatch(anything ? /^/ : /^[*_~`>\-0-9. \n]*$/);
      }),
      { numRuns: 5_000 },
    );
  });

  test('[MK8] words without markers stay exactly as they are', () => {
    const words = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '中', '文', '。', '，', '！', '?', '🙂', '\n', '\t', '(', ')', '#', '&', '<', '|', '1'), maxLength: 100 });
    fc.assert(
      fc.property(words, (text) => {
        expect(leaves(parseMarkup(text))).toBe(text);
      }),
    );
  });

  test('[MK9] nesting ends at eight levels, and what is deeper is text', () => {
    const lists = Array.from({ length: 100 }, (_, level) => `${' '.repeat(2 * level)}- a`).join('\n');
    const emphasis = `${'*a _b '.repeat(50)}x${' c_ d*'.repeat(50)}`;
    for (const text of [`${'>'.repeat(1_000)} deep`, `${'> '.repeat(1_000)}deep`, lists, `${'- '.repeat(1_000)}a`, emphasis, `> - > - > - > [*a*](https://a.example)`]) {
      expect(depthOf(parseMarkup(text))).toBeLessThanOrEqual(markupDepth);
      expect(depthOf(parseMarkup(text))).toBeGreaterThan(2);
    }
    expect(draw(`${'> '.repeat(10)}deep`)).toBe(`${'<quote>'.repeat(8)}> > deep${'</quote>'.repeat(8)}`);
    fc.assert(
      fc.property(chat, (text) => {
        expect(depthOf(parseMarkup(text))).toBeLessThanOrEqual(markupDepth);
      }),
    );
  });

  const worst: Record<string, (length: number) => string> = {
    'nested quotes': (n) => `${'>'.repeat(n)} a`,
    'nested quotes with spaces': (n) => `${'> '.repeat(n / 2)}a`,
    'many deep quotes': (n) => `${'>'.repeat(1_000)} a\n`.repeat(n / 1_003),
    backticks: (n) => '`'.repeat(n),
    'runs of backticks that never fit': (n) => Array.from({ length: Math.sqrt(n) }, (_, at) => '`'.repeat(at + 1)).join('a'),
    asterisks: (n) => '*'.repeat(n),
    'opening asterisks': (n) => '*a '.repeat(n / 3),
    'closing asterisks': (n) => 'a* '.repeat(n / 3),
    'asterisks that open and close': (n) => '*中'.repeat(n / 2),
    'strong that ends as emphasis': (n) => '**中*'.repeat(n / 4),
    'marks in each other’s way': (n) => '*a _b ~~c '.repeat(n / 20) + 'a* b_ c~~ '.repeat(n / 20),
    'runs that close nothing of what is open': (n) => '*a '.repeat(n / 6) + 'b~~ '.repeat(n / 8),
    faces: (n) => '(* ._'.repeat(n / 10) + '.*'.repeat(n / 4),
    smiles: (n) => '好~~ ~~好'.repeat(n / 7),
    'opening brackets': (n) => '['.repeat(n),
    'closing brackets': (n) => '['.repeat(n / 2) + ']'.repeat(n / 2),
    'links that are never closed': (n) => '[a](http://x'.repeat(n / 12),
    'links one in the other': (n) => '['.repeat(n / 3) + '](http://a'.repeat(n / 15),
    'addresses of nobody': (n) => 'http://a@'.repeat(n / 9),
    'open parentheses in an address': (n) => `http://a/${'('.repeat(n)}`,
    'fences that are never closed': (n) => '```a\n'.repeat(n / 5),
    'nested lists': (n) => `${'- '.repeat(n / 2)}a`,
    'lines of spaces': (n) => `- a\n${`${' '.repeat(100)}\n`.repeat(n / 101)}`,
    'a line of spaces behind a quote': (n) => `>${' '.repeat(n)}`,
    emoji: (n) => '*🙂 '.repeat(n / 4),
  };
  test.for(Object.entries(worst))('[MK10] four times as long a text takes about four times as long: %s', ([, make]) => {
    const best = (text: string): number => {
      let least = Infinity;
      for (let run = 0; run < 5; run++) {
        const began = performance.now();
        parseMarkup(text);
        least = Math.min(least, performance.now() - began);
      }
      return least;
    };
    const [short, long] = [make(8_192), make(32_768)];
    // Sixteen is what quadratic work would take, however often it is tried; the half millisecond lets what is quick be as uneven as it likes.
    const ratio = () => best(long) / (best(short) + 0.5);
    let least = ratio();
    for (let again = 0; least > 9 && again < 10; again++) least = Math.min(least, ratio());
    expect(least).toBeLessThan(9);
  });
});

describe('plain text', () => {
  test.for([
    ['**加粗**，_ok_', '加粗，ok'],
    ['> quoted\nanswer', 'quoted answer'],
    ['Buy:\n- tea\n- rice', 'Buy: • tea • rice'],
    ['1. one\n2. two', '1. one 2. two'],
    ['[our plan](https://example.org) `x`', 'our plan x'],
    ['```js\nlet a;\nlet b;\n```', 'let a; let b;'],
    ['a\n\n  b\t c', 'a b c'],
    ['<b>5 > 3</b>', '<b>5 > 3</b>'],
  ])('[MK11] %j on one line is %j', ([text, line]) => {
    expect(plainText(text!)).toBe(line);
    expect(plainText(parseMarkup(text!))).toBe(line);
  });
});
