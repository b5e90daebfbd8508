import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { limits } from '@kith/protocol';

export const mib = 1_048_576;

/**
 * Everything an operator can set, once: `--help`, the docs and the parser read this table.
 * A flag wins over its variable, a variable over the default.
 */
export const options = {
  port: integer({ env: 'PORT', flag: 'port', unit: 'TCP port', min: 0, max: 65_535, default: 3_000, meaning: 'Where to listen; 0 takes a free one.' }),
  host: text({ env: 'HOST', flag: 'host', unit: 'address', default: '127.0.0.1', meaning: 'Address to listen on. Other than loopback it needs --public-url or --insecure-http.' }),
  data: text({
    env: 'KITH_DATA',
    flag: 'data',
    unit: 'directory',
    default: './data',
    meaning: 'Holds the database and secrets. Made if missing.',
    read: (given) => resolve(given),
  }),
  database: text({
    env: 'KITH_DATABASE',
    flag: 'database',
    unit: '"sqlite" or URL',
    default: 'sqlite',
    meaning: 'sqlite: a file in the data directory. Else postgres://…; use the variable when the URL has a password.',
    read(given) {
      if (given !== 'sqlite' && !/^postgres(ql)?:\/\//.test(given)) throw new Error('must be "sqlite" or a postgres:// URL');
      return given;
    },
  }),
  nats: optionalText({
    env: 'KITH_NATS',
    flag: 'nats',
    unit: 'URL',
    meaning: 'Run several nodes: nats://… or tls://… of the servers that ring between them, separated by commas. Needs PostgreSQL.',
    read: readNats,
  }),
  natsCa: optionalText({ env: 'KITH_NATS_CA', flag: 'nats-ca', unit: 'file', meaning: 'Certificate authority (PEM) of these servers, where it is not one that everybody knows.' }),
  natsCreds: optionalText({
    env: 'KITH_NATS_CREDS',
    flag: 'nats-creds',
    unit: 'file',
    meaning: 'Credentials of a NATS user, as nsc writes them. A password or token stands in the URL instead.',
  }),
  diskReserve: integer({
    env: 'KITH_DISK_RESERVE',
    flag: 'disk-reserve',
    unit: 'MiB',
    min: 0,
    max: 1_048_576,
    default: 64,
    meaning: 'With less room on the data volume nothing new is stored; reading, sign-in and deleting go on. SQLite only.',
  }),
  publicUrl: optionalText({
    env: 'KITH_PUBLIC_URL',
    flag: 'public-url',
    unit: 'URL',
    meaning: 'How people reach this server, like https://chat.example.org. Links and origin checks are built from it.',
    read: readOrigin,
  }),
  insecureHttp: onOff({
    env: 'KITH_INSECURE_HTTP',
    flag: 'insecure-http',
    default: false,
    meaning: 'Serve other machines without TLS. Passwords and messages can then be read on the way.',
  }),
  hstsSubdomains: onOff({
    env: 'KITH_HSTS_SUBDOMAINS',
    flag: 'hsts-subdomains',
    default: false,
    meaning: 'Browsers use TLS for all names below that of the public URL, too, for a year. Only where all of them have it.',
  }),
  trustProxy: optionalText({
    env: 'KITH_TRUST_PROXY',
    flag: 'trust-proxy',
    unit: 'addresses',
    meaning: 'Proxies whose X-Forwarded-For is believed: addresses or CIDR ranges, separated by commas. Default: none.',
    read(given) {
      for (const part of given.split(',')) if (!/^\s*[0-9A-Fa-f.:]+(\/\d{1,3})?\s*$/.test(part)) throw new Error('must be addresses or CIDR ranges, separated by commas');
      return given.replace(/\s/g, '');
    },
  }),
  registration: choice(['open', 'invite', 'closed', undefined], {
    env: 'KITH_REGISTRATION',
    flag: 'registration',
    default: undefined,
    shown: 'open on loopback, else invite',
    meaning: 'Who may make an account: anyone, people with an invite, nobody (codes of before do not count then).',
  }),
  siteName: optionalText({
    env: 'KITH_SITE_NAME',
    flag: 'site-name',
    unit: '1 to 64 characters',
    shown: 'as its operator named it, else Kith',
    meaning: 'What the sign-in page and the installed client call this server. Set here, nobody can change it there.',
    read: readSiteName,
  }),
  directory: choice(['exact', 'prefix'], {
    env: 'KITH_DIRECTORY',
    flag: 'directory',
    default: 'exact',
    meaning: 'Finding people: by their exact user name only, or by the beginning of it.',
  }),
  recallHours: integer({
    env: 'KITH_RECALL_HOURS',
    flag: 'recall-hours',
    unit: 'hours',
    min: 0,
    max: 87_600,
    default: 48,
    meaning: 'How long people may recall or edit their own message.',
  }),
  retentionDays: integer({
    env: 'KITH_RETENTION_DAYS',
    flag: 'retention-days',
    unit: 'days',
    min: 0,
    max: 36_500,
    default: 0,
    shown: '0, for ever',
    meaning: 'Messages older than this go for everybody, files with them. Groups may choose a shorter time.',
  }),
  heartbeatMs: integer({
    env: 'KITH_HEARTBEAT_MS',
    flag: 'heartbeat-ms',
    unit: 'ms',
    min: 1_000,
    max: 120_000,
    default: 25_000,
    meaning: 'Time between pings; a connection that misses one is ended.',
  }),
  offlineGraceMs: integer({
    env: 'KITH_OFFLINE_GRACE_MS',
    flag: 'offline-grace-ms',
    unit: 'ms',
    min: 0,
    max: 600_000,
    default: 10_000,
    meaning: 'How long after the last connection a person counts as online.',
  }),
  sessionIdleDays: integer({
    env: 'KITH_SESSION_IDLE_DAYS',
    flag: 'session-idle-days',
    unit: 'days',
    min: 1,
    max: 3_650,
    default: 30,
    meaning: 'A session unused for so long ends.',
  }),
  sessionMaxDays: integer({
    env: 'KITH_SESSION_MAX_DAYS',
    flag: 'session-max-days',
    unit: 'days',
    min: 1,
    max: 3_650,
    default: 180,
    meaning: 'A session so old ends, used or not.',
  }),
  operatorIdleHours: integer({
    env: 'KITH_OPERATOR_IDLE_HOURS',
    flag: 'operator-idle-hours',
    unit: 'hours',
    min: 1,
    max: 87_600,
    default: 12,
    meaning: 'An operator’s session unused for so long ends.',
  }),
  operatorFactor: onOff({
    env: 'KITH_OPERATOR_FACTOR',
    flag: 'operator-factor',
    default: false,
    meaning: 'Operators need a second factor, an app or a passkey, for all that only operators may.',
  }),
  jwtAlg: choice(['HS256', 'RS256', 'ES256', 'EdDSA', undefined], {
    env: 'KITH_JWT_ALG',
    flag: 'jwt-alg',
    default: undefined,
    shown: 'none',
    meaning: 'Let your own site vouch for people by signed JWTs of this one algorithm (auth.exchange).',
  }),
  jwtKey: optionalText({
    env: 'KITH_JWT_KEY',
    unit: 'secret or PEM',
    meaning: 'HS256: a secret of 32 bytes or more. Else the public key in PEM; \\n stands for a line break.',
    read: (given) => given.replaceAll('\\n', '\n'),
  }),
  jwtKeyBefore: optionalText({
    env: 'KITH_JWT_KEY_BEFORE',
    unit: 'secret or PEM',
    meaning: 'The key of before, taken beside the new one while your site changes to it. Unset it afterwards.',
    read: (given) => given.replaceAll('\\n', '\n'),
  }),
  jwtAudience: optionalText({ env: 'KITH_JWT_AUDIENCE', flag: 'jwt-audience', unit: 'text', meaning: 'The aud that these JWTs must carry. Required with a key.' }),
  jwtIssuer: optionalText({ env: 'KITH_JWT_ISSUER', flag: 'jwt-issuer', unit: 'text', meaning: 'The iss that these JWTs must carry. Default: any.' }),
  pushHosts: optionalText({
    env: 'KITH_PUSH_HOSTS',
    flag: 'push-hosts',
    unit: 'hosts',
    meaning: 'More push services, separated by commas. Those of Google, Mozilla, Microsoft and Apple are known.',
    read: readPushHosts,
  }),
  pushDelayMs: integer({
    env: 'KITH_PUSH_DELAY_MS',
    flag: 'push-delay-ms',
    unit: 'ms',
    min: 0,
    max: 3_600_000,
    default: 30_000,
    meaning: 'How long pushes wait while the person is connected; what is read meanwhile is not sent.',
  }),
  pushIntervalMs: integer({
    env: 'KITH_PUSH_INTERVAL_MS',
    flag: 'push-interval-ms',
    unit: 'ms',
    min: 0,
    max: 3_600_000,
    default: 5_000,
    meaning: 'Time between two pushes about one conversation to one device.',
  }),
  fileSize: integer({
    env: 'KITH_FILE_SIZE',
    flag: 'file-size',
    unit: 'MiB',
    min: 1,
    max: 1_024,
    default: limits.fileBytes / mib,
    meaning: 'Largest file that can be sent.',
  }),
  filesPerUser: integer({
    env: 'KITH_FILES_PER_USER',
    flag: 'files-per-user',
    unit: 'MiB',
    min: 1,
    max: 1_000_000_000,
    default: 5_120,
    meaning: 'Room for the files of one person.',
  }),
  filesTotal: integer({
    env: 'KITH_FILES_TOTAL',
    flag: 'files-total',
    unit: 'MiB',
    min: 1,
    max: 1_000_000_000,
    default: 102_400,
    meaning: 'Room for all files together.',
  }),
  uploadReserve: integer({
    env: 'KITH_UPLOAD_RESERVE',
    flag: 'upload-reserve',
    unit: 'MiB',
    min: 0,
    max: 1_000_000_000,
    default: 512,
    meaning: 'What uploads leave free on the disk, so that messages can still be written; 0 leaves nothing.',
  }),
  s3Endpoint: optionalText({
    env: 'KITH_S3_ENDPOINT',
    flag: 's3-endpoint',
    unit: 'URL',
    meaning: 'Keep the bytes of files in a store that speaks S3, at this URL, and not in the data directory.',
    read: readEndpoint,
  }),
  s3Bucket: optionalText({
    env: 'KITH_S3_BUCKET',
    flag: 's3-bucket',
    unit: 'name',
    meaning: 'The bucket there. It must exist, and have nothing else in it.',
    read(given) {
      if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(given)) throw new Error('must be the name of a bucket: 3 to 63 of a–z, 0–9, dot and dash');
      return given;
    },
  }),
  s3Region: text({ env: 'KITH_S3_REGION', flag: 's3-region', unit: 'name', default: 'us-east-1', meaning: 'Its region, as it is signed; many stores take any.' }),
  s3AccessKey: optionalText({ env: 'KITH_S3_ACCESS_KEY', unit: 'key id', meaning: 'Who asks the store: the id of an access key.' }),
  s3SecretKey: optionalText({ env: 'KITH_S3_SECRET_KEY', unit: 'secret', meaning: 'The secret of that key.' }),
  linkPreviews: onOff({
    env: 'KITH_LINK_PREVIEWS',
    flag: 'link-previews',
    default: true,
    meaning: 'Look at links that people send, to show what is there. This server then asks other servers for pages.',
  }),
  trying: onOff({
    env: 'KITH_TRYING',
    flag: 'trying',
    default: false,
    meaning: 'This server is for trying: passwords and keys that stand in samples are taken. Everybody knows them.',
  }),
  rateLimits: onOff({
    env: 'KITH_RATE_LIMITS',
    flag: 'rate-limits',
    default: true,
    meaning: 'Limits on requests, sign-ins, connections, and what one person does in a day. Turn off for load tests only.',
  }),
  registrationsPerHour: integer({
    env: 'KITH_REGISTRATIONS_PER_HOUR',
    flag: 'registrations-per-hour',
    unit: 'per address',
    min: 1,
    max: 1_000_000,
    default: 60,
    meaning: 'New accounts and guests from one address.',
  }),
  passwordMemory: integer({
    env: 'KITH_PASSWORD_MEMORY',
    flag: 'password-memory',
    unit: 'KiB',
    min: 8,
    max: 4_194_304,
    default: 65_536,
    meaning: 'Memory that hashing one password takes (argon2id).',
  }),
  passwordPasses: integer({ env: 'KITH_PASSWORD_PASSES', flag: 'password-passes', unit: 'passes', min: 1, max: 100, default: 3, meaning: 'Passes over that memory.' }),
  maxConnections: integer({
    env: 'KITH_MAX_CONNECTIONS',
    flag: 'max-connections',
    unit: 'sockets',
    min: 1,
    max: 1_000_000,
    default: 10_000,
    meaning: 'WebSocket connections of this process. The system must allow as many open files.',
  }),
  metricsPort: integer({
    env: 'KITH_METRICS_PORT',
    flag: 'metrics-port',
    unit: 'TCP port',
    min: 0,
    max: 65_535,
    default: 0,
    shown: '0, off',
    meaning: 'Prometheus metrics at http://127.0.0.1:<port>/metrics.',
  }),
  logLevel: choice(['fatal', 'error', 'warn', 'info', 'debug', 'silent'], {
    env: 'KITH_LOG_LEVEL',
    flag: 'log-level',
    default: 'info',
    meaning: 'How much to log, as JSON lines on stdout.',
  }),
} as const;

