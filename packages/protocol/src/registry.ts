import type * as z from 'zod/mini';
import { adminMethods } from './admin.ts';
import { announcementMethods } from './announcements.ts';
import { auditMethods } from './audit.ts';
import { authMethods } from './auth.ts';
import { conversationMethods } from './conversations.ts';
import { draftMethods } from './drafts.ts';
import { factorMethods } from './factors.ts';
import { exportMethods } from './exports.ts';
import { fileMethods } from './files.ts';
import { friendMethods } from './friends.ts';
import { hiddenMethods } from './hidden.ts';
import { memberMethods } from './members.ts';
import { messageMethods } from './messages.ts';
import type { Method } from './method.ts';
import { presenceMethods, presenceSignals } from './presence.ts';
import { pushMethods } from './push.ts';
import { readMethods } from './reads.ts';
import { reportMethods, reportSignals } from './reports.ts';
import { roomMethods, roomSignals } from './rooms.ts';
import { settingsMethods } from './settings.ts';
import { siteMethods } from './site.ts';
import { syncMethods } from './sync.ts';
import { typingMethods, typingSignals } from './typing.ts';
import { userMethods } from './users.ts';
import { voiceMethods } from './voice.ts';

/** Every method there is. The server's table of handlers is typed by it: one without a handler does not compile. */
export const methods = {
  ...syncMethods,
  ...authMethods,
  ...factorMethods,
  ...userMethods,
  ...friendMethods,
  ...conversationMethods,
  ...memberMethods,
  ...roomMethods,
  ...messageMethods,
  ...fileMethods,
  ...exportMethods,
  ...hiddenMethods,
  ...draftMethods,
  ...readMethods,
  ...voiceMethods,
  ...typingMethods,
  ...presenceMethods,
  ...settingsMethods,
  ...pushMethods,
  ...reportMethods,
  ...siteMethods,
  ...announcementMethods,
  ...adminMethods,
  ...auditMethods,
} satisfies Record<string, Method>;

export type MethodName = keyof typeof methods;
export type Params<M extends MethodName> = z.infer<(typeof methods)[M]['params']>;
export type Result<M extends MethodName> = z.infer<(typeof methods)[M]['result']>;

/** Every signal there is: told to those who are there, never stored, may be lost. */
export const signals = { ...typingSignals, ...presenceSignals, ...roomSignals, ...reportSignals };

export type SignalName = keyof typeof signals;
export type SignalOf<S extends SignalName> = z.infer<(typeof signals)[S]>;

export const isMethod = (name: string): name is MethodName => Object.hasOwn(methods, name);
