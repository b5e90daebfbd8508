import { ref } from 'vue';
import { problemText } from './useProblem.ts';
import { useToast } from './useToast.ts';

/** One thing at a time that may fail: a second click while it runs does nothing, a failure becomes a line of text. `wrong`: the key of it where something shown was wrong. */
export function useTask(options: { toast?: boolean; wrong?: string } = {}) {
  const busy = ref(false);
  const problem = ref('');
  const { showToast } = useToast();

  async function run<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (busy.value) return undefined;
    busy.value = true;
    problem.value = '';
    try {
      return await work();
    } catch (error) {
      problem.value = problemText(error, options.wrong);
      if (options.toast) showToast(problem.value);
      return undefined;
    } finally {
      busy.value = false;
    }
  }
  return { busy, problem, run };
}
