import type { Rolldown } from 'vite';

const entry = /\/src\/main\.ts$/;

/**
 * The files that the build is cut into. Left alone, whatever two screens share becomes a file of its own, and a first
 * load is forty requests. Instead: `vendor` (other people's code, which changes rarely) and `app` for all that an open
 * conversation needs, `more` for what later screens share, and one for each of these.
 */
export function chunkGroups(): Rolldown.CodeSplittingGroup[] {
  const known = new Map<string, boolean>();

  /** Is the module reached from the entry by static imports alone? */
  function atStart(id: string, context: Rolldown.ChunkingContext): boolean {
    const before = known.get(id);
    if (before !== undefined) return before;
    // While it is being asked about it is no way to itself: modules may import each other.
    known.set(id, false);
    const is = entry.test(id) || (context.getModuleInfo(id)?.importers ?? []).some((importer) => atStart(importer, context));
    known.set(id, is);
    return is;
  }

  const when = (test: (id: string) => boolean, name: string): Rolldown.CodeSplittingGroup => ({
    name: (id, context) => (test(id) && atStart(id, context) ? name : null),
    debugName: name,
  });
  return [
    { ...when((id) => /\/node_modules\//.test(id), 'vendor'), priority: 2 },
    { ...when(() => true, 'app'), priority: 1 },
    { name: 'more', minShareCount: 2 },
  ];
}
