import { limits } from './limits.ts';

/**
 * The text of a message as a tree: the one parser of what people type, for the web client, previews, notifications and
 * search. A small subset of Markdown; whatever is not recognised is text and stays as it was typed.
 *
 * Blocks, at the start of a line: fenced code, `> ` quotes, `- ` and `1. ` lists. Inline, within one line: `**strong**`,
 * `*emphasis*` and `_emphasis_`, `~~strike~~`, `` `code` ``, bare http, https and mailto links, `[text](link)`.
 */
export type MarkupNode =
  /** Words as they are, line breaks included. */
  | { type: 'text'; text: string }
  /** Code within a line. */
  | { type: 'code'; text: string }
  | { type: 'strong' | 'emphasis' | 'strike'; children: MarkupNode[] }
  /** `href` begins with http://, https:// or mailto: and names no user. A bare link has its own address as text; no link stands in another. */
  | { type: 'link'; href: string; children: MarkupNode[] }
  /** `language`: what stands after the opening fence, may be empty. */
  | { type: 'code-block'; language: string; text: string }
  | { type: 'quote'; children: MarkupNode[] }
  | { type: 'list'; ordered: boolean; items: MarkupItem[] };

/** `number`: as it was typed, in ordered lists only; "1. 3." is an answer to the first and the third question. */
export interface MarkupItem {
  number?: number;
  children: MarkupNode[];
}

/** Levels of quotes, list items, emphasis and links inside each other. Deeper ones stay text. */
export const markupDepth = 8;

/** Never throws; linear in the length of the text. Line breaks beside blocks belong to the blocks. */
export const parseMarkup = (text: string): MarkupNode[] => parseBlocks(text.split('\n'), 0);

/** The words alone, on one line: for previews and notifications. */
export function plainText(markup: MarkupNode[] | string): string {
  const nodes = typeof markup === 'string' ? parseMarkup(markup) : markup;
  return words(nodes).replace(/\s+/g, ' ').trim();
}

/** Where the text leads, each address once, in the order of the text. */
export function linksIn(text: string): string[] {
  const found = new Set<string>();
  const visit = (node: MarkupNode): void => {
    if (node.type === 'link') found.add(node.href);
    if (node.type === 'list') node.items.forEach((item) => item.children.forEach(visit));
    else if ('children' in node) node.children.forEach(visit);
  };
  parseMarkup(text).forEach(visit);
  return [...found];
}

/** The first address of the web that a text leads to: the one of which a preview is shown. */
export function firstLink(text: string): string | undefined {
  // Most texts have none, and are not parsed for it.
  if (!text.includes('://')) return undefined;
  return linksIn(text).find((href) => /^https?:/i.test(href) && href.length <= limits.linkUrl);
}

function words(nodes: MarkupNode[]): string {
  return nodes
    .map((node) => {
      switch (node.type) {
        case 'text':
        case 'code':
          return node.text;
        case 'code-block':
          return ` ${node.text} `;
        case 'quote':
          return ` ${words(node.children)} `;
        case 'list':
          return node.items.map((item) => ` ${item.number === undefined ? '•' : `${item.number}.`} ${words(item.children)} `).join('');
        default:
          return words(node.children);
      }
    })
    .join('');
}

// ── blocks ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const fence = /^```([\w+#.-]*) *$/;
// A space is asked for, so that >_< and -> stay what they are.
const quoteStart = /^>+ +\S/;
const quoteMore = /^>+(?: |$)/;
const itemStart = /^( {0,3})(?:[-*]|(0|[1-9]\d{0,8})\.) +(?=\S)/;
const ruler = /^[-* ]+$/;
const indent = /^ */;

