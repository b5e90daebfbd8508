import { fileURLToPath } from 'node:url';
import { type Child, start } from './crash-child.ts';

export const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));

/** The real server in a process of its own. */
export interface ServerProcess extends Child {
  /** Of the port it listens on. */
  url: string;
}

/**
 * Starts `kith` on a data directory and waits until it listens.
 *
 * @param through  What starts it, before its own command: `nsenter …`.
 * @throws with what it said when it does not
 */
export async function startServerProcess(data: string, env: NodeJS.ProcessEnv = {}, program = main, through: string[] = []): Promise<ServerProcess> {
  const child = spawnServerProcess(data, env, program, through);
  for (;;) {
    const line = await child.line();
    const { msg, port } = line.startsWith('{') ? (JSON.parse(line) as { msg?: string; port?: number }) : {};
    if (msg === 'listening') return Object.assign(child, { url: `http://${env['HOST'] ?? '127.0.0.1'}:${port}` });
  }
}

/** The same, for whoever ends it before it listens. */
export function spawnServerProcess(data: string, env: NodeJS.ProcessEnv = {}, program = main, through: string[] = []): Child {
  const settings = {
    KITH_PASSWORD_MEMORY: '64',
    KITH_PASSWORD_PASSES: '1',
    KITH_RATE_LIMITS: 'off',
    KITH_REGISTRATIONS_PER_HOUR: '1000000',
    KITH_OFFLINE_GRACE_MS: '0',
    KITH_TRYING: 'on',
  };
  const [command, ...args] = [...through, process.execPath, program, '--port', '0', '--data', data];
  return start(command, args, { env: { ...process.env, ...settings, ...env } });
}
