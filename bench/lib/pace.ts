/**
 * Sends at a steady rate, whatever comes back: who waits for answers measures how fast they come, and not what somebody else would wait.
 *
 * @param isThrough  Has all of it come back? Asked once in a millisecond.
 */
export function pace({ perSecond, total }: { perSecond: number; total: number }, send: () => void, isThrough: () => boolean): Promise<void> {
  const began = performance.now();
  let sent = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(total, ((performance.now() - began) / 1_000) * perSecond);
      for (; sent < due; sent++) send();
      if (sent < total || !isThrough()) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
}
