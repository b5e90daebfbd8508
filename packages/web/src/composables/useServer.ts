import { ref } from 'vue';
import { signedInAs } from './useSession.ts';

export interface ServerInfo {
  name: string;
  /** The configuration says so, and nobody can change it here. */
  nameFixed: boolean;
  registration: 'open' | 'invite' | 'closed';
  guests: boolean;
  /** Hours for which one may edit and recall one's own message. */
  recallHours: number;
  /** Days after which messages go; 0: never. */
  retentionDays: number;
  /** Bytes that one file may have. */
  fileBytes: number;
  /** Does this server look at links that people send? */
  linkPreviews: boolean;
  /** The origin whose pages can have passkeys; null: none can. */
  passkeys: string | null;
  version: string;
}

const server = ref<ServerInfo>();
const failed = ref(false);
/** As this browser last heard of it: a start shows it before the network answers. */
const nameKey = 'kith.site';
export const siteName = ref(localStorage.getItem(nameKey) ?? 'Kith');
let loading: Promise<void> | undefined;

/** Asked twice at once, it is one request. */
const load = (): Promise<void> => (loading ??= ask().finally(() => (loading = undefined)));

async function ask(): Promise<void> {
  try {
    const answer = await fetch('/api/server');
    if (!answer.ok) throw new Error(`GET /api/server answered ${answer.status}`);
    server.value = (await answer.json()) as ServerInfo;
    failed.value = false;
    siteName.value = server.value.name;
    // Of who is not signed in, or not any more, nothing is kept.
    if (signedInAs()) localStorage.setItem(nameKey, server.value.name);
  } catch {
    failed.value = true;
  }
}

/** What the server says of itself before anyone signs in. */
export function useServer() {
  if (!server.value) void load();
  return { server, failed, reload: load };
}
