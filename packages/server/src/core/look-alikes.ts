/**
 * Letters and digits of all alphabets that look like a Latin one, by the one that they look like, after compatibility forms and case
 * are folded: from `confusables.txt` of Unicode Technical Standard 39, © Unicode, Inc., under the Unicode License.
 */
const alike: Record<string, string> = {
  '2': 'ƨϩᒿꙅꛯꝛ',
  '3': 'ȝɜʒзӡⳍꝫ𑣊𖼻',
  '4': 'ꮞ𑣏',
  '5': '𑣛',
  '6': 'бⳓꮾ𑣕',
  '7': '𐓺𑣆',
  '8': 'ȣ৪੪𐌚',
  '9': '৭੧୨൭ⳋꝯ𑣌𑣖',
  a: 'ɑαаᗅꓮꭺ𐊠𖽀',
  b: 'ƅβвьᏼᑲᖯᗷꓐꞵꮟ𐊂𐊡𐌁',
  c: 'ςсᴄⲥꓚꮯ𐊢𐌂𐐽𐔜𑣩𑣲',
  d: 'ԁᑯᗞᗪꓒꓓꭰꮷ',
  e: 'εеҽⴹꓰꬲꭼ𐊆𑣎',
  f: 'ϝքᖴẝꓝꞙꬵ𐊇𐊥𐔥𑣂',
  g: 'ƍɡԍցᏻᶃꓖꮐ',
  h: 'ηнһհᕼⲏꓧꮋꮒ𐋏',
  i: 'ıɩɪιіӏꙇꭵ𑣃',
  j: 'ʝϳјᒍꓙꭻ',
  k: 'κкᛕⲕꓗꮶ𐔘',
  l: 'ǀ۱ᒪᛁⲓⳑⵏꓡꓲꮮ𐊊𐌉𐌠𐑃𐔦𑣒𖼖𖼨',
  m: 'μϻмᗰᛖⲙꓟꮇ𐊰𐌑',
  n: 'ոռⲛꓠ𐔓',
  o: 'οσоօ۵०০੦૦ଠ୦௦౦೦ഠ൦๐໐ဝ၀ჿዐᴏᴑⲟⵔ〇ꓳꬽ𐊒𐊫𐐬𐓪𐔖𑓐𑣈𑣗𑣠',
  p: 'ρрᑭⲣꓑꮲ𐊕',
  q: 'ԛգզⵕ',
  r: 'ʀгᖇᴦⲅꓣꭇꭈꭱꮁꮢ𐓜𖼵',
  s: 'ƽѕտꓢꜱꮥꮪ𐊖𐑈𑣁𖼺',
  t: 'τтⲧꓔꭲ𐊗𐊱𐌕𖼊',
  u: 'ʋυսሀᑌᴜꓴꞟꭎꭒ𐓶𑣘𖽂',
  v: 'νѵ۷ᐯᴠⴸꓦꛟꮩ𐔝𑜆𑣀𖼈',
  w: 'ɯѡԝաᴡꓪꮃꮤ𑜊𑜎𑜏𑣦𑣯',
  x: 'χхᕁᕽᚷⲭⵝꓫꭓ𐊐𐊴𐌗𐌢𐔧𑣬',
  y: 'ɣʏγуүყᶌỿⲩꓬꭚꭹꮍ𐊲𑣜𖽃',
  z: 'ζᴢꓜꮓ𐋵𑣄𑣉𑣥',
};
const latin = new Map(Object.entries(alike).flatMap(([letter, others]) => Array.from(others, (other) => [other, letter] as const)));

/** Does the name look like the other without being it? Case aside people have the same name as others, and honestly. */
export function looksLike(name: string, other: string): boolean {
  return same(name) !== same(other) && (shapeOf(name) === shapeOf(other) || wordOf(name) === wordOf(other));
}

/** Does it read as the server's own voice, in any way of writing it? */
export const readsAsServer = (name: string): boolean => spoken.has(strokes(wordOf(name)));

const same = (name: string): string => name.normalize('NFC').toLowerCase();

/** As it is drawn: a capital I is an l, and a B is no b. */
const shapeOf = (name: string): string =>
  bare(Array.from(name.normalize('NFKC'), (letter) => latin.get(letter) ?? latin.get(letter.toLowerCase())?.toUpperCase() ?? letter).join(''))
    .replaceAll('0', 'O')
    .replace(/[I1|]/g, 'l');

/** As it is read: case makes no difference, and an i is an i. A Turkish capital one has a dot too many when it is small. */
const wordOf = (name: string): string =>
  bare(Array.from(name.normalize('NFKC').toLowerCase().replaceAll('i\u0307', 'i').normalize('NFKC'), (letter) => latin.get(letter) ?? letter).join(''))
    .replaceAll('0', 'o')
    .replace(/[1|]/g, 'l');

/** Without what stands around the words, and with two letters that look like one as that one. */
function bare(name: string): string {
  const joined = name.replaceAll('rn', 'm').replaceAll('vv', 'w');
  return joined.replace(/^[\p{P}\p{Z}]+|[\p{P}\p{Z}]+$/gu, '') || joined;
}

const strokes = (word: string): string => word.replaceAll('i', 'l');
const voices = [
  'admin',
  'administrator',
  'system',
  'support',
  'everyone',
  'operator',
  'moderator',
  'root',
  'kith',
  'announcements',
  '管理员',
  '系统',
  '系统消息',
  '客服',
  '官方',
  '公告',
  '所有人',
];
const spoken = new Set(voices.map((voice) => strokes(wordOf(voice))));
