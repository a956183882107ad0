import { pino } from 'pino';
import type { DeployEvent, Report } from '../events.ts';

/** One object per line, each with `type`, `time` and a `level` (`info`, `warn`, `error`). `write` gets whole lines. */
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
      formatters: { level: (level) => ({ level }) },
    },
    { write },
  );
  return { report: (event) => log[levelOf(event)](event), say: (object) => log.info(object) };
}

function levelOf(event: DeployEvent): 'info' | 'warn' | 'error' {
  if (event.type === 'failed') return 'error';
  return event.type === 'warned' ? 'warn' : 'info';
}