type Options = typeof options;
type Given = { -readonly [K in keyof Options]: Options[K] extends Option<infer T> ? T : never };

/** The settings of one server. Plain data: it is handed to worker threads. */
export type Config = Omit<Given, 'registration'> & { registration: 'open' | 'invite' | 'closed' };

/** What the operator asked for cannot be done. The message says what to change, one problem a line. */
export class ConfigError extends Error {
  constructor(problems: string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
  }
}

export interface CommandLine {
  /** The first word, `start` when there is none. */
  command: string;
  /** What the command works on, behind it. */
  argument: string | undefined;
  /** Of migrate: folders, or URLs of PostgreSQL. */
  from: string | undefined;
  to: string | undefined;
  /** And whom. */
  subject: string | undefined;
  help: boolean;
  version: boolean;
  config: Config;
  /** Variables that begin with KITH_ and mean nothing here: probably misspelt. */
  unknownVariables: string[];
}

/**
 * Reads flags and variables.
 *
 * @param argv  Without node and script.
 * @throws ConfigError with every problem found
 */
export function readCommandLine(argv: string[], env: Record<string, string | undefined>): CommandLine {
  const { values, positionals } = parseFlags(argv);
  const problems: string[] = [];
  const given: Record<string, unknown> = {};
  for (const [name, option] of entries()) {
    const flag = option.flag === undefined ? undefined : values[option.flag];
    const [from, value] = flag !== undefined ? [`--${option.flag}`, String(flag)] : [option.env, env[option.env]];
    try {
      // An empty variable is what `docker run -e NAME=` and unfilled templates leave behind: it means "not set".
      given[name] = value === undefined || (value === '' && flag === undefined) ? fallback(option) : option.read(value);
    } catch (error) {
      problems.push(`${from}: ${(error as Error).message}.`);
    }
  }
  if (positionals[0] !== 'migrate') for (const flag of ['from', 'to']) if (values[flag] !== undefined) problems.push(`--${flag}: only kith migrate has it.`);
  const help = values['help'] === true;
  const version = values['version'] === true;
  if (problems.length > 0 && !help && !version) throw new ConfigError(problems);
  const config = help || version ? settle({} as Given) : checked(given as Given);
  if (!help && !version) requireNoSamples(config);
  const known = new Set(entries().map(([, option]) => option.env));
  return {
    command: positionals[0] ?? 'start',
    argument: positionals[1],
    from: values['from'] as string | undefined,
    to: values['to'] as string | undefined,
    subject: positionals[2],
    help,
    version,
    config,
    unknownVariables: Object.keys(env).filter((name) => name.startsWith('KITH_') && !known.has(name)),
  };
}

