/**
 * What becomes of pictures that people send: measured, cleaned of what they tell about places and people, and made small.
 * Decoding what strangers send is not done in this process, nor with its rights.
 */
export interface Pictures {
  /**
   * Looks at a picture. Waits in a line where others are looked at.
   *
   * @param bytes  All of it, from the beginning each time: it may be looked at twice.
   * @throws what the bytes threw
   * @throws busy when the server stops
   */
  look(bytes: () => AsyncIterable<Uint8Array>, wish: Wish): Promise<Look>;

  /** Ends what is running. */
  close(): Promise<void>;
}

export interface Wish {
  /** Bytes that will come. */
  size: number;
  /** Its type, as its first bytes say. */
  type: string;
  /** Wanted as the picture of a person or a group: square, in the three sizes of those. */
  avatar: boolean;
  /** Where it was taken, and with what, may stay in it. */
  original: boolean;
}

/** What looking at one picture may take: milliseconds of processor time, MiB of memory. */
export interface Most {
  ms: number;
  memoryMib: number;
}

export type Look = { refused: Refusal } | Picture;

/** Why something is no picture to us. It is a file like any other then. */
export type Refusal =
  /** Damaged, or not what its beginning says. */
  | 'unreadable'
  /** A format that this server cannot decode, like HEIC. */
  | 'unsupported'
  /** More bytes, pixels or frames than are looked at. */
  | 'too_large'
  /** It took more time or memory than there is for one. */
  | 'too_costly'
  /** Pictures cannot be looked at on this machine. */
  | 'no_decoder';

export interface Picture {
  /** Pixels, upright. */
  width: number;
  height: number;
  /** It moves; what is made of it does not. */
  animated: boolean;
  /** A WebP of a few pixels, base64. */
  preview: string;
  /** What is to be taken out of the original; in order, and apart. */
  cuts: Cut[];
  /** Smaller ones, as WebP, by their names. */
  renditions: { name: RenditionName; bytes: Uint8Array }[];
}

/** These bytes of the original, from `at` to before `end`, are others, or none. */
export interface Cut {
  at: number;
  end: number;
  put?: Uint8Array;
}

/** Of a picture in a conversation: the box that each fits into, in pixels. */
export const boxes = { small: 720, large: 1_920 } as const;
/** Of the picture of a person or a group: the side of each, in pixels. */
export const sides = { '64': 64, '192': 192, '512': 512 } as const;

export type RenditionName = keyof typeof boxes | keyof typeof sides;

/** The bytes of the original with the cuts made. */
export async function* withCuts(bytes: AsyncIterable<Uint8Array>, cuts: readonly Cut[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  let next = 0;
  for await (const chunk of bytes) {
    const end = at + chunk.length;
    let from = at;
    for (let cut = cuts[next]; cut && cut.at < end; cut = cuts[next]) {
      if (cut.at > from) yield chunk.subarray(from - at, cut.at - at);
      // Put in where its range begins; the range may go on into the next chunks.
      if (cut.at >= from && cut.put) yield cut.put;
      from = Math.max(from, Math.min(cut.end, end));
      if (cut.end > end) break;
      next += 1;
    }
    if (from < end) yield chunk.subarray(from - at);
    at = end;
  }
  const last = cuts[next];
  if (last?.put && last.at >= at) yield last.put;
}