function parseBlocks(lines: string[], depth: number): MarkupNode[] {
  const out: MarkupNode[] = [];
  const deeper = depth < markupDepth;
  // Once no closing fence was found there is none further down either: asked again for each opening one, this were quadratic.
  let unclosed = false;
  let plainFrom = 0;
  let at = 0;

  const block = (node: MarkupNode, next: number) => {
    parseLines(lines, plainFrom, at, markupDepth - depth, out);
    out.push(node);
    at = plainFrom = next;
  };

  while (at < lines.length) {
    const line = lines[at]!;
    const language = unclosed ? undefined : fence.exec(line)?.[1];
    if (language !== undefined) {
      const end = closingFence(lines, at + 1);
      if (end > 0) {
        const last = lines[end]!.trimEnd().slice(0, -3);
        block({ type: 'code-block', language, text: [...lines.slice(at + 1, end), ...(last.trim() === '' ? [] : [last])].join('\n') }, end + 1);
        continue;
      }
      unclosed = true;
    }
    if (deeper && quoteStart.test(line)) {
      let end = at + 1;
      while (end < lines.length && quoteMore.test(lines[end]!)) end++;
      const inside = lines.slice(at, end).map((quoted) => quoted.slice(quoted[1] === ' ' ? 2 : 1));
      block({ type: 'quote', children: parseBlocks(inside, depth + 1) }, end);
    } else if (deeper && findItem(line)) {
      const { list, end } = parseList(lines, at, depth);
      block(list, end);
    } else at++;
  }
  parseLines(lines, plainFrom, at, markupDepth - depth, out);
  return out;
}

/** A fence closes on a line of its own or behind the last words of the code. @returns the line, 0 when there is none */
function closingFence(lines: string[], from: number): number {
  for (let at = from; at < lines.length; at++) if (lines[at]!.trimEnd().endsWith('```')) return at;
  return 0;
}

function findItem(line: string): { indent: number; width: number; number: number | undefined } | undefined {
  const found = itemStart.exec(line);
  if (!found || ruler.test(line)) return undefined;
  return { indent: found[1]!.length, width: found[0].length, number: found[2] === undefined ? undefined : Number(found[2]) };
}

function parseList(lines: string[], from: number, depth: number): { list: MarkupNode; end: number } {
  const items: MarkupItem[] = [];
  const ordered = findItem(lines[from]!)!.number !== undefined;
  let at = from;
  while (at < lines.length) {
    const item = findItem(lines[at]!);
    if (!item || (item.number !== undefined) !== ordered) break;
    const inside = [lines[at]!.slice(item.width)];
    for (at++; at < lines.length; at++) {
      const line = lines[at]!;
      const spaces = indent.exec(line)![0].length;
      if (spaces < item.indent + 2 || spaces === line.length) break;
      inside.push(line.slice(Math.min(spaces, item.width)));
    }
    items.push({ ...(item.number === undefined ? {} : { number: item.number }), children: parseBlocks(inside, depth + 1) });
  }
  return { list: { type: 'list', ordered, items }, end: at };
}

// ── within a line ─────────────────────────────────────────────────────────────────────────────────────────────────────

function parseLines(lines: string[], from: number, to: number, depth: number, out: MarkupNode[]): void {
  const nodes: MarkupNode[] = [];
  for (let at = from; at < to; at++) {
    if (at > from) nodes.push(textNode('\n'));
    for (const node of parseLine(lines[at]!, depth, true)) nodes.push(node);
  }
  for (const node of joinTexts(nodes)) out.push(node);
}

const textNode = (text: string) => ({ type: 'text' as const, text });

/** A run of markers that may begin something, and waits for its other half. */
interface Opener {
  char: string;
  /** Markers of the run that are not used yet. */
  count: number;
  /** Its place among the pieces. */
  piece: number;
  /** Where the run ends in the line. */
  end: number;
  /** It touches a letter on its outer side. */
  attached: boolean;
}

