/** A stream is one dense sequence of versions: all that happens in a conversation, or all that is private to a person. */
export type StreamId = `conversation:${string}` | `user:${string}`;
export type StreamKind = 'conversation' | 'user';

export const conversationStream = (conversationId: string): StreamId => `conversation:${conversationId}`;
export const userStream = (userId: string): StreamId => `user:${userId}`;

/** @returns The parts of a well-formed stream id, else undefined. */
export function parseStream(stream: string): { kind: StreamKind; id: string } | undefined {
  const match = /^(conversation|user):([A-Za-z0-9-]{1,64})$/.exec(stream);
  return match ? { kind: match[1] as StreamKind, id: match[2]! } : undefined;
}
