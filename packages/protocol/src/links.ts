import * as z from 'zod/mini';
import { file } from './files.ts';

/** What is shown of where the first link of a message leads: what its page said of itself when it was looked at. */
export const link = z.object({
  /** As it stands in the text. */
  url: z.string(),
  /** The host at which it was in the end, as browsers write it; names of pages may say anything. */
  site: z.string(),
  /** May be empty beside a picture. */
  title: z.string(),
  description: z.optional(z.string()),
  /** Made by this server, and read like the file of a message. */
  image: z.optional(file),
});
