import { sh } from '../shell.ts';
import type { Step } from './step.ts';

/** Asks Django in one process: system checks, the migration plan, where data would be lost. */
export const validate: Step = {
  name: 'validate',
  title: 'Check the Django project',
  orphan: 'kill',
  run: () => sh`django validate.py "$RELEASE"`,
};
