import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestPostgres, openTestPostgres } from './postgres.ts';

/**
 * Runs once around all tests, in the runner's own process: a door at which test files, in whatever process they run,
 * ask for the PostgreSQL of this run. It starts at the first knock, so tests that need none pay nothing.
 */
export default async function openDoor(): Promise<() => Promise<void>> {
  if (process.env.KITH_TEST_POSTGRES_DOOR) return async () => {};
  let postgres: Promise<TestPostgres> | undefined;
  const door = createServer((_request, response) => {
    postgres ??= openTestPostgres();
    postgres.then(
      ({ url }) => response.end(url),
      (error: Error) => response.writeHead(500).end(error.message),
    );
  });
  door.listen(0, '127.0.0.1');
  await once(door, 'listening');
  process.env.KITH_TEST_POSTGRES_DOOR = `http://127.0.0.1:${(door.address() as AddressInfo).port}`;
  return async () => {
    delete process.env.KITH_TEST_POSTGRES_DOOR;
    door.close();
    door.closeAllConnections();
    const opened = await postgres?.catch(() => undefined);
    await opened?.close();
  };
}
