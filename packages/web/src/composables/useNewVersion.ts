import { ref } from 'vue';

const newVersion = ref(false);
let take = (): void => location.reload();

/** A newer version of this program is there, and this page still is the older one. */
export function useNewVersion() {
  return { newVersion, reload: () => take() };
}

/** @param how  What brings the new version in. Default: loading the page again. */
export function tellNewVersion(how = take): void {
  take = how;
  newVersion.value = true;
}
