/** One way of pressing: `mod` is Ctrl, on Apple's keyboards Cmd; the last part is a `KeyboardEvent.key`. */
export type Keys = string;

interface Shortcut {
  /** Its words are at `shortcuts.<name>`. */
  name: string;
  group: 'go' | 'write' | 'read' | 'view';
  keys: readonly Keys[];
}

/** Those that work wherever the focus is; `useShortcuts` has a handler for each. */
export const everywhere = [
  { name: 'switcher', group: 'go', keys: ['mod+k'] },
  { name: 'previous', group: 'go', keys: ['alt+ArrowUp'] },
  { name: 'next', group: 'go', keys: ['alt+ArrowDown'] },
  { name: 'previousUnread', group: 'go', keys: ['alt+shift+ArrowUp'] },
  { name: 'nextUnread', group: 'go', keys: ['alt+shift+ArrowDown'] },
  { name: 'unread', group: 'go', keys: ['shift+u'] },
  { name: 'readAll', group: 'go', keys: ['shift+Escape'] },
  { name: 'region', group: 'go', keys: ['F6'] },
  { name: 'regionBack', group: 'go', keys: ['shift+F6'] },
  { name: 'sheet', group: 'go', keys: ['mod+/', '?'] },
] as const satisfies readonly Shortcut[];

export type ShortcutName = (typeof everywhere)[number]['name'];

/** Those of one place, which that place answers itself. They are here to be listed. */
const ofPlaces: readonly Shortcut[] = [
  { name: 'close', group: 'go', keys: ['Escape'] },
  { name: 'send', group: 'write', keys: ['Enter'] },
  { name: 'line', group: 'write', keys: ['shift+Enter'] },
  { name: 'edit', group: 'write', keys: ['ArrowUp'] },
  { name: 'emoji', group: 'write', keys: [':'] },
  { name: 'walk', group: 'read', keys: ['ArrowUp', 'ArrowDown'] },
  { name: 'menu', group: 'read', keys: ['shift+F10'] },
  { name: 'turn', group: 'view', keys: ['ArrowLeft', 'ArrowRight'] },
  { name: 'zoom', group: 'view', keys: ['Plus', '-', '0'] },
];

/** All that there are, as the sheet lists them. */
export const shortcuts: readonly Shortcut[] = [...everywhere, ...ofPlaces];

const apple = /Mac|iPhone|iPad/.test(navigator.platform);

/** Does this press these keys, and no more than them? */
export function isPressed(keys: Keys, event: KeyboardEvent): boolean {
  const parts = keys.split('+');
  const key = parts.at(-1)!;
  const mod = parts.includes('mod');
  if ((apple ? event.metaKey : event.ctrlKey) !== mod || (apple ? event.ctrlKey : event.metaKey) || event.altKey !== parts.includes('alt')) return false;
  // Where a sign lies on the keyboard, with Shift or without, is not ours to know.
  const isSign = key.length === 1 && !/[a-z]/.test(key);
  return (isSign || event.shiftKey === parts.includes('shift')) && event.key.toLowerCase() === key.toLowerCase();
}

/** Would it be a letter in a field? */
export const isLetter = (keys: Keys): boolean => /^(?:shift\+)?.$/.test(keys);

const marks: Record<string, string> = {
  ArrowUp: '↑',
  ArrowDown: '↓',
  ArrowLeft: '←',
  ArrowRight: '→',
  Plus: '+',
  '-': '−',
  Escape: 'Esc',
  mod: apple ? '⌘' : 'Ctrl',
  alt: apple ? '⌥' : 'Alt',
  shift: apple ? '⇧' : 'Shift',
};

/** What stands on the keys. */
export const caps = (keys: Keys): string[] => keys.split('+').map((key) => marks[key] ?? (key.length === 1 ? key.toUpperCase() : key));
