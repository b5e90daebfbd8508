import { get } from './fetch.ts';
import { internet, testNetwork } from './network.ts';
import { readHead } from './page.ts';
import type { Asked, Read, Start } from './talk.ts';

// The entry of the process that talks to strangers. It has no file, no secret and no setting but what it is told here, and
// says nothing but what it read; whoever started it believes none of that.

/** Milliseconds for the page, its redirects and its picture together. */
const withinMs = 5_000;
/** Pictures of one page that are tried. */
const tries = 2;

const page = /^(?:text\/html|application\/xhtml\+xml|image\/(?:png|jpeg|webp|gif|avif))$/;
const picture = /^image\/(?:png|jpeg|webp|gif|avif)$/;

function serve({ ownHosts, test }: Start): void {
  const network = test ? testNetwork(test) : internet;

  const look = async (url: string): Promise<Read | undefined> => {
    const signal = AbortSignal.timeout(withinMs);
    const fetching = { network, ownHosts, signal };
    const there = await get(new URL(url), page, fetching);
    if (there.type.startsWith('image/')) return { host: there.url.host, path: there.url.pathname.slice(-2_048), picture: await bytesOf(there.body) };
    const head = await readHead(there.body, there.charset, there.url);
    there.body.destroy();
    const { title, description } = head;
    const read: Read = { host: there.url.host, ...(title !== undefined && { title }), ...(description !== undefined && { description }) };
    for (const href of head.pictures.slice(0, tries)) {
      const found = await pictureAt(href).catch(() => undefined);
      if (found !== undefined) return { ...read, picture: found };
    }
    return read;

    async function pictureAt(href: string): Promise<string> {
      const at = new URL(href);
      // What is on the way to a page that nobody else can read stays like that.
      if (there.url.protocol === 'https:' && at.protocol === 'http:') at.protocol = 'https:';
      return bytesOf((await get(at, picture, fetching)).body);
    }
  };

  process.on('message', ({ id, url }: Asked) => {
    void look(url).then(
      (read) => process.send!({ id, read }),
      () => process.send!({ id }),
    );
  });
}

async function bytesOf(source: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks).toString('base64');
}

process.once('message', serve);
// Whoever started it is gone, and with them the reason to be here.
process.once('disconnect', () => process.exit());