/**
 * A whole configuration from a part of one; the rest are defaults.
 *
 * @throws ConfigError
 */
export function configWith(part: Partial<Config> = {}): Config {
  return checked({ ...defaults(), ...part, ...(part.data === undefined ? {} : { data: resolve(part.data) }) });
}

/** Is this address, or host name of a URL, only reachable from the machine itself? */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

/** What is set and not as it is by default, by the name of its variable; of secrets only that they are set. For the operator's eyes. */
export function shownSettings(config: Config): Record<string, string> {
  const given = config as Record<string, unknown>;
  const set = entries().filter(([name, option]) => given[name] !== undefined && given[name] !== fallback(option));
  return Object.fromEntries(set.map(([name, option]) => [option.env, option.flag === undefined ? '(set)' : withoutPassword(String(given[name]))]));
}

function withoutPassword(value: string): string {
  const url = value.includes('://') ? URL.parse(value) : null;
  if (!url || url.password === '') return value;
  url.password = '…';
  return url.href;
}

/** For whom passkeys of this server are made: browsers give them to pages of that name alone. */
export interface RelyingParty {
  id: string;
  origin: string;
}

/**
 * By the public URL; without one only as localhost. Browsers have no passkeys for a page that came over plain HTTP from
 * another machine, and none for an address instead of a name. `undefined`: then there are none here.
 *
 * @param calledBy  Scheme and host by which somebody called.
 */
