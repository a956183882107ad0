import { program } from '../shell.ts';
import { repositoryOf } from './repository.ts';
import type { Step } from './step.ts';

/** Brings the commit into the mirror on the target; fetches nothing that is there. */
export const code: Step = {
  name: 'code',
  title: 'Fetch the code',
  orphan: 'kill',
  needsKeys: true,
  run: (site) => program('repository.py', 'fetch', '--', repositoryOf(site).url),
};
