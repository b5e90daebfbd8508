import { Parser } from 'htmlparser2';

/** What the head of a page says of it. As it stands there: whoever shows it cleans it. */
export interface Head {
  title: string | undefined;
  description: string | undefined;
  /** Where its picture is, best first. */
  pictures: string[];
}

/** UTF-16 units of anything that is kept. */
const most = 2_048;
/** Bytes in which a page says in what it is written. */
const sniffed = 1_024;

/**
 * Reads the head of a page and no further.
 *
 * @param charset  Of the header; may be empty.
 * @throws what the source throws
 */
export async function readHead(source: AsyncIterable<Buffer>, charset: string, url: URL): Promise<Head> {
  const head = new HeadReader(url);
  let decoder: TextDecoder | undefined;
  let first: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    if (decoder) head.write(decoder.decode(chunk, { stream: true }));
    else {
      first = Buffer.concat([first, chunk]);
      if (first.length < sniffed) continue;
      decoder = decoderOf(first, charset);
      head.write(decoder.decode(first, { stream: true }));
    }
    if (head.over) return head.read();
  }
  decoder ??= decoderOf(first, charset);
  head.write(decoder.decode(first.length < sniffed ? first : undefined));
  return head.read();
}

/** A mark at the beginning, else the header, else the page itself, else UTF-8: as browsers do it. */
function decoderOf(first: Buffer, charset: string): TextDecoder {
  const start = first.subarray(0, sniffed).toString('latin1');
  const said = /<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]{1,40})/i.exec(start)?.[1];
  const marked = start.startsWith('\u00ff\u00fe') ? 'utf-16le' : start.startsWith('\u00fe\u00ff') ? 'utf-16be' : start.startsWith('\u00ef\u00bb\u00bf') ? 'utf-8' : undefined;
  for (const label of [marked, charset, said]) {
    if (label === undefined || label === '') continue;
    try {
      return new TextDecoder(label);
    } catch {
      // Nothing that anybody knows; perhaps the next one.
    }
  }
  return new TextDecoder();
}

class HeadReader {
  /** The head has ended: what comes is the page. */
  over = false;
  readonly #url: URL;
  readonly #said = new Map<string, string>();
  readonly #parser: Parser;
  #base: string | undefined;
  #inTitle = false;
  #title = '';

  constructor(url: URL) {
    this.#url = url;
    this.#parser = new Parser({
      onopentag: (name, attributes) => this.#open(name, attributes),
      ontext: (text) => {
        if (this.#inTitle && this.#title.length < most) this.#title += text.slice(0, most);
      },
      onclosetag: (name) => {
        if (name === 'title') this.#inTitle = false;
        if (name === 'head') this.#end();
      },
    });
  }

  write(text: string): void {
    if (!this.over) this.#parser.write(text);
  }

  #end(): void {
    this.over = true;
    this.#parser.pause();
  }

  #open(name: string, attributes: Record<string, string>): void {
    if (this.over) return;
    if (name === 'body') this.#end();
    else if (name === 'title') this.#inTitle = this.#title === '';
    else if (name === 'base') this.#base ??= attributes['href'];
    else if (name === 'meta') this.#keep(attributes['property'] ?? attributes['name'], attributes['content']);
    else if (name === 'link') for (const rel of attributes['rel']?.split(/\s+/, 8) ?? []) this.#keep(rel, attributes['href']);
  }

  /** The first of each counts. */
  #keep(key: string | undefined, value: string | undefined): void {
    const wanted = key?.trim().toLowerCase() ?? '';
    if (!keys.has(wanted) || value === undefined || value.trim() === '' || this.#said.has(wanted)) return;
    this.#said.set(wanted, value.slice(0, most));
  }

  read(): Head {
    const first = (names: string[]): string | undefined => names.map((name) => this.#said.get(name)).find((value) => value !== undefined);
    const base = URL.parse(this.#base ?? '', this.#url.href) ?? this.#url;
    return {
      title: first(titles) ?? (this.#title.trim() === '' ? undefined : this.#title),
      description: first(descriptions),
      pictures: pictures.flatMap((name) => URL.parse(this.#said.get(name)?.trim() ?? 'none:', base.href)?.href ?? []).filter((href) => /^https?:/.test(href)),
    };
  }
}

const titles = ['og:title', 'twitter:title'];
const descriptions = ['og:description', 'twitter:description', 'description'];
const pictures = ['og:image:secure_url', 'og:image', 'og:image:url', 'twitter:image', 'twitter:image:src', 'apple-touch-icon', 'apple-touch-icon-precomposed', 'icon'];
const keys = new Set([...titles, ...descriptions, ...pictures]);
