import { RequestError, limits, linkText } from '@kith/protocol';
import type { Blobs } from '../blobs/blobs.ts';
import type { Config } from '../config.ts';
import type { Core, LinkPage, SentLink } from '../core/core.ts';
import type { Clock } from '../gateway/clock.ts';
import { shownType } from '../http/file-types.ts';
import type { Log } from '../log.ts';
import type { Pictures } from '../pictures/pictures.ts';
import { openFetcher } from './fetcher.ts';
import type { TestNetwork } from './network.ts';
import type { Read } from './talk.ts';

/** Links that are looked at at once, and that may wait for it; beyond that they get no preview. */
const atOnce = 4;
const mostWaiting = 100;
/** Looks at strangers' servers that one person may cause, in so many milliseconds. */
const perPerson = 10;
const perMs = 60_000;
/** Milliseconds for which it is remembered what is there, and that there is nothing. */
const keptMs = 6 * 3_600_000;
const nothingKeptMs = 1_800_000;
/** Addresses remembered, and bytes of their pictures. */
const mostKept = 500;
const mostKeptBytes = 8_388_608;

/** Pixels of a side of what is shown, and of what it is made of at least: marks that count visitors have one. */
const side = 192;
const smallestSide = 48;

interface Parts {
  core: Core;
  blobs: Blobs;
  config: Config;
  clock: Clock;
  log: Log;
  pictures: Pictures;
  test?: TestNetwork;
}

export interface Previews {
  /** Of the process that talks to strangers, while there is one. */
  readonly pid: number | undefined;
  close(): Promise<void>;
}

/** What is shown of an address: the same for whoever sends it. */
interface Seen {
  page: Omit<LinkPage, 'pictureId'>;
  picture?: Thumbnail;
}

/**
 * Makes previews of the links that people send. The message is there before; all that waits or is remembered here is lost
 * with the process, and nobody misses it.
 */
export function openPreviews({ core, blobs, config, clock, log, pictures, test }: Parts): Previews {
  const ownHosts = config.publicUrl === undefined ? [] : [new URL(config.publicUrl).hostname];
  const fetcher = openFetcher({ log, ownHosts, ...(test && { test }) });
  const seen = new Memory();
  const looking = new Map<string, Promise<Seen | undefined>>();
  const looks = new Map<string, number[]>();
  const waiting: SentLink[] = [];
  const running = new Set<Promise<void>>();
  let closed = false;

  const mayLook = (userId: string): boolean => {
    if (!config.rateLimits) return true;
    const now = clock.now();
    for (const [id, times] of looks) if (times.at(-1)! <= now - perMs) looks.delete(id);
    const recent = (looks.get(userId) ?? []).filter((at) => at > now - perMs);
    if (recent.length >= perPerson) return false;
    looks.set(userId, [...recent, now]);
    return true;
  };

  const look = async (url: string): Promise<Seen | undefined> => {
    const read = await fetcher.read(url);
    const page = read && pageOf(read);
    const picture = read?.picture === undefined ? undefined : await thumbnail(pictures, Buffer.from(read.picture, 'base64'));
    // A picture is worth showing by itself; an address without a word is not.
    const found = page && (page.title !== '' || picture) ? { page, ...(picture && { picture }) } : undefined;
    seen.keep(url, found, clock.now() + (found ? keptMs : nothingKeptMs));
    return found;
  };

  const find = (link: SentLink): Promise<Seen | undefined> => {
    const url = link.url.split('#', 1)[0]!;
    const known = seen.find(url, clock.now());
    if (known) return Promise.resolve(known.seen);
    let found = looking.get(url);
    if (!found) {
      if (!mayLook(link.senderId)) return Promise.resolve(undefined);
      found = look(url).finally(() => looking.delete(url));
      looking.set(url, found);
    }
    return found;
  };

  /** Durable before it is named anywhere; what is not named in the end is swept like an upload that nobody sent. */
  const keep = async (link: SentLink, { bytes }: Thumbnail): Promise<string | undefined> => {
    const id = await core.reserveLinkPicture(link, { size: bytes.length, width: side, height: side });
    if (id === undefined) return undefined;
    try {
      await blobs.append(id, 0, one(bytes));
      const { sha256 } = await blobs.finish(id);
      return (await core.fileStored(id, { sha256, type: 'image/webp' })) ? id : undefined;
    } catch (error) {
      // Without room for a picture there is room for its words.
      if (error instanceof RequestError) return undefined;
      throw error;
    }
  };

  const make = async (link: SentLink): Promise<void> => {
    // Recalled or switched off while it waited: then nobody is asked for it.
    if (!(await core.linkWanted(link))) return;
    const found = await find(link);
    if (!found || closed) return;
    const pictureId = found.picture && (await keep(link, found.picture));
    await core.linkFound(link, { ...found.page, ...(pictureId !== undefined && { pictureId }) });
  };

  const next = (): void => {
    while (running.size < atOnce && waiting.length > 0) {
      const made = make(waiting.shift()!)
        .catch((error: unknown) => {
          if (!closed) log.warn({ err: error }, 'a preview could not be made');
        })
        .finally(() => {
          running.delete(made);
          next();
        });
      running.add(made);
    }
  };

  core.onLink((link) => {
    if (closed || waiting.length >= mostWaiting) return;
    waiting.push(link);
    next();
  });

  return {
    get pid() {
      return fetcher.pid;
    },
    async close() {
      closed = true;
      waiting.length = 0;
      await fetcher.close();
      await Promise.all(running);
    },
  };
}