export function relyingParty({ publicUrl }: Pick<Config, 'publicUrl'>, calledBy: string | undefined): RelyingParty | undefined {
  const url = URL.parse(publicUrl ?? calledBy ?? '');
  const local = url?.hostname === 'localhost' || url?.hostname.endsWith('.localhost') === true;
  if (!url || isIP(url.hostname.replace(/^\[|\]$/g, '')) !== 0 || !(local || (publicUrl !== undefined && url.protocol === 'https:'))) return undefined;
  return { id: url.hostname, origin: url.origin };
}

/** What `--help` prints, made from the table. */
export function helpText(): string {
  const settings = entries().flatMap(([, option]) => {
    const flag = option.flag === undefined ? [] : [isSwitch(option) ? `--${option.flag}` : `--${option.flag} <${option.unit}>`];
    return [`  ${[...flag, option.env].join('   ')}   [${option.shown ?? String(option.default)}]`, `      ${option.meaning}`];
  });
  return [
    'Usage: kith [start|demo|backup|restore|migrate|audit|admin|rotate-secrets|doctor] [flags]',
    '',
    '  start             Serve (the default).',
    '  demo              Serve a throw-away server with people and messages in it.',
    '  backup <folder>   Copy everything into a folder while the server goes on. Again into the same one: only what is new.',
    '  restore <folder>  Make the data directory out of a backup, after looking at all of it.',
    '  migrate           Move everything from --from to --to, a data directory or postgres://…, while the server goes on;',
    '                    "migrate prepare" copies only, "migrate verify" compares.',
    '  audit verify      Read the whole audit log, and say whether it is as it was written.',
    '  audit export      Print it, a line of JSON for each entry.',
    '  admin create      Print a link with which one more operator makes their account.',
    '  admin reset <user name>    Print a link with which this person chooses a new password.',
    '  admin disable <user name>  Nobody signs in to this account any more; its connections close within a heartbeat.',
    '  rotate-secrets    Make new keys while the server goes on; what the old ones have sealed stays good for its time.',
    '                    "rotate-secrets now" lets the old ones count for nothing: somebody else has them.',
    '  doctor            Look at settings, disk, database, files, keys, clock and address, and say what to do.',
    '',
    'Settings, as flag or as environment variable (the flag wins), with the default:',
    '',
    ...settings,
    '',
    '  --help     Print this.',
    '  --version  Print the version.',
    '',
  ].join('\n');
}

