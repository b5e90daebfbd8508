/**
 * The Kith client: for browsers, Node, bots and mini-programs.
 *
 * @example A bot in ten lines:
 * ```ts
 * import { Client, signIn } from '@kith/client';
 *
 * const url = 'http://localhost:8080';
 * const { token } = await signIn(url, 'auth.guest', { name: 'Echo' });
 * const client = new Client({ url, token });
 * client.on('message', (message) => {
 *   client.send(message.conversationId, { text: `echo ${message.text}` });
 * });
 * await client.start();
 * ```
 *
 * @module
 */
export { type SignInMethod, signIn } from './auth.ts';
export { Client, type ClientOptions } from './client.ts';
export type { Drafts } from './drafts.ts';
export type { FileSource, SendFileOptions, UploadOptions } from './file-source.ts';
export { newClientId } from './client-id.ts';
export { type Clock, systemClock } from './clock.ts';
export { type FileSize, fileUrl } from './files.ts';
export { type Hints, browserHints } from './hints.ts';
export type { Connection } from './link.ts';
export { type MessageType, type Outbox, type Pending, askAfterMs } from './outbox.ts';
export type { Peers } from './peers.ts';
export type { Presence, PresenceOf } from './presence.ts';
export type { HeldReads } from './reads.ts';
export { ConnectionError } from './requests.ts';
export type { WebSocketConstructor, WebSocketLike } from './socket.ts';
export { idbStorage } from './storage-idb.ts';
export { memoryStorage } from './storage-memory.ts';
export type { Batch, Change, Storage, Written } from './storage.ts';
export type { Changed, ChangedKind, Store } from './store.ts';
export { Tabs, type TabsOptions, canShareTabs } from './tabs.ts';
export { type Timeline, type TimelineItem, isPending, itemKey } from './timeline.ts';
export type { PendingFile, PendingWithFile } from './uploads.ts';
export type { ConversationView } from './views.ts';
