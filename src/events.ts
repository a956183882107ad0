import type { StepName } from './step-names.ts';

/** What happens while a command works on one site, in order, as a reporter is told. Times are seconds. */
export type DeployEvent = { readonly site: string } /** A step begins. */ & (
  | { readonly type: 'started'; readonly step: StepName; readonly title: string }
  /** Output of the step under way: whole lines, secrets masked. */
  | { readonly type: 'log'; readonly step: StepName; readonly text: string }
  /** A step ended well; `notes` are worth a word each. */
  | {
      readonly type: 'done';
      readonly step: StepName;
      readonly seconds: number;
      readonly notes: readonly string[];
    }
  /** A step had nothing to do. */
  | {
      readonly type: 'skipped';
      readonly step: StepName;
      readonly reason: string;
      readonly seconds: number;
    }
  /** A step failed or was stopped; undoing begins. */
  | {
      readonly type: 'failed';
      readonly step: StepName;
      readonly seconds: number;
      readonly failure: Failure;
    }
  /** What a step did is undone. */
  | { readonly type: 'undoing'; readonly step: StepName }
  | {
      readonly type: 'undone';
      readonly step: StepName;
      readonly seconds: number;
      readonly failure: Failure | undefined;
    }
  /** An earlier run whose session died is undone first. */
  | {
      readonly type: 'recovering';
      readonly run: string;
      readonly kind: string;
      readonly by: string;
      readonly step: string;
    }
  | {
      readonly type: 'recovered';
      readonly run: string;
      readonly committed: boolean;
      readonly failures: readonly string[];
    }
  /** Worth knowing, and no failure. */
  | { readonly type: 'warned'; readonly step: StepName | undefined; readonly message: string }
);

/** Why a script failed. */
export interface Failure {
  /** Exit code of the script; 124 out of time, 130 stopped, 128 + n ended by signal n. */
  readonly code: number;
  /** A word for programs, where the script had one: `failed`, `not-undone`, `nothing-to-roll-back`. */
  readonly error: string | undefined;
  /** One sentence, where the script had one. */
  readonly message: string | undefined;
  readonly hint: string | undefined;
  /** What `check` found, all of it. */
  readonly problems: readonly string[];
  /** The last lines of output. */
  readonly lastLines: readonly string[];
}

/** A reporter is a function. */
export type Report = (event: DeployEvent) => void;