/** What an outsider could not tell from one field alone: pairs that contradict each other, or are unsafe together. */
function checked(given: Given): Config {
  const problems: string[] = [];
  const publicHost = given.publicUrl === undefined ? undefined : new URL(given.publicUrl);
  const local = isLoopback(given.host);
  if (!local && publicHost === undefined && !given.insecureHttp) {
    problems.push(
      `HOST=${given.host} is reachable from other machines. Put a proxy with TLS in front and set KITH_PUBLIC_URL=https://…, or accept that passwords travel unencrypted with --insecure-http.`,
    );
  }
  if (publicHost?.protocol === 'http:' && !isLoopback(publicHost.hostname) && !given.insecureHttp) {
    problems.push('KITH_PUBLIC_URL has no TLS (http://). Use https://, or accept that passwords travel unencrypted with --insecure-http.');
  }
  if (given.sessionIdleDays > given.sessionMaxDays) problems.push('KITH_SESSION_IDLE_DAYS is longer than KITH_SESSION_MAX_DAYS, so it would never apply.');
  if (given.metricsPort !== 0 && given.metricsPort === given.port) problems.push('KITH_METRICS_PORT and PORT are the same.');
  if (given.passwordMemory < 19_456 && !(local && isLocalUrl(publicHost))) {
    problems.push('KITH_PASSWORD_MEMORY below 19456 KiB makes stolen passwords cheap to guess; it is only accepted on loopback.');
  }
  problems.push(...jwtProblems(given), ...s3Problems(given), ...natsProblems(given));
  if (problems.length > 0) throw new ConfigError(problems);
  return settle(given);
}

