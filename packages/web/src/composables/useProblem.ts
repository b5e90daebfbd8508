import { RequestError } from '@kith/protocol';
import { hasText, t } from '../i18n.ts';

/** Our own text for what went wrong, by the error's code. */
export function problemText(error: unknown, wrong?: string): string {
  if (error instanceof RequestError) {
    if (wrong !== undefined && error.code === 'wrong_credentials') return t(wrong);
    if (error.code === 'bad_request' && error.extra.path) {
      const field = `problem.field.${error.extra.path.split('.')[1] ?? ''}`;
      if (hasText(field)) return t(field);
    }
    const minutes = Math.ceil((error.extra.retryAfterMs ?? 0) / 60_000);
    if (error.code === 'rate_limited' && minutes > 1) return minutes > 90 ? t('problem.waitHours', { n: Math.ceil(minutes / 60) }) : t('problem.waitMinutes', { n: minutes });
    const key = `problem.${error.code}`;
    if (hasText(key)) return t(key);
    return t('problem.internal');
  }
  // What browsers throw about passkeys.
  const name = `problem.${error instanceof Error ? error.name : ''}`;
  return t(hasText(name) ? name : 'problem.connection');
}
