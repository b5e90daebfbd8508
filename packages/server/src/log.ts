import { type Logger, pino } from 'pino';
import type { Config } from './config.ts';

export type Log = Logger;

/**
 * JSON lines on stdout. What people write and what signs them in never gets here: callers log ids, codes and counts,
 * not frames, params, headers or URLs with a query. The list below is the second line of defence, not the first.
 */
export function openLog(config: Pick<Config, 'logLevel'>): Log {
  return pino({
    level: config.logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: secrets.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
  });
}

const secrets = ['token', 'password', 'newPassword', 'jwt', 'invite', 'authorization', 'cookie', 'params', 'frame', 'text', 'body', 'headers'];
