import { fileUrl } from '@kith/client';
import type { FileRef, Message } from '@kith/protocol';

/** What is made of a file in a bubble. */
export type FileKind = 'picture' | 'video' | 'voice' | 'sound' | 'file';

/** What a bubble shows of a file, be it on the server or still on this device. */
export interface ShownFile {
  kind: FileKind;
  name: string;
  /** Bytes. */
  size: number;
  /** The media type. */
  type: string;
  /** All of it. */
  url: string;
  /** As it is shown in a bubble, and on a whole screen; of what is still on this device the file itself. Of videos a picture that stands for them. */
  small?: string;
  large?: string;
  /** A few pixels, as a `data:` URL: shown until the picture is there. */
  preview?: string;
  width?: number;
  height?: number;
  /** It moves; its smaller pictures do not. */
  animated?: boolean;
  durationMs?: number;
  waveform?: readonly number[];
  /** Stands in the place of the size. */
  note?: string;
  /** On the server: it can be kept, and sent on. */
  id?: string;
}

/** A file on this device: bytes that are on their way. */
export interface LocalFile extends Pick<ShownFile, 'name' | 'size' | 'type' | 'width' | 'height' | 'durationMs' | 'waveform' | 'note'> {
  /** An object URL. */
  url: string;
  /** An object URL of the picture that stands for a video. */
  poster?: string;
}

export const kindOf = (as: Message['type'], type: string): FileKind =>
  as === 'voice' ? 'voice' : as === 'image' ? 'picture' : type.startsWith('video/') ? 'video' : type.startsWith('audio/') ? 'sound' : 'file';

/** @param as  The type of the message that has it: a picture that was sent as a file is shown as one. */
export function shownFile(as: Message['type'], file: FileRef): ShownFile {
  const kind = kindOf(as, file.type);
  // A video has pictures where its sender made one; its tiny one tells of it.
  const pictured = kind === 'picture' || (kind === 'video' && file.preview !== undefined);
  return {
    ...file,
    kind,
    url: fileUrl(file),
    ...(pictured && { small: fileUrl(file, 'small'), large: fileUrl(file, 'large') }),
    preview: file.preview === undefined ? undefined : `data:image/webp;base64,${file.preview}`,
  };
}

export function shownLocal(as: Message['type'], file: LocalFile): ShownFile {
  const kind = kindOf(as, file.type);
  const picture = kind === 'picture' ? file.url : file.poster;
  return { ...file, kind, ...(picture !== undefined && { small: picture, large: picture }) };
}

/** Pixels of the box of a picture: its ratio is kept, and what is very high or wide is cut to this. */
const box = { width: 340, min: 120, max: 420 };

/**
 * The room that a picture takes in a bubble, known before any of it is there, so that nothing moves when it comes. A small
 * one is not blown up.
 */
export function boxOf({ width, height }: Pick<ShownFile, 'width' | 'height'>): { width: number; height: number } {
  // Nobody has measured it: a landscape, cut to that.
  if (!width || !height) return { width: box.width, height: (box.width * 10) / 16 };
  const within = (length: number, most: number): number => Math.round(Math.min(most, Math.max(box.min, length)));
  const scale = Math.min(1, box.width / width, box.max / height);
  return { width: within(width * scale, box.width), height: within(height * scale, box.max) };
}
