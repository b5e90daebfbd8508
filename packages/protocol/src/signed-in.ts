import * as z from 'zod/mini';
import * as f from './method.ts';
import { user } from './users.ts';

/** What every way of signing in answers. */
export const signedIn = z.object({
  user,
  sessionId: f.id,
  /** Only to programs; a browser on the server's own origin gets a cookie instead. */
  token: z.optional(z.string()),
});
