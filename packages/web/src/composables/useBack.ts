import { useRouter } from 'vue-router';

/** Back to where one came from; where this was the first page, up to `parent`. */
export function useBack(parent: string) {
  const router = useRouter();
  return {
    back(up = parent) {
      if (history.state?.back === up || (history.state?.back && up === parent)) router.back();
      else void router.replace(up);
    },
  };
}
