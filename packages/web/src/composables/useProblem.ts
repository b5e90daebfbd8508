import { RequestError } from '@kith/protocol';
import { hasText, t } from '../i18n.ts';

/** Our own text for what went wrong, by the error's code. */
export function problemText(error: unknown): string {
  if (error instanceof RequestError) {
    if (error.code === 'bad_request' && error.extra.path) {
      const field = `problem.field.${error.extra.path.split('.')[1] ?? ''}`;
      if (hasText(field)) return t(field);
    }
    const key = `problem.${error.code}`;
    if (hasText(key)) return t(key);
    return t('problem.internal');
  }
  return t('problem.connection');
}