const special = /[*_~`[\\]|https?:\/\/|mailto:/gi;

/** @param depth  how many levels of marks may stand inside each other */
function parseLine(line: string, depth: number, links: boolean): MarkupNode[] {
  const pieces: MarkupNode[] = [];
  // How deep each piece is in itself.
  const heights: number[] = [];
  const openers: Opener[] = [];
  // Below this many openers none fits a closing run of that kind: each is looked at once, however many runs come.
  const bottoms = new Map<string, number>();
  const codes = findCode(line);
  const named = links && depth > 0 ? findNamedLinks(line, codes) : undefined;
  let lastLetter = -1;
  let done = 0;

  const push = (node: MarkupNode, height: number) => {
    pieces.push(node);
    heights.push(height);
  };
  const pushText = (to: number) => {
    if (to <= done) return;
    const text = line.slice(done, to);
    const letter = lastLetterOf(text);
    if (letter >= 0) lastLetter = done + letter;
    push(textNode(text), 0);
    done = to;
  };
  /** Takes `line` up to `to` as one piece. */
  const take = (node: MarkupNode, height: number, to: number) => {
    push(node, height);
    lastLetter = to - 1;
    done = to;
  };

  const closes = (char: string, count: number, attached: boolean): boolean => {
    const kind = `${char}${count}${attached}`;
    const bottom = Math.min(bottoms.get(kind) ?? 0, openers.length);
    for (let at = openers.length - 1; at >= bottom; at--) {
      const opener = openers[at]!;
      if (opener.char !== char || !fits(opener.count, count)) continue;
      if (char === '~' && opener.attached && !attached) {
        // A smile and the next one: neither is half of a strike.
        openers.splice(at, 1);
        break;
      }
      const height = 1 + highest(heights.slice(opener.piece + 1));
      // *^_^* is a face.
      if (lastLetter < opener.end || height > depth) break;
      const used = Math.min(opener.count, count) >= 2 ? 2 : 1;
      const children = joinTexts(cut(pieces, opener.piece + 1));
      cut(heights, opener.piece + 1);
      opener.count -= used;
      if (opener.count > 0) {
        pieces[opener.piece] = textNode(char.repeat(opener.count));
        cut(openers, at + 1);
      } else {
        cut(pieces, opener.piece);
        cut(heights, opener.piece);
        cut(openers, at);
      }
      push({ type: char === '~' ? 'strike' : used === 2 ? 'strong' : 'emphasis', children }, height);
      return true;
    }
    bottoms.set(kind, openers.length);
    return false;
  };

  const marks = (from: number, to: number) => {
    const char = line[from]!;
    const sides = sidesOf(line, from, to, char);
    let count = to - from;
    pushText(from);
    if (sides.closes) {
      while (count > 0 && closes(char, count, sides.attachedAfter)) count -= pieces.at(-1)!.type === 'emphasis' ? 1 : 2;
    }
    done = to;
    if (count === 0) return;
    push(textNode(char.repeat(count)), 0);
    if (sides.opens) openers.push({ char, count, piece: pieces.length - 1, end: to, attached: sides.attachedBefore });
  };

  special.lastIndex = 0;
  for (let found = special.exec(line); found; found = special.exec(line)) {
    const from = found.index;
    let next = from + found[0].length;
    switch (found[0][0]) {
      case '\\':
        // The marker behind it is a character. The backslash stays too: ¯\_(ツ)_/¯ keeps its arm.
        if (next < line.length && '*_~['.includes(line[next]!)) next++;
        break;
      case '`': {
        const code = codes.get(from);
        next = endOfRun(line, from);
        if (code !== undefined) {
          const run = next - from;
          pushText(from);
          take({ type: 'code', text: withoutPadding(line.slice(next, code)) }, 0, (next = code + run));
        }
        break;
      }
      case '[': {
        const link = named?.get(from);
        if (link) {
          pushText(from);
          const children = parseLine(line.slice(from + 1, link.textEnd), depth - 1, false);
          take({ type: 'link', href: link.href, children: joinTexts(children) }, 1 + highest(children.map(heightOf)), (next = link.end));
        }
        break;
      }
      case '*':
      case '_':
      case '~': {
        next = endOfRun(line, from);
        const length = next - from;
        if (found[0] === '*' ? length <= 3 : length === (found[0] === '_' ? 1 : 2)) marks(from, next);
        break;
      }
      default: {
        if (!links || depth === 0 || (from > 0 && /[A-Za-z0-9]/.test(line[from - 1]!))) break;
        next = Math.max(next, endOfBareLink(line, from));
        const href = line.slice(from, next);
        // What only looks like a link is passed over as a whole: within it none may begin either.
        if (!isAddress(href)) break;
        pushText(from);
        take({ type: 'link', href, children: [textNode(href)] }, 1, next);
      }
    }
    // Set each time: links are parsed by the same expression, one call within the other.
    special.lastIndex = next;
  }
  pushText(line.length);
  return pieces;
}

