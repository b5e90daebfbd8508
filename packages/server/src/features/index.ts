import type { Handlers } from '../core/context.ts';
import { admin } from './admin.ts';
import { announcements } from './announcements.ts';
import { audit } from './audit.ts';
import { auth } from './auth.ts';
import { conversations } from './conversations.ts';
import { drafts } from './drafts.ts';
import { factors } from './factors.ts';
import { accountExports } from './exports.ts';
import { files } from './files.ts';
import { friends } from './friends.ts';
import { hidden } from './hidden.ts';
import { members } from './members.ts';
import { messages } from './messages.ts';
import { presence } from './presence.ts';
import { push } from './push.ts';
import { reads } from './reads.ts';
import { reports } from './reports.ts';
import { rooms } from './rooms.ts';
import { settings } from './settings.ts';
import { site } from './site.ts';
import { sync } from './sync.ts';
import { typing } from './typing.ts';
import { users } from './users.ts';
import { voice } from './voice.ts';

/** Every method has its handler here, or this does not compile. */
export const handlers: Handlers = {
  ...sync,
  ...auth,
  ...factors,
  ...users,
  ...friends,
  ...conversations,
  ...members,
  ...rooms,
  ...messages,
  ...files,
  ...accountExports,
  ...hidden,
  ...drafts,
  ...reads,
  ...voice,
  ...typing,
  ...presence,
  ...settings,
  ...push,
  ...reports,
  ...site,
  ...announcements,
  ...admin,
  ...audit,
};
