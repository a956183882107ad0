import { existsSync, readlinkSync } from 'node:fs';
import { scriptsOf } from './processes.ts';

/** Looks at a site all the time. */
export interface Watcher {
  /** What was wrong at some moment; empty when nothing ever was. */
  readonly faults: ReadonlySet<string>;
  stop(): void;
}

/** What a release has that is complete. */
const PARTS = ['REVISION', 'manage.py', 'VERSION', '.venv/bin/python', '.env', 'data', 'media'];
const COLLECTED = 'staticfiles/guestbook/site.css';

/** `current` must lead to a complete release at every moment, and never may two runs be at work at once. */
export function watch(root: string, site: string): Watcher {
  const faults = new Set<string>();
  const look = setInterval(() => {
    const missing = missingPart(site);
    if (missing !== undefined) faults.add(missing);
  }, 15);
  const count = setInterval(() => {
    const runs = new Set(scriptsOf(root).map(({ run }) => run));
    if (runs.size > 1) faults.add(`several runs are at work at once: ${[...runs].join(', ')}`);
  }, 150);
  return {
    faults,
    stop: () => {
      clearInterval(look);
      clearInterval(count);
    },
  };
}

function missingPart(site: string): string | undefined {
  try {
    const folder = `${site}/${readlinkSync(`${site}/current`)}`;
    const part = [...PARTS, COLLECTED].find((name) => !existsSync(`${folder}/${name}`));
    return part && `the live release lacked ${part}`;
  } catch (error) {
    return `current could not be read: ${(error as NodeJS.ErrnoException).code}`;
  }
}