const fits = (opening: number, closing: number): boolean => opening === closing || opening === 3 || closing === 3;

/** Takes what stands from there on off the end, one by one: setting the length of a long array copies it, again and again. */
function cut<T>(all: T[], from: number): T[] {
  const taken: T[] = [];
  while (all.length > from) taken.push(all.pop()!);
  return taken.reverse();
}

// No spread: a call has room for so many arguments only.
const highest = (heights: number[]): number => heights.reduce((most, one) => Math.max(most, one), 0);

const heightOf = (node: MarkupNode): number => ('children' in node ? 1 + highest(node.children.map(heightOf)) : 0);

function joinTexts(nodes: MarkupNode[]): MarkupNode[] {
  const out: MarkupNode[] = [];
  let texts: string[] = [];
  const flush = () => {
    const text = texts.join('');
    if (text !== '') out.push(textNode(text));
    texts = [];
  };
  for (const node of nodes) {
    if (node.type === 'text') texts.push(node.text);
    else {
      flush();
      out.push(node);
    }
  }
  flush();
  return out;
}

function endOfRun(line: string, from: number): number {
  let to = from + 1;
  while (line[to] === line[from]) to++;
  return to;
}

/** Its search runs backwards and ends at the first letter, so that no stretch is read twice. */
function lastLetterOf(text: string): number {
  for (let at = text.length - 1; at >= 0; at--) if (/[\p{L}\p{N}\ud800-\udfff]/u.test(text[at]!)) return at;
  return -1;
}

/** Where code begins → where its closing run of as many backticks begins. */
function findCode(line: string): Map<number, number> {
  const codes = new Map<number, number>();
  if (!line.includes('`')) return codes;
  const runs = [...line.matchAll(/`+/g)];
  const later = new Map<number, number>();
  const partner = runs.map(() => -1);
  for (let at = runs.length - 1; at >= 0; at--) {
    const length = runs[at]![0].length;
    partner[at] = later.get(length) ?? -1;
    later.set(length, at);
  }
  for (let at = 0; at < runs.length; at++) {
    const end = partner[at]!;
    if (end < 0) continue;
    codes.set(runs[at]!.index, runs[end]!.index);
    at = end;
  }
  return codes;
}

/** A space beside a backtick is there to keep it from the markers. */
const withoutPadding = (code: string): string => (/^ `|` $/.test(code) && code.startsWith(' ') && code.endsWith(' ') ? code.slice(1, -1) : code);

// ── which side of a run of markers is the inner one ───────────────────────────────────────────────────────────────────

type Side = 'space' | 'mark' | 'letter' | 'cjk' | 'cjk-mark';

const cjkLetter = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\u30fc]/u;
const cjkMark = /[\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u2018-\u201f\u2026\u2014]/;
const letter = /[\p{L}\p{N}\p{M}]/u;

function sideOf(char: string): Side {
  if (char === '' || /\s/.test(char)) return 'space';
  if (cjkMark.test(char)) return 'cjk-mark';
  if (cjkLetter.test(char)) return 'cjk';
  return letter.test(char) ? 'letter' : 'mark';
}

/**
 * May a run open, may it close? Markdown asks for a space or punctuation around it, which Chinese and Japanese do not
 * write: beside them a star needs nothing. Not so `_`, which parts file names (报告_2024_终稿), and `~~`, which ends
 * sentences with a smile (好的~~明天见~~): a strike that begins at a letter also has to end at one (原价~~100~~元).
 */
function sidesOf(line: string, from: number, to: number, char: string) {
  const before = sideOf(charBefore(line, from));
  const after = sideOf(charAt(line, to));
  const isCjk = (side: Side) => side === 'cjk-mark' || (side === 'cjk' && char !== '_');
  const isLetter = (side: Side) => side === 'letter' || (side === 'cjk' && char === '_');
  const free = (outer: Side, inner: Side) => inner !== 'space' && (!isLetter(outer) || isCjk(inner));
  return { opens: free(before, after), closes: free(after, before), attachedBefore: before === 'cjk' || before === 'letter', attachedAfter: after === 'cjk' || after === 'letter' };
}

const charAt = (line: string, at: number): string => (at < line.length ? String.fromCodePoint(line.codePointAt(at)!) : '');

function charBefore(line: string, at: number): string {
  if (at === 0) return '';
  const code = line.charCodeAt(at - 1);
  return code >= 0xdc00 && code <= 0xdfff && at > 1 ? charAt(line, at - 2) : line[at - 1]!;
}

// ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface NamedLink {
  textEnd: number;
  end: number;
  href: string;
}

/** `[text](link)`, by where each begins. None stands in another, and none begins or ends in code. */
function findNamedLinks(line: string, codes: Map<number, number>): Map<number, NamedLink> | undefined {
  if (!line.includes('](')) return undefined;
  const found = new Map<number, NamedLink>();
  let brackets: number[] = [];
  for (let at = 0; at < line.length; at++) {
    const char = line[at]!;
    if (char === '`') {
      const code = codes.get(at);
      at = (code === undefined ? endOfRun(line, at) : endOfRun(line, code)) - 1;
    } else if (char === '[') {
      if (line[at - 1] !== '\\') brackets.push(at);
    } else if (char === ']') {
      const from = brackets.pop();
      if (from === undefined || line[at + 1] !== '(') continue;
      const end = endOfAddress(line, at + 2);
      const href = line.slice(at + 2, end);
      if (end === 0 || !isAddress(href) || line.slice(from + 1, at).trim() === '') continue;
      found.set(from, { textEnd: at, end: end + 1, href });
      brackets = [];
      at = end;
    }
  }
  return found;
}