function jwtProblems({ jwtAlg, jwtKey, jwtKeyBefore, jwtAudience, jwtIssuer }: Given): string[] {
  const problems: string[] = [];
  if (jwtKey === undefined) {
    if (jwtAlg !== undefined || jwtKeyBefore !== undefined || jwtAudience !== undefined || jwtIssuer !== undefined)
      problems.push('KITH_JWT_KEY is missing; the other KITH_JWT_ settings need it.');
    return problems;
  }
  if (jwtAlg === undefined) problems.push('KITH_JWT_KEY needs KITH_JWT_ALG: the algorithm is never taken from the token.');
  if (jwtAudience === undefined) problems.push('KITH_JWT_KEY needs KITH_JWT_AUDIENCE, or tokens made for other sites would sign people in here.');
  for (const [name, key] of Object.entries({ KITH_JWT_KEY: jwtKey, ...(jwtKeyBefore !== undefined && { KITH_JWT_KEY_BEFORE: jwtKeyBefore }) })) {
    const pem = key.includes('-----BEGIN');
    // A public key used as an HMAC secret is the classic forgery: anybody has the public key.
    if (jwtAlg === 'HS256' && pem) problems.push(`KITH_JWT_ALG=HS256 takes a secret, and ${name} is a PEM key.`);
    if (jwtAlg === 'HS256' && !pem && Buffer.byteLength(key) < 32) problems.push(`${name} is shorter than 32 bytes.`);
    if (jwtAlg !== undefined && jwtAlg !== 'HS256' && !pem) problems.push(`KITH_JWT_ALG=${jwtAlg} takes the public key in PEM as ${name}.`);
  }
  return problems;
}

function s3Problems({ s3Endpoint, s3Bucket, s3AccessKey, s3SecretKey, insecureHttp }: Given): string[] {
  const others = { KITH_S3_BUCKET: s3Bucket, KITH_S3_ACCESS_KEY: s3AccessKey, KITH_S3_SECRET_KEY: s3SecretKey };
  const names = Object.entries(others);
  if (s3Endpoint === undefined) {
    // Half a setting would quietly put the files on the disk of this machine.
    return names.some(([, value]) => value !== undefined) ? ['KITH_S3_ENDPOINT is missing; the other KITH_S3_ settings need it.'] : [];
  }
  const problems = names.flatMap(([name, value]) => (value === undefined ? [`KITH_S3_ENDPOINT needs ${name}.`] : []));
  const { protocol, hostname } = new URL(s3Endpoint);
  if (protocol === 'http:' && !isLoopback(hostname) && !insecureHttp) {
    problems.push('KITH_S3_ENDPOINT has no TLS (http://). Use https://, or accept that files travel unencrypted with --insecure-http.');
  }
  return problems;
}

function natsProblems({ nats, natsCa, natsCreds, database, insecureHttp }: Given): string[] {
  if (nats === undefined) return natsCa !== undefined || natsCreds !== undefined ? ['KITH_NATS is missing; the other KITH_NATS_ settings need it.'] : [];
  const problems: string[] = [];
  if (database === 'sqlite')
    problems.push('KITH_NATS is for several nodes, and with SQLite there can be only one: a file has one writer. Set KITH_DATABASE=postgres://…, or leave KITH_NATS out.');
  const open = nats.split(',').find((one) => one.startsWith('nats:') && !isLoopback(new URL(one).hostname));
  if (open !== undefined && natsCa === undefined && !insecureHttp) {
    problems.push('KITH_NATS has no TLS (nats://). Use tls://, or accept that messages travel unencrypted between nodes with --insecure-http.');
  }
  return problems;
}

