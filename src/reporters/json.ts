import { pino } from 'pino';
import type { Report } from '../events.ts';

/** One object per line. `write` gets whole lines. */
export interface JsonLines {
  readonly report: Report;
  /** Says an object with a `type` that is no event: a result, a summary. */
  readonly say: (object: { readonly type: string } & Record<string, unknown>) => void;
}

export function jsonLines(write: (line: string) => void): JsonLines {
  const log = pino(
    {
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: () => ({}) },
    },
    { write },
  );
  return { report: (event) => log.info(event), say: (object) => log.info(object) };
}
