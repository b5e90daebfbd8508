import { onScopeDispose, ref } from 'vue';
import { useClient } from './useClient.ts';
import { useTask } from './useTask.ts';

/** Uploads a picture of a person or a group; who goes away meanwhile ends it. */
export function useAvatarUpload() {
  const client = useClient();
  const { busy, problem, run } = useTask();
  /** 0 to 1. */
  const progress = ref(0);
  const ended = new AbortController();
  onScopeDispose(() => ended.abort());

  return {
    busy,
    problem,
    progress,
    /** @returns what the person or group is drawn from then; undefined when it failed */
    async upload(bytes: Blob): Promise<string | undefined> {
      progress.value = 0;
      const onSent = (sent: number): void => void (progress.value = sent / bytes.size);
      const file = await run(() => client.upload({ name: 'avatar', bytes }, { avatar: true, onSent, signal: ended.signal }));
      return file && `file:${file.id}`;
    },
  };
}
