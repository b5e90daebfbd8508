import { performance } from 'node:perf_hooks';

/** Watches how idle this process, the load, is: were it busy, it would measure itself. */
export function watchIdle(): () => number {
  const before = performance.eventLoopUtilization();
  return () => 1 - performance.eventLoopUtilization(before).utilization;
}
