import { RequestError, type SetBound } from '@kith/protocol';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';

/** Failed sign-ins to one account that cost nothing; then 1, 2, 4 … seconds of waiting, up to a quarter of an hour. */
const freeFailures = 5;
const longestWaitS = 900;
/** Failed sign-ins from one address in a quarter of an hour. */
const failuresPerAddress = 30;

/** Limits on guessing passwords and on making accounts. They fail closed: what they cannot count is refused. */
export class SignInLimits {
  readonly #on: boolean;
  readonly #accounts = new RateLimiterMemory({ keyPrefix: 'account', points: 1_000, duration: 86_400 });
  readonly #addresses = new RateLimiterMemory({ keyPrefix: 'address', points: failuresPerAddress, duration: longestWaitS });
  readonly #registrations: RateLimiterMemory;
  /** Until when an account waits; entries end with the limiter's own. */
  readonly #waits = new RateLimiterMemory({ keyPrefix: 'wait', points: 1, duration: longestWaitS });
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: { on: boolean; registrationsPerHour: number }) {
    this.#on = options.on;
    this.#registrations = new RateLimiterMemory({ keyPrefix: 'registration', points: options.registrationsPerHour, duration: 3_600 });
  }

  /**
   * Counts a try, before the password is looked at: as a failure, until `succeeded` takes that back. So of many guesses
   * made at once no more are heard than of those made one by one.
   *
   * @throws rate_limited
   */
  requireMayTry(handle: string, ip: string): Promise<void> {
    if (!this.#on) return Promise.resolve();
    // One after the other: nobody may look between another's look and count.
    const turn = this.#last.then(() => this.#try(handle, ip));
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #try(handle: string, ip: string): Promise<void> {
    const wait = await this.#waits.get(handle);
    if (wait && wait.remainingPoints <= 0) throw tooMany(wait, 'signIn');
    const address = await this.#addresses.get(ip);
    if (address && address.remainingPoints <= 0) throw tooMany(address, 'signIn');
    await this.#addresses.penalty(ip);
    const { consumedPoints } = await this.#accounts.penalty(handle);
    const over = consumedPoints - freeFailures;
    if (over > 0) await this.#waits.block(handle, Math.min(longestWaitS, 2 ** (over - 1)));
  }

  async succeeded(handle: string, ip: string): Promise<void> {
    if (!this.#on) return;
    await Promise.all([this.#accounts.delete(handle), this.#waits.delete(handle), this.#addresses.reward(ip)]);
  }

  /** @throws rate_limited */
  async requireMayRegister(ip: string): Promise<void> {
    if (!this.#on) return;
    try {
      await this.#registrations.consume(ip);
    } catch (error) {
      if (error instanceof RateLimiterRes) throw tooMany(error, 'registration');
      throw error;
    }
  }
}

const tooMany = (state: RateLimiterRes, limit: SetBound): RequestError => new RequestError('rate_limited', { limit, retryAfterMs: Math.max(1_000, state.msBeforeNext) });
