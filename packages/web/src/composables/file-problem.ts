/** Why a file could not be loaded: true, it is recalled or not for this person any more; false, it may come another time. */
export async function isGone(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { method: 'HEAD' })).status === 404;
  } catch {
    return false;
  }
}
