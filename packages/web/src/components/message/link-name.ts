/** Where a link really leads, in few words: the host, or the mail address. Letters of other scripts that pass for ours come out as `xn--…`. */
export function destinationOf(href: string): string {
  if (!URL.canParse(href)) return href;
  const { protocol, host, pathname } = new URL(href);
  return protocol === 'mailto:' ? decodeURI(pathname) : host;
}

const address = /^(?:https?:\/\/|mailto:)?([^\s/?#]+\.[^\s/?#.]{2,})/iu;

/** The real destination, where the words of a link look like another address; else `undefined`. */
export function disguisedDestination(href: string, words: string): string | undefined {
  const shown = address.exec(words.trim())?.[1]?.toLowerCase();
  const real = destinationOf(href);
  return shown === undefined || shown === real || `www.${shown}` === real || shown === `www.${real}` ? undefined : real;
}
