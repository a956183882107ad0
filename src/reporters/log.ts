import type { Report } from '../events.ts';

/** What people read on stderr while a command runs; always whole lines. */
export interface Log extends Disposable {
  readonly report: Report;
  /** Writes lines of ours, each with its newline. */
  readonly print: (text: string) => void;
  /** Writes the one line that says why a site failed. */
  readonly fail: (line: string) => void;
  /** Nothing more happens on this site, however it ended. */
  readonly ended: (site: string) => void;
  /** Leaves the screen as it may stay, for what is written to stdout now. */
  readonly clear: () => void;
}
