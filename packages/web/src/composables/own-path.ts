/** Where a link with `?next=` leads after signing in: an address of ours, or the beginning. Anybody can make such a link. */
export function ownPath(next: unknown, origin = location.origin): string {
  const url = typeof next === 'string' && next.startsWith('/') ? URL.parse(next, origin) : null;
  return url?.origin === origin ? url.pathname.replace(/^\/+/, '/') + url.search + url.hash : '/';
}
