/** The steps of a deploy, in order: the names used in output, hooks, time-outs, docs and the history. */
export const STEP_NAMES = [
  'lock',
  'check',
  'backup',
  'code',
  'release',
  'shared',
  'writable',
  'dependencies',
  'validate',
  'migrate',
  'static',
  'activate',
  'restart',
  'cleanup',
  'unlock',
] as const;

export type StepName = (typeof STEP_NAMES)[number];

/** Names in hooks and time-outs: `lock` and `unlock` are the session's own doing, so nothing hooks into them. */
export type ScriptedStep = Exclude<StepName, 'lock' | 'unlock'>;

export const SCRIPTED_STEPS = STEP_NAMES.filter(
  (name): name is ScriptedStep => name !== 'lock' && name !== 'unlock',
);

/** Seconds a step may take before it is killed (`migrate` is never killed: its limit is a warning each time it passes). */
export const TIME_LIMITS: Readonly<Record<ScriptedStep, number>> = {
  check: 60,
  backup: 600,
  code: 900,
  release: 600,
  shared: 600,
  writable: 600,
  dependencies: 900,
  validate: 600,
  migrate: 60,
  static: 600,
  activate: 60,
  restart: 60,
  cleanup: 600,
};

/** Seconds an undo may take; the undo of `migrate` is never killed. */
export const UNDO_LIMIT = 300;
