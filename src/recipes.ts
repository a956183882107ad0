import { activate, activateOld } from './steps/activate.ts';
import { backup } from './steps/backup.ts';
import { check, checkRestart, checkRollback } from './steps/check.ts';
import { cleanup } from './steps/cleanup.ts';
import { code } from './steps/code.ts';
import { dependencies, oldDependencies } from './steps/dependencies.ts';
import { migrate } from './steps/migrate.ts';
import { release } from './steps/release.ts';
import { restart } from './steps/restart.ts';
import { shared } from './steps/shared.ts';
import { collectStatic, recollectStatic } from './steps/static.ts';
import type { Recipe } from './steps/step.ts';
import { validate } from './steps/validate.ts';
import { writable } from './steps/writable.ts';

/** A new release from the repository, beside the old ones, switched to and proven. */
export const deploy = (options: { readonly rebuild: boolean }): Recipe => ({
  kind: 'deploy',
  steps: [
    check,
    backup,
    code,
    release,
    shared,
    writable,
    dependencies(options.rebuild),
    validate,
    migrate,
    collectStatic,
    activate,
    restart,
  ],
  after: [cleanup],
  hooks: () => true,
});

/** Back to the previous good release, or to the one named `to`. The database is not touched. */
export const rollback = (options: { readonly to: string | undefined }): Recipe => ({
  kind: 'rollback',
  steps: [checkRollback(options.to), oldDependencies, recollectStatic, activateOld, restart],
  after: [],
  hooks: (name) => name.endsWith('_activate') || name.endsWith('_restart'),
});

/** The services of the live release, once more. */
export const restartOnly: Recipe = {
  kind: 'restart',
  steps: [checkRestart, restart],
  after: [],
  hooks: (name) => name.endsWith('_restart'),
};
