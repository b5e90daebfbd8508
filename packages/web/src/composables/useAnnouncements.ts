import { newClientId } from '@kith/client';
import { attempt } from './useClient.ts';

/** Writes to everybody on the server. @returns Was it sent? */
export async function announce(text: string): Promise<boolean> {
  return (await attempt('announcement.send', { text, clientId: newClientId() })) !== undefined;
}
