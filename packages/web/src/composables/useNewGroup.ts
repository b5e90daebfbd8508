import { attempt } from './useClient.ts';

/** Makes a group of you and these people. @returns Its id. */
export async function createGroup(title: string, memberIds: string[]): Promise<string | undefined> {
  return (await attempt('conversation.create', { title, memberIds }))?.conversation.id;
}
