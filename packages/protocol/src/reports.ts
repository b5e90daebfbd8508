import * as z from 'zod/mini';
import * as f from './method.ts';
import { atMost } from './length.ts';
import { method } from './method.ts';
import { message } from './messages.ts';
import { profile } from './users.ts';

/** What somebody told the operators of somebody else, as it was then. */
export const report = z.object({
  id: f.id,
  /** Who reported. */
  from: profile,
  /** Whom. */
  about: profile,
  conversation: z.object({ id: f.id, type: z.enum(['direct', 'group', 'room', 'announcements']), title: z.nullable(z.string()) }),
  reason: z.enum(['spam', 'abuse', 'impersonation', 'other']),
  note: z.string(),
  /** The latest of the conversation when it was reported, ascending; long texts are cut. */
  messages: z.array(z.object({ ...z.pick(message, { seq: true, senderId: true, type: true, text: true, at: true }).shape, file: z.optional(z.string()) })),
  /** Names of those who wrote them, by id, as they were then. */
  names: z.record(z.string(), z.string()),
  createdAt: f.time,
  settledAt: z.nullable(f.time),
  settledBy: z.nullable(f.id),
});

export const reportMethods = {
  'report.send': method(
    'Tells the operators of somebody in a conversation, with the latest messages of it. While one about them from there is open, it is the same.',
    z.strictObject({ conversationId: f.id, userId: f.id, reason: report.shape.reason, note: z.optional(f.bio) }),
    f.nothing,
  ),
  'admin.reports': method(
    'What people reported: what is open, or what was settled; the latest first, or those before one.',
    z.strictObject({ settled: z.optional(z.boolean()), before: z.optional(f.id), limit: z.optional(z.int().check(z.minimum(1), atMost('reportsPage'))) }),
    /** `open`: how many are open. */
    z.object({ reports: z.array(report), more: z.boolean(), open: z.int() }),
    { access: 'operator', rate: 'sync', sensitive: true },
  ),
  'report.waiting': method(
    'How many reports are open, for who looks after this server: a number alone, and so without showing once more who one is.',
    f.nothing,
    z.object({ open: z.int() }),
    { access: 'operator' },
  ),
  'admin.settle': method('Nothing more is to be done about a report.', z.strictObject({ reportId: f.id }), f.nothing, { access: 'operator', sensitive: true }),
};

export const reportSignals = {
  /** To operators: a report was made or settled, and so many are open now. */
  reports: z.object({ open: z.int() }),
};
