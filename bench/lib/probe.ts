import { isMainThread } from 'node:worker_threads';
import { runInNewContext } from 'node:vm';
import { setFlagsFromString } from 'node:v8';

// Loaded into a server under load (`--import`): tells what the operating system counts of the whole process, all threads
// together, and for how long its loop stood still. It does nothing unless it is asked.

export interface Usage {
  /** Microseconds of user and system time of all threads, since the start. */
  cpu: number;
  /** Bytes. */
  rss: number;
  heap: number;
  external: number;
  /** Milliseconds for which the loop was late at most, since stalls are watched or were last asked. */
  stall: number;
  /**
   * Milliseconds of processor time that the loop's thread took at most between two looks: by so much it stood still through
   * work of its own, and not because the machine had other things to do.
   */
  busy: number;
  /** What keeps the loop alive: sockets, timers, ports. */
  handles: number;
}

export type Ask = { ask: 'usage'; collect?: boolean } | { ask: 'watch'; on: boolean };

/** Milliseconds between looks at the clock. */
const lookMs = 2;

/** Milliseconds of processor time that this thread has taken. */
function threadCpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

if (isMainThread && process.send) {
  let [stall, busy] = [0, 0];
  let timer: NodeJS.Timeout | undefined;
  const watch = (on: boolean): void => {
    clearInterval(timer);
    [stall, busy] = [0, 0];
    if (!on) return;
    let [last, lastCpu] = [performance.now(), threadCpu()];
    timer = setInterval(() => {
      const [now, cpu] = [performance.now(), threadCpu()];
      stall = Math.max(stall, now - last - lookMs);
      busy = Math.max(busy, cpu - lastCpu);
      [last, lastCpu] = [now, cpu];
    }, lookMs);
    timer.unref();
  };
  process.on('message', (message: Ask) => {
    if (message.ask === 'watch') return watch(message.on);
    if (message.collect) {
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      collect();
      collect();
    }
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed: heap, external } = process.memoryUsage();
    process.send!({ cpu: user + system, rss, heap, external, stall, busy, handles: process.getActiveResourcesInfo().length } satisfies Usage);
    [stall, busy] = [0, 0];
  });
  process.channel?.unref();
}