/** What stands in samples, of this project and of what it stands on, and what people type who mean to come back later. */
const samples =
  /^(?:kith|secret|password|passwort|passw0rd|admin|root|test|user|guest|default|letmein|postgres|postgresql|nats|minio|minioadmin|s3rver|key|token|none|null|todo|x+|\*+|…|12345678\d*|qwerty.*)$/i;
const placeholders = /try-only|change.?me|change.?this|replace.?me|replace.?this|your.{0,2}(?:password|secret|key|token)|example|placeholder|[<>…]|\$\{/i;
/** Fewer characters than this are tried out in an afternoon. */
const shortestSecret = 8;

/** Passwords and keys that everybody knows, or could soon guess, keep nobody out. @throws ConfigError */
function requireNoSamples({ trying, database, nats, s3AccessKey, s3SecretKey, jwtAlg, jwtKey, jwtKeyBefore }: Config): void {
  if (trying) return;
  const urls = [['KITH_DATABASE', database], ...(nats?.split(',') ?? []).map((url) => ['KITH_NATS', url])] as const;
  const inUrls = urls.flatMap(([name, given]) => {
    const url = URL.parse(given);
    // NATS takes a token in the place of the name.
    const secret = url && (url.password !== '' || name === 'KITH_DATABASE' ? url.password : url.username);
    return secret ? [{ what: `The password in ${name}`, secret: decoded(secret), beside: url.password === '' ? undefined : decoded(url.username) }] : [];
  });
  const keys = [
    ...(s3SecretKey === undefined ? [] : [{ what: 'KITH_S3_SECRET_KEY', secret: s3SecretKey, beside: s3AccessKey }]),
    ...(jwtAlg === 'HS256' && jwtKey !== undefined ? [{ what: 'KITH_JWT_KEY', secret: jwtKey, beside: undefined }] : []),
    ...(jwtAlg === 'HS256' && jwtKeyBefore !== undefined ? [{ what: 'KITH_JWT_KEY_BEFORE', secret: jwtKeyBefore, beside: undefined }] : []),
  ];
  const problems = [...inUrls, ...keys].flatMap(({ what, secret, beside }) => {
    const why =
      secret === beside
        ? 'is the same as the name beside it'
        : samples.test(secret) || placeholders.test(secret)
          ? 'is one of a sample, which everybody knows'
          : secret.length < shortestSecret
            ? `has less than ${shortestSecret} characters`
            : new Set(secret).size < 4
              ? 'is the same few characters over and over'
              : undefined;
    return why === undefined ? [] : [`${what} ${why}. Choose another, for example by: openssl rand -hex 24. Where this server is only for trying, KITH_TRYING=on takes it.`];
  });
  if (problems.length > 0) throw new ConfigError(problems);
}

function decoded(given: string): string {
  try {
    return decodeURIComponent(given);
  } catch {
    return given;
  }
}

/** A proxy on the same machine makes a loopback server public: then the public URL decides. */
function settle(given: Given): Config {
  const local = isLoopback(given.host ?? options.host.default) && isLocalUrl(given.publicUrl === undefined ? undefined : new URL(given.publicUrl));
  return { ...given, registration: given.registration ?? (local ? 'open' : 'invite') };
}

const isLocalUrl = (url: URL | undefined): boolean => url === undefined || isLoopback(url.hostname);

function defaults(): Given {
  return Object.fromEntries(entries().map(([name, option]) => [name, fallback(option)])) as Given;
}

const fallback = (option: Option<unknown>): unknown => (typeof option.default === 'string' ? option.read(option.default) : option.default);

/** What is off by default is turned on by the bare flag. */
const isSwitch = (option: Option<unknown>): boolean => option.default === false;

const entries = (): [string, Option<unknown>][] => Object.entries(options);

function parseFlags(argv: string[]): { values: Record<string, unknown>; positionals: string[] } {
  const flags: Record<string, { type: 'string' | 'boolean'; short?: string }> = {
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean', short: 'v' },
    from: { type: 'string' },
    to: { type: 'string' },
  };
  for (const [, option] of entries()) if (option.flag !== undefined) flags[option.flag] = { type: isSwitch(option) ? 'boolean' : 'string' };
  try {
    return parseArgs({ args: argv, options: flags, allowPositionals: true, strict: true });
  } catch (error) {
    throw new ConfigError([`${(error as Error).message.split('. ')[0]}. --help lists what there is.`]);
  }
}

// ── Kinds of settings ───────────────────────────────────────────────────────────────────────────────────────────────

export interface Option<T> {
  env: string;
  /** Without dashes. None where a value on the command line would be seen by everybody on the machine. */
  flag?: string;
  unit: string;
  default: T;
  /** The default in words, where the value itself does not say it. */
  shown?: string;
  meaning: string;
  /** @throws Error saying what it must be */
  read(given: string): T;
}

type Described<T> = Pick<Option<T>, 'env' | 'flag' | 'meaning' | 'shown'>;

function integer(of: Described<number> & { unit: string; min: number; max: number; default: number }): Option<number> {
  const read = (given: string) => {
    const value = Number(given);
    if (!/^\d{1,15}$/.test(given) || value < of.min || value > of.max) throw new Error(`must be a whole number from ${of.min} to ${of.max}`);
    return value;
  };
  return { ...of, read };
}

function text(of: Described<string> & { unit: string; default: string; read?: (given: string) => string }): Option<string> {
  return { read: (given) => given, ...of };
}

function optionalText(of: Described<string> & { unit: string; read?: (given: string) => string }): Option<string | undefined> {
  return { read: (given) => given, shown: 'none', ...of, default: undefined };
}

function choice<T extends string | undefined>(values: readonly T[], of: Described<T> & { default: T }): Option<T> {
  const words = values.filter((value) => value !== undefined);
  const read = (given: string) => {
    if (!words.includes(given as NonNullable<T>)) throw new Error(`must be one of ${words.join(', ')}`);
    return given as T;
  };
  return { ...of, unit: words.join('|'), read };
}

function onOff(of: Described<boolean> & { default: boolean }): Option<boolean> {
  const read = (given: string) => {
    if (['on', 'true', '1', 'yes'].includes(given)) return true;
    if (['off', 'false', '0', 'no'].includes(given)) return false;
    throw new Error('must be on or off');
  };
  return { ...of, unit: 'on|off', shown: of.shown ?? (of.default ? 'on' : 'off'), read };
}

/** Buckets are named in the path, so the endpoint has none, nor what could be a password. */
function readEndpoint(given: string): string {
  const url = URL.parse(given);
  if (!url || !/^https?:$/.test(url.protocol)) throw new Error('must be a URL like https://s3.example.org');
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') throw new Error('must be a URL without credentials and query');
  return url.href.replace(/\/+$/, '');
}

function readNats(given: string): string {
  const urls = given.split(',').map((one) => one.trim());
  for (const one of urls) {
    const url = URL.parse(one);
    if (!url || !/^(nats|tls):$/.test(url.protocol) || url.hostname === '' || !/^\/?$/.test(url.pathname) || url.search !== '') {
      throw new Error('must be URLs like tls://user:password@nats.example.org:4222, separated by commas');
    }
  }
  return urls.join(',');
}

function readOrigin(given: string): string {
  const url = URL.parse(given);
  if (!url || !/^https?:$/.test(url.protocol)) throw new Error('must be a URL like https://chat.example.org');
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '') throw new Error('must end after the host; the server cannot live under a path');
  return url.origin;
}

/** Beside hosts, http on this machine, for a push service of one's own or a test's. */
function readPushHosts(given: string): string {
  const parts = given.split(',').map((part) => part.trim().toLowerCase());
  for (const part of parts) {
    const url = part.startsWith('http://') ? URL.parse(part) : undefined;
    const local = url && url.origin === part && isLoopback(url.hostname);
    if (!local && !/^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(part)) throw new Error('must be host names like push.example.org, separated by commas');
  }
  return parts.join(',');
}

function readSiteName(given: string): string {
  const name = given.trim();
  if (name === '' || name.length > 64) throw new Error('must have 1 to 64 characters');
  return name;
}
