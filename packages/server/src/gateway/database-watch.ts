import type { Broker } from '../broker/broker.ts';
import type { Core, Era, Seen, Standing } from '../core/core.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Clock } from './clock.ts';
import type { Gateway } from './gateway.ts';
import type { Recent } from './recent.ts';

/** Milliseconds between looks at the server that answers now, and between attempts to write down what was lost. */
const lookMs = 5_000;
const againMs = 500;

const words: Record<Standing, [level: 'info' | 'warn', text: string]> = {
  alone: ['info', 'PostgreSQL has no standby: what is acknowledged is on one machine'],
  asynchronous: ['warn', 'PostgreSQL has a standby that is not waited for: if it takes over, the last acknowledged messages may be lost. Set synchronous_standby_names'],
  synchronous: ['info', 'what is acknowledged is on two machines'],
  missing: ['warn', 'PostgreSQL waits for a standby that is not there: nothing can be written. Start it, or change synchronous_standby_names'],
};

interface Parts {
  core: Core;
  broker: Broker;
  gateway: Pick<Gateway, 'sendAway'>;
  recent: Recent;
  clock: Clock;
  metrics: Metrics;
  log: Log;
}

/** Watches which PostgreSQL it is, and whether what is acknowledged would be there after it was lost. */
export function openDatabaseWatch({ core, broker, gateway, recent, clock, metrics, log }: Parts): { close(): void } {
  let standing: Standing | undefined;
  let looking = false;
  let closed = false;

  const look = (): void => {
    if (looking || closed) return;
    looking = true;
    core
      .lookAtDatabase()
      .then((found) => {
        if (found === undefined || found === standing) return;
        metrics.databaseStanding.reset();
        metrics.databaseStanding.set({ standing: found }, 1);
        const [level, text] = words[found];
        if (standing !== undefined || level === 'warn' || found === 'synchronous') log[level]({ standing: found }, text);
        standing = found;
      })
      // One that is away is told of by what it does not answer.
      .catch((error: unknown) => log.debug({ err: error }, 'could not look at PostgreSQL'))
      .finally(() => (looking = false));
  };

  /** Everybody has come back by then, or will: it is about what they had been told. */
  const compare = (era: Era, seen: Seen[]): void => {
    core.compareWithEra(era, seen).then(
      (loss) => {
        if (loss.commits === 0) return log.info({ era: era.number }, 'of what this node knew of nothing is missing that is not written down already');
        metrics.databaseLost.inc(loss.commits);
        return log.error({ era: era.number, ...loss }, 'the database has lost what was acknowledged: it took over before it had everything');
      },
      (error: unknown) => {
        log.warn({ err: error }, 'could not compare what this node knew with the database');
        if (!closed) setTimeout(() => compare(era, seen), againMs).unref();
      },
    );
  };

  const enter = (era: Era): void => {
    log.warn({ era: era.number }, 'the database is another server, or was taken back to an earlier state: everybody is sent to compare what they hold');
    metrics.databaseEra.set(era.number);
    const seen = recent.take();
    // In this order, and before anything of the new era is read: nobody gets anything of it on what they hold of the one before.
    gateway.sendAway();
    broker.enter(era);
    compare(era, seen);
  };

  core.onDatabase((news) => {
    if ('era' in news) return enter(news.era);
    metrics.databaseRefused.inc();
    log.error(news.refused);
  });
  broker.onEra((era) => {
    core.heardOfEra(era);
    look();
  });
  core.era().then(
    ({ number }) => metrics.databaseEra.set(number),
    () => {},
  );
  look();
  const timer = clock.every(lookMs, look);
  return {
    close() {
      closed = true;
      timer.stop();
    },
  };
}
