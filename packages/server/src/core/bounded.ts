import { type Bound, RequestError, limits } from '@kith/protocol';
import type { Core } from './core.ts';

/** Milliseconds after which to ask a core again that was behind. */
const againMs = 1_000;

/**
 * Whatever a core has been asked and not answered is memory on both sides of the seam. From here on it is asked no more than it may be
 * behind by: the rest is busy at once, and asked again by its client, in its order and with the same client ids.
 */
export function bounded(core: Core, onLimit: (limit: Bound) => void): Core {
  const handle = core.handle.bind(core);
  let [requests, units] = [0, 0];
  const busy = (limit: Bound): Promise<never> => {
    onLimit(limit);
    return Promise.reject(new RequestError('busy', { retryAfterMs: againMs }));
  };
  core.handle = (caller, frame) => {
    if (requests >= limits.coreRequests) return busy('coreRequests');
    if (units + frame.length > limits.coreRequestUnits) return busy('coreRequestUnits');
    requests += 1;
    const { length } = frame;
    units += length;
    const answered = (): void => {
      requests -= 1;
      units -= length;
    };
    const answer = handle(caller, frame);
    answer.then(answered, answered);
    return answer;
  };
  return core;
}
