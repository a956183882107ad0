import type { Report } from '../events.ts';

/** What people read on stderr while a command runs; always whole lines. */
export interface Log extends Disposable {
  readonly report: Report;
  /** Writes lines of ours, each with its newline. */
  readonly print: (text: string) => void;
  /** Writes what says why a site failed, the summary first, without its last newline. */
  readonly fail: (text: string) => void;
  /** Nothing more happens on this site, however it ended. */
  readonly ended: (site: string) => void;
  /** Leaves the screen as it may stay, for what is written to stdout now. */
  readonly clear: () => void;
}
