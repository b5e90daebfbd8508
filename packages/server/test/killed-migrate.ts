import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { readCommandLine } from '../src/config.ts';
import { endsOf, migrateAll } from '../src/migrate-command.ts';

// `kith migrate`, killed by the system just before the nth statement that contains some words:
// node killed-migrate.ts <n> <words> migrate --from … --to …

const [, , count, words, ...line] = process.argv;
let left = Number(count);
const look = (statement: unknown): void => {
  const text = typeof statement === 'string' ? statement : ((statement as { text?: string } | undefined)?.text ?? '');
  if (text.includes(words!) && (left -= 1) === 0) process.kill(process.pid, 'SIGKILL');
};

/** Both drivers, with an ear at them. */
function listen(prototype: object, name: string): void {
  const methods = prototype as Record<string, (...args: unknown[]) => unknown>;
  const given = methods[name]!;
  methods[name] = function (this: unknown, ...args: unknown[]) {
    look(args[0]);
    return given.apply(this, args);
  };
}
listen(pg.Client.prototype, 'query');
listen(DatabaseSync.prototype, 'exec');
listen(DatabaseSync.prototype, 'prepare');

await migrateAll(endsOf(readCommandLine(line, {})), () => {});
