/** A colon that may begin an emoji: at the beginning, behind a space or a mark, but not in 12:30, https: or note:this. */
const token = /(?:^|[^\p{L}\p{N}_:/\\])[:](?<latin>[\p{L}\p{N}_+-]{1,24})$|[\p{Script=Han}][:](?<behindHan>[a-z_+-]{2,24})$/iu;
const chinese = /^\p{Script=Han}+$/u;

/** The word that is being completed: `:smi` → `smi`, from its colon. Two letters at least, or one Chinese one. */
export function completionAt(text: string, caret: number): { from: number; query: string } | undefined {
  // A word ends where the next one begins: in the middle of one nothing is completed.
  if (/^[\p{L}\p{N}_]/u.test(text.slice(caret, caret + 2)) && !chinese.test(text.slice(caret, caret + 1))) return undefined;
  const found = token.exec(text.slice(Math.max(0, caret - 27), caret))?.groups;
  const query = found?.['latin'] ?? found?.['behindHan'];
  if (query === undefined || (query.length < 2 && !chinese.test(query))) return undefined;
  return { from: caret - query.length - 1, query };
}
