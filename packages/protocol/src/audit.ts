import * as z from 'zod/mini';
import * as f from './method.ts';
import { method } from './method.ts';

/** What the audit log tells of. Never what people wrote, and nothing that signs anybody in. */
export const auditEvents = [
  'account.made',
  'account.claimed',
  'account.deleted',
  'account.disabled',
  'account.enabled',
  'account.exported',
  'account.purged',
  'account.restored',
  'audit.exported',
  'audit.pruned',
  'backup.made',
  'backup.restored',
  'database.lost',
  'factors.changed',
  'group.dissolved',
  'invite.made',
  'limit.hit',
  'member.added',
  'member.removed',
  'member.role',
  'message.deleted',
  'password.changed',
  'password.reset',
  'password.reset-begun',
  'policy.broken',
  'report.read',
  'report.settled',
  'retention.changed',
  'secrets.rotated',
  'server.started',
  'server.stopped',
  'session.ended',
  'session.made',
  'settings.changed',
  'signin.factor',
  'signin.failed',
] as const;

/** One line of the audit log. */
export const auditEntry = z.object({
  /** 1, 2, 3 … without holes. */
  seq: f.seq,
  at: f.time,
  event: z.enum(auditEvents),
  /** Who did it, if that is somebody. */
  actorId: z.nullable(f.id),
  /** Whom it was done to, if that is somebody. */
  subjectId: z.nullable(f.id),
  /** null: not known, or longer ago than 30 days. */
  ip: z.nullable(z.string()),
  /** Ids, names of settings, counts. */
  detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  /** SHA-256 over this line and the hash of the line before, hex. */
  hash: z.string(),
});

export const auditMethods = {
  'admin.audit': method(
    'The audit log, the latest lines first, or those before one.',
    z.strictObject({ before: z.optional(f.seq), limit: f.pageLimit }),
    /** Names of those whom the lines speak of, by id, as they are now; who is gone has none. */
    z.object({ entries: z.array(auditEntry), names: z.record(z.string(), z.string()), more: z.boolean() }),
    { access: 'operator', rate: 'sync', sensitive: true },
  ),
};
