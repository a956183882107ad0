import type { Failure } from './events.ts';
import type { StepName } from './step-names.ts';

/** How a session ended. Only `done` is success; after `lost` nobody here knows. */
export type Outcome =
  /** The release is live; `served` tells whether that is proven. */
  | {
      readonly how: 'done';
      readonly release: string;
      readonly commit: string;
      readonly live: string;
      readonly served: Served;
      readonly stale: string;
    }
  /** There was nothing to do (`unlock`). */
  | { readonly how: 'nothing' }
  /** Everything that was done is undone. */
  | {
      readonly how: 'undone';
      readonly step: StepName;
      readonly why: Why;
      readonly failure: Failure | undefined;
      readonly live: string;
      readonly release: string;
      /** Of the release that is live again, where the undo had to bring it back. */
      readonly served: Served;
    }
  /** Undone but for what `remains` names. */
  | {
      readonly how: 'stuck';
      readonly step: StepName;
      readonly why: Why;
      readonly failure: Failure | undefined;
      readonly live: string;
      readonly release: string;
      readonly served: Served;
      readonly remains: readonly Remains[];
    }
  /** Another run holds the lock: who, in which step, since when. */
  | {
      readonly how: 'locked';
      readonly holder: string;
      readonly step: string;
      readonly since: string;
    }
  /** The session would not begin: nothing was done. */
  | { readonly how: 'refused'; readonly message: string; readonly hint: string | undefined }
  /** No session came about: nothing was done. */
  | { readonly how: 'unreachable'; readonly message: string }
  /** The connection was lost: the target goes on by itself. */
  | { readonly how: 'lost'; readonly reason: string; readonly step: StepName };

export type Why = 'failed' | 'cancelled' | 'terminated' | 'lost';

/** What an undo could not put back. */
export interface Remains {
  readonly step: string;
  readonly failure: Failure;
}

/** What is known of the processes that serve the release. */
export type Served =
  | { readonly proven: true }
  | { readonly proven: false; readonly reason: string; readonly start: string | undefined };
