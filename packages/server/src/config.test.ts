import { describe, expect, test } from 'vitest';
import { type CommandLine, ConfigError, configWith, helpText, isLoopback, options, readCommandLine } from './config.ts';

const problems = (argv: string[], env: Record<string, string> = {}): string => {
  try {
    readCommandLine(argv, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
};
/** A password as it should be. */
const strong = 'f3b1c94e7a20d85c6bb9';
const read = (argv: string[], env: Record<string, string> = {}): CommandLine => readCommandLine(argv, env);

describe('settings', () => {
  test('without anything, the server listens on loopback, on SQLite, and is open', () => {
    expect(read([]).config).toMatchObject({ port: 3_000, host: '127.0.0.1', database: 'sqlite', registration: 'open' });
  });

  test('a flag wins over its variable, a variable over the default', () => {
    expect(read(['--port', '1'], { PORT: '2' }).config.port).toBe(1);
    expect(read([], { PORT: '2' }).config.port).toBe(2);
  });

  test('an empty variable counts as not set', () => {
    expect(read([], { PORT: '', KITH_PUBLIC_URL: '' }).config).toMatchObject({ port: 3_000, publicUrl: undefined });
  });

  test('every problem is named at once, by what the operator typed', () => {
    expect(problems(['--port', 'x'], { KITH_HEARTBEAT_MS: '5', KITH_LOG_LEVEL: 'loud' })).toBe(
      [
        '--port: must be a whole number from 0 to 65535.',
        'KITH_HEARTBEAT_MS: must be a whole number from 1000 to 120000.',
        'KITH_LOG_LEVEL: must be one of fatal, error, warn, info, debug, silent.',
      ].join('\n'),
    );
  });

  test('an unknown flag is refused, an unknown KITH_ variable is pointed out', () => {
    expect(problems(['--prt', '1'])).toContain("Unknown option '--prt'");
    expect(read([], { KITH_REGISTRATOIN: 'closed' }).unknownVariables).toEqual(['KITH_REGISTRATOIN']);
  });

  test('the configuration is plain data: it survives the way into a worker thread', () => {
    const config = configWith();
    expect(structuredClone(config)).toEqual(config);
  });

  test('--help names every setting, and answers whatever else is wrong', () => {
    const help = helpText();
    for (const option of Object.values(options)) expect(help).toContain(option.env);
    expect(read(['--help', '--port', 'x'])).toMatchObject({ help: true });
  });

  test('the first word is the command', () => {
    expect(read(['demo', '--port', '0']).command).toBe('demo');
    expect(read([]).command).toBe('start');
  });
});

test('[PU2] push services are hosts, or http on this machine', () => {
  expect(read([], { KITH_PUSH_HOSTS: 'Push.example.org, http://127.0.0.1:8081' }).config.pushHosts).toBe('push.example.org,http://127.0.0.1:8081');
  for (const bad of ['example', 'https://push.example.org', 'http://push.example.org', 'http://127.0.0.1:8081/push', '*.example.org', 'a.example.org,'])
    expect(problems([], { KITH_PUSH_HOSTS: bad })).toContain('KITH_PUSH_HOSTS: must');
});

describe('pairs that do not go together are refused', () => {
  test('[4.8] an address that others reach needs a public URL, or the word that plain HTTP is meant', () => {
    expect(problems([], { HOST: '0.0.0.0' })).toMatch(/KITH_PUBLIC_URL.*--insecure-http/);
    expect(problems([], { HOST: '0.0.0.0', KITH_PUBLIC_URL: 'https://chat.example.org' })).toBe('');
    expect(problems(['--insecure-http'], { HOST: '0.0.0.0' })).toBe('');
  });

  test('[4.1] a public URL without TLS needs the same word', () => {
    expect(problems([], { KITH_PUBLIC_URL: 'http://chat.example.org' })).toContain('--insecure-http');
    expect(problems([], { KITH_PUBLIC_URL: 'http://localhost:3000' })).toBe('');
  });

  test.each([
    ['a path', 'https://example.org/chat'],
    ['no scheme', 'chat.example.org'],
    ['another scheme', 'ftp://example.org'],
    ['a user', 'https://me@example.org'],
  ])('a public URL with %s is refused', (_, url) => {
    expect(problems([], { KITH_PUBLIC_URL: url })).toContain('KITH_PUBLIC_URL: must');
  });

  test.each([
    ['no algorithm', { KITH_JWT_KEY: 'k'.repeat(32), KITH_JWT_AUDIENCE: 'kith' }, 'KITH_JWT_ALG'],
    ['no audience', { KITH_JWT_KEY: 'k'.repeat(32), KITH_JWT_ALG: 'HS256' }, 'KITH_JWT_AUDIENCE'],
    ['no key', { KITH_JWT_ALG: 'HS256' }, 'KITH_JWT_KEY'],
    ['a short secret', { KITH_JWT_KEY: 'secret', KITH_JWT_ALG: 'HS256', KITH_JWT_AUDIENCE: 'kith' }, 'shorter than 32 bytes'],
    ['a public key as secret', { KITH_JWT_KEY: '-----BEGIN PUBLIC KEY-----\\nMIIBIjANBgkqhkiG9w0BAQ', KITH_JWT_ALG: 'HS256', KITH_JWT_AUDIENCE: 'kith' }, 'takes a secret'],
    ['a key of before, and none of now', { KITH_JWT_KEY_BEFORE: 'k'.repeat(32) }, 'KITH_JWT_KEY is missing'],
    ['a short one of before', { KITH_JWT_KEY: 'k'.repeat(32), KITH_JWT_KEY_BEFORE: 'secret', KITH_JWT_ALG: 'HS256', KITH_JWT_AUDIENCE: 'kith' }, 'KITH_JWT_KEY_BEFORE is shorter'],
    ['a secret as public key', { KITH_JWT_KEY: 'k'.repeat(32), KITH_JWT_ALG: 'RS256', KITH_JWT_AUDIENCE: 'kith' }, 'PEM'],
    ['an algorithm of none', { KITH_JWT_KEY: 'k'.repeat(32), KITH_JWT_ALG: 'none', KITH_JWT_AUDIENCE: 'kith' }, 'must be one of'],
  ])('JWT settings with %s are refused', (_, env, message) => {
    expect(problems([], env)).toContain(message);
  });

  const s3 = { KITH_S3_ENDPOINT: 'https://s3.example.org', KITH_S3_BUCKET: 'kith-files', KITH_S3_ACCESS_KEY: 'key', KITH_S3_SECRET_KEY: strong };
  test.each<[string, Record<string, string>, string]>([
    ['no endpoint', { ...s3, KITH_S3_ENDPOINT: '' }, 'KITH_S3_ENDPOINT is missing'],
    ['no bucket', { ...s3, KITH_S3_BUCKET: '' }, 'KITH_S3_ENDPOINT needs KITH_S3_BUCKET.'],
    ['no key', { ...s3, KITH_S3_ACCESS_KEY: '' }, 'KITH_S3_ENDPOINT needs KITH_S3_ACCESS_KEY.'],
    ['no secret', { ...s3, KITH_S3_SECRET_KEY: '' }, 'KITH_S3_ENDPOINT needs KITH_S3_SECRET_KEY.'],
    ['a secret in the URL', { ...s3, KITH_S3_ENDPOINT: `https://key:${strong}@s3.example.org` }, 'must be a URL without credentials'],
    ['another scheme', { ...s3, KITH_S3_ENDPOINT: 's3://kith-files' }, 'must be a URL like'],
    ['a bucket that is none', { ...s3, KITH_S3_BUCKET: 'a/../b' }, 'must be the name of a bucket'],
    ['no TLS to another machine', { ...s3, KITH_S3_ENDPOINT: 'http://s3.example.org' }, 'no TLS'],
  ])('[FI30] a store in S3 with %s is refused', (_, env, message) => {
    expect(problems([], env)).toContain(message);
    expect(problems([], env)).not.toContain(strong);
  });

  test('[FI30] a store in S3 is where it is said to be', () => {
    expect(read([], { ...s3, KITH_S3_ENDPOINT: 'https://s3.example.org/' }).config).toMatchObject({
      s3Endpoint: 'https://s3.example.org',
      s3Bucket: 'kith-files',
      s3Region: 'us-east-1',
    });
    expect(read(['--insecure-http'], { ...s3, KITH_S3_ENDPOINT: 'http://10.0.0.2:9000' }).config.s3Endpoint).toBe('http://10.0.0.2:9000');
    expect(read([], { ...s3, KITH_S3_ENDPOINT: 'http://127.0.0.1:9000' }).config.s3Endpoint).toBe('http://127.0.0.1:9000');
  });

  const nats = { KITH_NATS: `tls://kith:${strong}@a.example.org,tls://b.example.org:4333`, KITH_DATABASE: 'postgres://kith@127.0.0.1/kith' };
  const jwt = { KITH_JWT_ALG: 'HS256', KITH_JWT_AUDIENCE: 'kith' };
  test.each<[string, Record<string, string>, string]>([
    ['the password of compose.yaml', { KITH_DATABASE: 'postgres://kith:try-only@postgres/kith' }, 'The password in KITH_DATABASE is one of a sample'],
    ['one of the pages here', { KITH_DATABASE: 'postgres://kith:secret@127.0.0.1/kith' }, 'The password in KITH_DATABASE is one of a sample'],
    ['one that is the name', { KITH_DATABASE: 'postgres://chatserver:chatserver@127.0.0.1/kith' }, 'The password in KITH_DATABASE is the same as the name beside it'],
    ['one to be changed', { KITH_DATABASE: 'postgres://kith:Please-Change-Me!@127.0.0.1/kith' }, 'The password in KITH_DATABASE is one of a sample'],
    ['one that is short', { KITH_DATABASE: 'postgres://kith:k7%23q@127.0.0.1/kith' }, 'The password in KITH_DATABASE has less than 8 characters'],
    ['one that cannot be decoded', { KITH_DATABASE: 'postgres://kith:%zz@127.0.0.1/kith' }, 'The password in KITH_DATABASE has less than 8 characters'],
    ['one that repeats itself', { KITH_DATABASE: 'postgres://kith:ababababababab@127.0.0.1/kith' }, 'The password in KITH_DATABASE is the same few characters'],
    ['a password of NATS', { ...nats, KITH_NATS: 'tls://a.example.org,tls://kith:password@b.example.org' }, 'The password in KITH_NATS is one of a sample'],
    ['a token of NATS', { ...nats, KITH_NATS: 'tls://changeme@a.example.org' }, 'The password in KITH_NATS is one of a sample'],
    ['keys of MinIO', { ...s3, KITH_S3_ACCESS_KEY: 'minioadmin', KITH_S3_SECRET_KEY: 'minioadmin' }, 'KITH_S3_SECRET_KEY is the same as the name'],
    ['keys of s3rver', { ...s3, KITH_S3_SECRET_KEY: 'S3RVER' }, 'KITH_S3_SECRET_KEY is one of a sample'],
    ['keys of the pages of Amazon', { ...s3, KITH_S3_SECRET_KEY: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }, 'KITH_S3_SECRET_KEY is one of a sample'],
    ['a template that nobody filled in', { ...s3, KITH_S3_SECRET_KEY: '${S3_SECRET}' }, 'KITH_S3_SECRET_KEY is one of a sample'],
    ['a JWT secret of a tutorial', { ...jwt, KITH_JWT_KEY: 'your-secret-key-with-32-or-more-bytes' }, 'KITH_JWT_KEY is one of a sample'],
    [
      'a JWT secret of a tutorial, of before',
      { ...jwt, KITH_JWT_KEY: strong.repeat(2), KITH_JWT_KEY_BEFORE: 'your-secret-key-with-32-or-more-bytes' },
      'KITH_JWT_KEY_BEFORE is one of a sample',
    ],
    ['a JWT secret of one letter', { ...jwt, KITH_JWT_KEY: 'k'.repeat(32) }, 'KITH_JWT_KEY is the same few characters'],
  ])('[KY8] %s is refused, in words and without repeating it; where the server is for trying it is taken', (_, env, message) => {
    const said = problems([], env);
    expect(said).toContain(message);
    expect(said).toContain('openssl rand');
    expect(said).not.toContain(env['KITH_S3_SECRET_KEY'] ?? env['KITH_JWT_KEY'] ?? '%');
    expect(problems([], { ...env, KITH_TRYING: 'on' })).toBe('');
  });

  test('[KY8] what was drawn by lot is taken, and no password at all where the database asks for none', () => {
    expect(problems([], { ...nats, ...s3, ...jwt, KITH_JWT_KEY: strong.repeat(2), KITH_DATABASE: `postgres://kith:${strong}@127.0.0.1/kith` })).toBe('');
    expect(problems([], { KITH_DATABASE: 'postgres://kith@127.0.0.1/kith' })).toBe('');
  });

  test.each<[string, Record<string, string>, string]>([
    ['SQLite, which has one writer', { ...nats, KITH_DATABASE: 'sqlite' }, 'KITH_NATS is for several nodes, and with SQLite there can be only one'],
    ['another scheme', { ...nats, KITH_NATS: 'http://a.example.org' }, 'KITH_NATS: must be URLs like'],
    ['a path', { ...nats, KITH_NATS: 'tls://a.example.org,tls://b.example.org/kith' }, 'KITH_NATS: must be URLs like'],
    ['nothing between two commas', { ...nats, KITH_NATS: 'tls://a.example.org,,' }, 'KITH_NATS: must be URLs like'],
    ['no TLS to another machine', { ...nats, KITH_NATS: 'nats://127.0.0.1,nats://b.example.org' }, 'no TLS'],
    ['no servers but their authority', { KITH_NATS_CA: '/etc/ca.pem' }, 'KITH_NATS is missing'],
  ])('[ND7] several nodes with %s are refused', (_, env, message) => {
    expect(problems([], env)).toContain(message);
  });

  test('[ND7] several nodes have PostgreSQL, and NATS where it is said to be', () => {
    expect(read([], nats).config.nats).toBe(nats.KITH_NATS);
    expect(problems([], { ...nats, KITH_NATS: 'nats://127.0.0.1:4222, nats://[::1]' })).toBe('');
    expect(problems(['--insecure-http'], { ...nats, KITH_NATS: 'nats://b.example.org' })).toBe('');
  });

  test('idle longer than the longest session, and two listeners on one port, are refused', () => {
    expect(problems([], { KITH_SESSION_IDLE_DAYS: '10', KITH_SESSION_MAX_DAYS: '5' })).toContain('never apply');
    expect(problems([], { PORT: '3000', KITH_METRICS_PORT: '3000' })).toContain('same');
  });

  test('cheap password hashing is for loopback only', () => {
    expect(problems([], { KITH_PASSWORD_MEMORY: '64' })).toBe('');
    expect(problems([], { KITH_PASSWORD_MEMORY: '64', KITH_PUBLIC_URL: 'https://chat.example.org' })).toContain('cheap to guess');
  });
});

describe('registration, when nothing is said', () => {
  test.each([
    ['open on loopback', {}, 'open'],
    ['by invite on an address that others reach', { HOST: '0.0.0.0', KITH_INSECURE_HTTP: 'on' }, 'invite'],
    ['by invite behind a proxy on the same machine', { KITH_PUBLIC_URL: 'https://chat.example.org' }, 'invite'],
    ['what the operator says, where they say it', { HOST: '0.0.0.0', KITH_INSECURE_HTTP: 'on', KITH_REGISTRATION: 'open' }, 'open'],
  ])('is %s', (_, env, mode) => {
    expect(read([], env as Record<string, string>).config.registration).toBe(mode);
  });

  test.each([
    ['127.0.0.1', true],
    ['127.8.8.8', true],
    ['localhost', true],
    ['kith.localhost', true],
    ['[::1]', true],
    ['::1', true],
    ['0.0.0.0', false],
    ['::', false],
    ['127.0.0.1.example.org', false],
    ['localhost.example.org', false],
    ['10.0.0.1', false],
  ])('%s is loopback: %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
  });
});
