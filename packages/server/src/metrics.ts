import { type Bound, type CloseName, type SetBound, closeCodes, limits } from '@kith/protocol';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** What can be hit on the way in. Each has its own line in `kith_limit_hits_total`, from zero. */
export const limitNames = [
  'command',
  'send',
  'sync',
  'fleeting',
  'search',
  'ping',
  'in-flight',
  'outbound',
  'outbound-total',
  'signal-dropped',
  'bad-json',
  'hello-late',
  'before-hello-bytes',
  'incomplete-message',
  'pending-total',
  'pending-address',
  'connections-total',
  'connections-rate',
  'connections-address',
  'connections-person',
  'http-address',
  'policy-reports',
  'picture',
  'filesTotal',
  'filesPerUser',
  'signIn',
  'registration',
] as const;
export type LimitName = (typeof limitNames)[number] | Bound;

/** Limits of the protocol that are counted under another name, or together with others. */
export const countedAs: Partial<Record<Bound, (typeof limitNames)[number]>> = {
  unauthenticatedBytes: 'before-hello-bytes',
  helloMs: 'hello-late',
  outboundBytes: 'outbound',
  outboundMs: 'outbound',
  outboundMost: 'outbound',
  picturePixels: 'picture',
  pictureFrames: 'picture',
  pictureBytes: 'picture',
  pictureMs: 'picture',
  pictureMemoryMib: 'picture',
};

/** Limits of the protocol that refuse nobody: they say how much an answer holds, how long something counts, or what is cut off or passed over. */
export const refusingNobody: ReadonlySet<Bound> = new Set<Bound>([
  'attachments',
  'preview',
  'linkUrl',
  'linkTitle',
  'linkDescription',
  'uploadBytesPerSecond',
  'roomBarMs',
  'heardSeqs',
  'withdrawn',
  'sessionsPerUser',
  'pushBytes',
  'pageBytes',
  'snapshotMessages',
  'snapshotMembers',
  'largeConversationMembers',
  'attentionMembers',
  'roomOnlineUsers',
  'searchResults',
  'recoveryCodes',
  'ticketMs',
  'confirmedMs',
  'tokenMs',
  'tokenOverlapMs',
  'connectionMs',
  'newAccountMs',
]);

export type Metrics = ReturnType<typeof openMetrics>;

/** Numbers of one server, for Prometheus. Names of people, conversations and addresses are never labels. */
export function openMetrics({ process: ofProcess = false }: { process?: boolean } = {}) {
  const registry = new Registry();
  const registers = [registry];
  if (ofProcess) collectDefaultMetrics({ register: registry });
  const limitHits = new Counter({ name: 'kith_limit_hits_total', help: 'Times that a limit was hit, by limit.', labelNames: ['limit'], registers });
  const own = (Object.keys(limits) as Bound[]).filter((name) => countedAs[name] === undefined && !refusingNobody.has(name));
  for (const limit of [...limitNames, ...own]) limitHits.inc({ limit }, 0);
  const closes = new Counter({ name: 'kith_closes_total', help: 'WebSocket connections ended by the server, by close code.', labelNames: ['code'], registers });
  const requests = new Counter({ name: 'kith_requests_total', help: 'Requests answered, by door and outcome (an error code, or ok).', labelNames: ['door', 'outcome'], registers });
  // Counted by the hundred thousand a second, and asked for now and then.
  const out = { frames: 0, bytes: 0 };
  const told = (name: string, help: string, total: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(total());
      },
    });
  told('kith_frames_out_total', 'Frames queued towards connections.', () => out.frames);
  told('kith_bytes_out_total', 'Bytes queued towards connections.', () => out.bytes);
  return {
    registry,
    connections: new Gauge({ name: 'kith_connections', help: 'Open WebSocket connections.', registers }),
    out,
    /** @param bytes  asked each time that somebody wants to know */
    databaseLog: (bytes: () => number) =>
      new Gauge({
        name: 'kith_database_log_bytes',
        help: 'Size of the write-ahead log of SQLite.',
        registers,
        collect() {
          this.set(bytes());
        },
      }),
    pushes: new Counter({ name: 'kith_publications_total', help: 'Publications that had a follower on this node.', registers }),
    answerSeconds: new Histogram({
      name: 'kith_answer_seconds',
      help: 'From a request frame to its reply.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    stallSeconds: new Counter({ name: 'kith_stall_seconds_total', help: 'Time by which our own event loop was late.', registers }),
    handshakesRefused: new Counter({ name: 'kith_handshakes_refused_total', help: 'WebSocket handshakes refused, by HTTP status.', labelNames: ['status'], registers }),
    badFrames: new Counter({ name: 'kith_bad_frames_total', help: 'Connections that broke RFC 6455, by the kind of break.', labelNames: ['kind'], registers }),
    policyReports: new Counter({
      name: 'kith_policy_reports_total',
      help: 'Times that a browser said that a page broke its content security policy, by directive.',
      labelNames: ['directive'],
      registers,
    }),
    storeRequests: new Counter({
      name: 'kith_store_requests_total',
      help: 'Requests to the S3 store of files, by operation and outcome.',
      labelNames: ['operation', 'outcome'],
      registers,
    }),
    brokerConnected: new Gauge({ name: 'kith_broker_connected', help: 'Whether NATS is there: 1 or 0. Without NATS always 0.', registers }),
    brokerDropped: new Counter({ name: 'kith_broker_dropped_total', help: 'Publications that could not be handed to NATS; other nodes find them in the database.', registers }),
    databaseEra: new Gauge({ name: 'kith_database_era', help: 'Number of the era of the database: one more with each standby that took over.', registers }),
    databaseLost: new Counter({ name: 'kith_database_lost_commits_total', help: 'Commits that this node knew of and that were gone when another era began.', registers }),
    databaseRefused: new Counter({ name: 'kith_database_refused_total', help: 'Times that a database server of an earlier era was refused.', registers }),
    databaseStanding: new Gauge({
      name: 'kith_database_standing',
      help: 'Where what was acknowledged is: 1 at alone, asynchronous, synchronous, or missing (it waits for a standby). Without PostgreSQL none.',
      labelNames: ['standing'],
      registers,
    }),
    limitHit: (limit: LimitName) => limitHits.inc({ limit }),
    closed: (as: CloseName) => closes.inc({ code: String(closeCodes[as].code) }),
    answered(door: 'ws' | 'http', outcome: string, limit?: Bound | SetBound) {
      requests.inc({ door, outcome });
      if (limit !== undefined) limitHits.inc({ limit });
    },
  };
}
