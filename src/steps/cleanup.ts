import type { Site } from '../config/site.ts';
import { program } from '../shell.ts';
import type { Step } from './step.ts';

/** Removes old releases, backups, environments and run logs of ours; never what is live, in use or foreign. */
export const cleanup: Step = {
  name: 'cleanup',
  title: 'Remove old releases and backups',
  orphan: 'kill',
  run: (site) => program('history.py', 'prune', ...pruneArguments(site)),
};

function pruneArguments(site: Site): readonly string[] {
  return [
    ...['--keep', String(site.maxReleases), '--max-backups', String(site.maxBackups)],
    ...['--backup-path', site.backupPath, '--site', site.name],
  ];
}
