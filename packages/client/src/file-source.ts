import { limits } from '@kith/protocol';

/** A file as it is given: in browsers what was chosen, in Node `fs.openAsBlob`, which reads it only as it leaves. */
export interface FileSource {
  name: string;
  /** Default: that of the bytes. */
  type?: string;
  bytes: Blob;
}

/** What only its sender can measure, of pictures, sounds and videos. */
interface Measures {
  width?: number | undefined;
  height?: number | undefined;
  durationMs?: number | undefined;
  waveform?: number[] | undefined;
}

export interface SendFileOptions extends Measures {
  /** Default: image where people see it in place, file otherwise. */
  type?: 'image' | 'file' | 'voice';
  /** The caption. */
  text?: string;
  /** Leaves in a picture where it was taken. */
  original?: boolean | undefined;
  /** A picture out of a video, to be shown for it. */
  poster?: Blob | undefined;
}

export interface UploadOptions extends Measures {
  /** Where it will be sent. */
  conversationId?: string;
  original?: boolean | undefined;
  /** It becomes the picture of a person or a group: `avatar: 'file:<id>'` in `user.update` or `conversation.update`. */
  avatar?: boolean | undefined;
  /** So many bytes are at the server. */
  onSent?: (bytes: number) => void;
  signal?: AbortSignal;
}

/** Type and subtype, as `file.reserve` takes them; empty where there is none. */
export function mediaTypeOf({ type, bytes }: FileSource): string {
  const plain = (type ?? bytes.type).split(';', 1)[0]!.trim().toLowerCase();
  return /^[a-z0-9!#$&^_.+-]{1,63}\/[a-z0-9!#$&^_.+-]{1,63}$/.test(plain) ? plain : '';
}

/** As `file.reserve` takes it; of one that is too long the end stays, which tells what it is. */
export const nameOf = ({ name }: FileSource): string => (name === '' ? 'file' : name.slice(-limits.fileName));

const shownPictures = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif']);
export const isShownPicture = (type: string): boolean => shownPictures.has(type);
