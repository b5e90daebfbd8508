import type { Rolldown } from 'vite';

const entry = /\/src\/main\.ts$/;
/** What is loaded at once by who is not signed in, and by who is, though not with the page. */
const gate = /\/src\/views\/GateView\.vue$/;
const soon = /\/src\/composables\/useNotifications\.ts$/;

/**
 * The files that the build is cut into. Left alone, whatever two screens share becomes a file of its own, and a first
 * load is forty requests. Instead: `vendor` (other people's code, which changes rarely) and `app` for all that an open
 * conversation needs, `gate`, `soon` and `more` for what later screens share with the gate, with notifications and with each
 * other, and one for each of these.
 */
export function chunkGroups(): Rolldown.CodeSplittingGroup[] {
  const atStart = reachedFrom(entry);
  const fromGate = reachedFrom(gate);
  const fromSoon = reachedFrom(soon);

  const when = (test: (id: string) => boolean, name: string): Rolldown.CodeSplittingGroup => ({
    name: (id, context) => (test(id) && atStart(id, context) ? name : null),
    debugName: name,
  });
  return [
    { ...when((id) => /\/node_modules\//.test(id), 'vendor'), priority: 2 },
    { ...when(() => true, 'app'), priority: 1 },
    { name: (id, context) => (fromGate(id, context) ? 'gate' : null), debugName: 'gate', minShareCount: 2, priority: 0.6 },
    { name: (id, context) => (fromSoon(id, context) ? 'soon' : null), debugName: 'soon', minShareCount: 2, priority: 0.5 },
    { name: 'more', minShareCount: 2 },
  ];
}

/** Tells whether a module is reached from one of these by static imports alone. */
function reachedFrom(from: RegExp): (id: string, context: Rolldown.ChunkingContext) => boolean {
  const known = new Map<string, boolean>();
  return function reached(id: string, context: Rolldown.ChunkingContext): boolean {
    const before = known.get(id);
    if (before !== undefined) return before;
    // While it is being asked about it is no way to itself: modules may import each other.
    known.set(id, false);
    const is = from.test(id) || (context.getModuleInfo(id)?.importers ?? []).some((importer) => reached(importer, context));
    known.set(id, is);
    return is;
  };
}
