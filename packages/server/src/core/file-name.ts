/**
 * A file's name as people and programs may meet it: without folders, controls, what hides or turns text, and what some
 * system reads as more than a name. Bytes are never stored under it. Never empty.
 */
export function cleanFileName(given: string): string {
  const last =
    given
      .normalize('NFC')
      .split(/[/\\]/)
      .findLast((part) => part.trim() !== '' && !/^\.+$/.test(part)) ?? '';
  const name = last
    .toWellFormed()
    .replace(unseen, '')
    .replace(/[<>:"|?*%]/g, '_')
    .replace(/\s+/g, ' ')
    // A leading dash is an option to many programs, a leading dot hides; Windows drops dots and spaces at the end.
    .replace(/^[\s.-]+|[\s.]+$/g, '');
  if (name === '') return 'file';
  return devices.test(name) ? `_${name}` : name;
}

// Controls, and what protocol/text.ts takes for invisible: "gnp.exe" can be made to look like "exe.png".
// oxlint-disable-next-line no-control-regex
const unseen = /[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/** Names that are devices on Windows, whatever stands behind a dot. */
const devices = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)/i;