/** A square of the middle, as WebP. */
interface Thumbnail {
  bytes: Uint8Array;
}

/** Decoded elsewhere, like what people send themselves. @returns undefined: it is no picture, or none worth showing */
async function thumbnail(pictures: Pictures, bytes: Buffer): Promise<Thumbnail | undefined> {
  const type = shownType(bytes.subarray(0, 256));
  if (!type?.startsWith('image/')) return undefined;
  const look = await pictures.look(() => one(bytes), { size: bytes.length, type, avatar: true, original: false });
  if ('refused' in look || Math.min(look.width, look.height) < smallestSide) return undefined;
  const made = look.renditions.find(({ name }) => name === '192');
  return made && { bytes: made.bytes };
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** What a page says of itself, as text that can stand beside what people say. */
function pageOf({ host, title = '', description = '', path }: Read): Omit<LinkPage, 'pictureId'> | undefined {
  // A host that an address can have, and nothing else, is shown as where a link leads.
  if (!/^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/.test(host)) return undefined;
  const words = linkText(title, limits.linkTitle) || (path === undefined ? '' : linkText(nameIn(path), limits.linkTitle));
  const more = linkText(description, limits.linkDescription);
  return { site: host, title: words, ...(more !== '' && more !== words && { description: more }) };
}

function nameIn(path: string): string {
  const last = path.split('/').at(-1) ?? '';
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/** What was there when it was looked at last. What was used longest ago goes first. */
class Memory {
  readonly #all = new Map<string, { seen: Seen | undefined; until: number }>();
  #bytes = 0;

  find(url: string, now: number): { seen: Seen | undefined } | undefined {
    const found = this.#all.get(url);
    if (!found) return undefined;
    this.#forget(url);
    if (found.until <= now) return undefined;
    this.#add(url, found);
    return found;
  }

  keep(url: string, seen: Seen | undefined, until: number): void {
    this.#forget(url);
    this.#add(url, { seen, until });
    while (this.#all.size > mostKept || this.#bytes > mostKeptBytes) this.#forget(this.#all.keys().next().value!);
  }

  #add(url: string, entry: { seen: Seen | undefined; until: number }): void {
    this.#all.set(url, entry);
    this.#bytes += entry.seen?.picture?.bytes.length ?? 0;
  }

  #forget(url: string): void {
    this.#bytes -= this.#all.get(url)?.seen?.picture?.bytes.length ?? 0;
    this.#all.delete(url);
  }
}
