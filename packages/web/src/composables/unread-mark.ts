/** "(3) Kith", or what the site is called; a dot on the tab's icon, and the mark on the installed application's. The same in every tab. */
export function markUnread(n: number, siteName: string): void {
  document.title = n ? `(${n > 99 ? '99+' : n}) ${siteName}` : siteName;
  document.querySelector<HTMLLinkElement>('link[rel="icon"]')!.href = n ? '/icon-unread.svg' : '/icon.svg';
  if ('setAppBadge' in navigator) void (n ? navigator.setAppBadge(n) : navigator.clearAppBadge()).catch(() => undefined);
}
