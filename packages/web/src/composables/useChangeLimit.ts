import type { Message } from '@kith/protocol';
import { useClient } from './useClient.ts';
import { useServer } from './useServer.ts';

const hourMs = 3_600_000;

/** For how long one may change what one has sent: the server allows it for some time only. */
export function useChangeLimit() {
  const client = useClient();
  const { server } = useServer();
  return {
    /** Milliseconds left, 0 or less when it is too late; undefined until the server has told. */
    changeLeft: ({ at }: Message): number | undefined => (server.value === undefined ? undefined : at + server.value.recallHours * hourMs - client.now()),
  };
}