/** Brackets have to be written as %5B in an address: so each stretch of a line is read for one link only. @returns the closing parenthesis, or 0 */
function endOfAddress(line: string, from: number): number {
  let open = 0;
  for (let at = from; at < line.length; at++) {
    const char = line[at]!;
    if (char === ')' && open-- === 0) return at;
    if (char === '(') open++;
    if (/[\s<>"[\]`]/.test(char)) return 0;
  }
  return 0;
}

const webAddress = /^https?:\/\/[\p{L}\p{N}][^/?#@\\]*(?:[/?#]|$)/iu;
const mailAddress = /^mailto:[^\s@:/?#]+@[^\s@:/?#]+(?:\?|$)/i;
// Characters that are not seen, or turn the direction: they make an address look like another.
const hidden = /[\u00ad\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f]/;

/** No user in front of the host: https://bank.example@evil.example leads elsewhere than it says. */
const isAddress = (href: string): boolean => (webAddress.test(href) || mailAddress.test(href)) && !hidden.test(href);

const neverInLink = /[\s<>"`|\\^{}\u2018-\u201f\u2026\u3000-\u303f\uff00-\uff20\uff3b-\uff40\uff5b-\uff65]/;
// Chinese words are part of an address behind these only: in wiki/中文, but not in example.org看看.
const beforeCjk = /[/=&?#%_+.-]/;
const partners: Record<string, string> = { ')': '(', ']': '[' };

/** @returns where that ends which begins here with the scheme of a link */
function endOfBareLink(line: string, from: number): number {
  const open: Record<string, number> = { '(': 0, '[': 0 };
  // Behind the scheme and its slashes.
  const start = line.indexOf(':', from) + (/^h/i.test(line[from]!) ? 3 : 1);
  let to = start;
  while (to < line.length) {
    const char = line[to]!;
    if (neverInLink.test(char)) break;
    if (cjkLetter.test(char) && to > start && !beforeCjk.test(line[to - 1]!) && !cjkLetter.test(line[to - 1]!)) break;
    if (char in open) open[char]!++;
    else if (char in partners && open[partners[char]!]!-- === 0) break;
    to++;
  }
  // What ends a sentence, or closes what the link stands in, is not part of it.
  for (; to > start; to--) {
    const char = line[to - 1]!;
    if (char in open && open[char]! > 0) open[char]!--;
    else if (!/[.,;:!?'*_~]/.test(char)) break;
  }
  return to;
}
