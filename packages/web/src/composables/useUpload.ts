import type { Pending } from '@kith/client';
import { RequestError } from '@kith/protocol';
import { t } from '../i18n.ts';
import { useClient } from './useClient.ts';
import { problemText } from './useProblem.ts';

/** What one does with a file that is on its way. */
export function useUpload() {
  const { outbox } = useClient();
  return {
    pause: (clientId: string) => outbox.pauseFile(clientId),
    resume: (clientId: string) => outbox.resumeFile(clientId),
  };
}

/** Why a message with a file was not sent; undefined where there is nothing to say. */
export function uploadProblem({ file, error }: Pending): string | undefined {
  if (!file || !error) return undefined;
  if (error.code === 'too_large') return t('upload.tooLarge');
  if (error.code === 'incomplete') return t('upload.unreadable');
  if (error.code === 'quota_full') return t('upload.quotaFull');
  if (error.code === 'storage_full') return t('upload.storageFull');
  return problemText(new RequestError(error.code));
}
