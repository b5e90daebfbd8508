import type { Pending, PendingWithFile } from '@kith/client';
import { t } from '../i18n.ts';
import { type ShownFile, shownLocal } from './shown-file.ts';
import { useClient } from './useClient.ts';
import { useFormat } from './useFormat.ts';

/** Object URLs of files that are on their way or have just arrived, by the client id of their message. */
const urls = new Map<string, { url: string; poster?: string | undefined }>();
/** So many are kept of what has arrived, for the moment until the one of the server is there. */
const kept = 50;

export function keepLocal(clientId: string, found: { url: string; poster?: string | undefined }): void {
  urls.set(clientId, found);
  if (urls.size <= kept) return;
  const { outbox } = useClient();
  for (const [id, { url, poster }] of urls) {
    if (urls.size <= kept) return;
    if (outbox.bytes(id)) continue;
    urls.delete(id);
    URL.revokeObjectURL(url);
    if (poster) URL.revokeObjectURL(poster);
  }
}

/** What a bubble shows of a file that is on its way: the bytes on this device. */
export function shownPending(pending: Pending): ShownFile | undefined {
  const { clientId, type, file } = pending;
  if (!file) return undefined;
  const { name, size, width, height, durationMs, waveform } = file;
  if (!urls.has(clientId)) {
    const bytes = useClient().outbox.bytes(clientId);
    const poster = useClient().outbox.bytes(clientId, 'poster');
    if (bytes) keepLocal(clientId, { url: URL.createObjectURL(bytes), ...(poster && { poster: URL.createObjectURL(poster) }) });
  }
  const found = urls.get(clientId);
  // Its bytes are lost: then its name is all there is to show.
  if (!found) return { kind: 'file', name, size, type: file.type, url: '' };
  const { bytes } = useFormat();
  const note = isUploading(pending) && file.sent > 0 ? t('upload.sent', { sent: bytes(file.sent), size: bytes(size) }) : undefined;
  return shownLocal(type, { name, size, type: isPlayed(file.type) ? file.type : '', width, height, durationMs, waveform, ...(note && { note }), ...found });
}

/** Of videos two kinds are played in place; others are files, as they will be on the server. */
export const isPlayed = (type: string): boolean => !type.startsWith('video/') || type === 'video/mp4' || type === 'video/webm';

export const isUploading = (pending: Pending | undefined): pending is PendingWithFile =>
  pending?.state === 'waiting' && pending.file !== undefined && pending.file.state !== 'stored';
