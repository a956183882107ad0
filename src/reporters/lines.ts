import { eventLines, type Wording } from './event-lines.ts';
import type { Log } from './log.ts';

export interface LinesOptions extends Wording {
  readonly write: (text: string) => void;
  /** Several sites at once: each line names its own. */
  readonly prefix: boolean;
}

/** Plain lines, one for each step with its time; nothing is ever overwritten. */
export function linesLog(options: LinesOptions): Log {
  return {
    report: (event) => {
      const prefix = options.prefix ? `[${event.site}] ` : '  ';
      const lines = eventLines(event, options).map((line) => `${prefix}${line}\n`);
      if (lines.length > 0) options.write(lines.join(''));
    },
    print: options.write,
    fail: (text) => options.write(`${text}\n`),
    ended: () => {},
    clear: () => {},
    [Symbol.dispose]: () => {},
  };
}
