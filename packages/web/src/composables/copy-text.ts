/**
 * Puts a text on the clipboard, also on a page without HTTPS, which has no other way than the one of before.
 *
 * @throws where the browser does not let it
 */
export async function copyText(text: string): Promise<void> {
  // oxlint-disable-next-line typescript/no-unnecessary-condition -- not there on such pages, whatever the types say
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const before = document.activeElement as HTMLElement | null;
  const field = document.createElement('textarea');
  field.className = 'unseen';
  field.value = text;
  // Beside what was clicked: outside of an open dialog nothing can be selected.
  (before?.parentElement ?? document.body).append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  before?.focus();
  if (!done) throw new Error('The browser did not copy.');
}
