import type { Plot } from './plot.ts';

/** One number that was measured, once per run. */
export interface Figure {
  name: string;
  unit: string;
  values: number[];
  /** What it has to reach, if anything. */
  atMost?: number;
  atLeast?: number;
  /** Of a peer or floor, for comparison. */
  of?: 'kith' | 'floor' | 'peer';
}

/** What a scenario hands back. */
export interface Outcome {
  figures: Figure[];
  /** One picture; where the scenario has none of its own, bars of its figures are drawn. */
  plot?: Plot;
  /** What a reader must know: sizes, how long it ran, how idle the load was. */
  notes: string[];
}

/** A file of this folder exports one as `scenario`, and is run by its name: `npm run bench -- fan-out`. */
export interface Scenario {
  /** One line for the list. */
  says: string;
  run: (bench: Bench) => Promise<Outcome>;
}

/** What a scenario gets. */
export interface Bench {
  /** Runs of each measurement. Default: 5. `--runs`. */
  runs: number;
  /** Smaller sizes, to see that it works. `--small`. */
  small: boolean;
  /** Everything after the name of the scenario that is not one of these: `--minutes 60` is `{ minutes: '60' }`. */
  options: Record<string, string | undefined>;
  /** Where `--profile` wants profiles of the server written; undefined without. */
  profile: string | undefined;
  /** An empty folder, gone after the run. */
  folder: (name: string) => string;
  /** To the terminal. */
  say: (line: string) => void;
}
