/** Open tabs of this browser, its service worker among them, agree through Web Locks: a lock goes with the tab that held it. */
const looking = 'kith.looking/';
/** Plain HTTP from another machine has no locks: each tab then acts as if it were the only one. */
const locks = (navigator as Partial<Navigator>).locks;

/** What one tab does for all. */
export type Duty = 'kith.notifications' | 'kith.sound';

/**
 * Takes a duty upon this tab, as soon as no other has it.
 *
 * @returns Has this tab the duty now?
 */
export function takeDuty(duty: Duty): () => boolean {
  let mine = !locks;
  // Kept until the tab goes; whoever waits is next.
  void locks?.request(duty, () => new Promise<never>(() => (mine = true)));
  return () => mine;
}

/** Has any tab this duty? */
export async function hasDuty(duty: Duty): Promise<boolean> {
  return (await held()).includes(duty);
}

let release: (() => void) | undefined;
let lookedAtHere: string | undefined;

/**
 * Says what the person has in front of them in this tab.
 *
 * @param conversationId  '': a page without a conversation; undefined: the tab is hidden or not the one they type in.
 */
export function lookAt(conversationId: string | undefined): void {
  if (conversationId === lookedAtHere) return;
  lookedAtHere = conversationId;
  release?.();
  release = undefined;
  if (conversationId === undefined || !locks) return;
  const until = new Promise<void>((resolve) => (release = resolve));
  void locks.request(looking + conversationId, { mode: 'shared' }, () => until);
}

/** Conversations that the person has in front of them in any tab, '' where they look at something else; empty: they look at none of ours. */
export async function lookedAt(): Promise<Set<string>> {
  if (!locks) return new Set(lookedAtHere === undefined ? [] : [lookedAtHere]);
  return new Set((await held()).filter((name) => name.startsWith(looking)).map((name) => name.slice(looking.length)));
}

async function held(): Promise<string[]> {
  return ((await locks?.query())?.held ?? []).map(({ name }) => name!);
}
