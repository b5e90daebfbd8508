import { fileUrl } from '@kith/client';
import type { Message } from '@kith/protocol';
import { computed } from 'vue';
import { destinationOf } from '../components/message/link-name.ts';
import { attempt } from './useClient.ts';
import { kept } from './kept.ts';
import { useServer } from './useServer.ts';

export interface LinkCard {
  href: string;
  /** Where it leads, and where that led when it was looked at, if that is elsewhere. */
  hosts: string[];
  title: string;
  description: string | undefined;
  picture: string | undefined;
}

/** Does this device show them? */
export const linksShown = kept('kith.links', true);

/** Takes the preview off one's own message, for everybody. */
export const removePreview = ({ id }: Message): void => void attempt('message.unlink', { messageId: id });

export function useLinkPreviews() {
  const { server } = useServer();
  return {
    shown: linksShown,
    /** Does this server make any? */
    made: computed(() => server.value?.linkPreviews === true),
  };
}

/** A page may have been another for the server than it is for whoever goes there: the link's own host stands first. */
export function linkCard({ url, site, title, description, image }: NonNullable<Message['link']>): LinkCard {
  const host = destinationOf(url);
  return { href: url, hosts: host === site ? [host] : [host, site], title, description, picture: image && fileUrl(image) };
}
