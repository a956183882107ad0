import type { HookName, Site } from './config/site.ts';
import { RUN_FILES } from './layout.ts';
import { prelude } from './prelude.ts';
import { secretsOf } from './secrets.ts';
import { enclosed, inTurn, lines, type Script, sh } from './shell.ts';
import { SCRIPTED_STEPS, type ScriptedStep, TIME_LIMITS, UNDO_LIMIT } from './step-names.ts';
import { repositoryOf } from './steps/repository.ts';
import type { Recipe, Step } from './steps/step.ts';

/** A command for one site, complete before anything runs: all scripts with their undos. */
export interface Plan {
  readonly kind: Recipe['kind'] | 'unlock';
  readonly site: string;
  /** The folder where every script starts. */
  readonly place: string;
  /** The functions that stand before every script. */
  readonly prelude: Script;
  readonly entries: readonly Entry[];
  /** The programs that it needs on the target, which keeps them, as named in `target/`; scripts find them in `$TOOLS`. */
  readonly tools: readonly string[];
  /** Values that are hidden in all that the target says. */
  readonly secrets: readonly string[];
  /** Variables that only entries with `needsKeys` get; never written to a disk, nor are the values to hide with them. */
  readonly keys: Readonly<Record<string, string>>;
  readonly keySecrets: readonly string[];
}

/** One script of a plan. */
export interface Entry {
  readonly name: ScriptedStep;
  readonly title: string;
  /** `after`: once the release is proven; its failure is a warning. */
  readonly phase: 'step' | 'after';
  readonly orphan: Step['orphan'];
  /** Seconds. */
  readonly limit: number;
  /** Seconds. */
  readonly undoLimit: number;
  readonly needsKeys: boolean;
  readonly run: Script;
  readonly undo: Script | undefined;
}

/** The programs that steps call, and the askpass script of Git. */
const TOOLS = [
  'common.py',
  'named_tuple.py',
  'run_command.py',
  'processes.py',
  'check.py',
  'check_folders.py',
  'check_shared.py',
  'repository.py',
  'mirror.py',
  'git.py',
  'git_errors.py',
  'askpass.sh',
  'shared.py',
  'writable.py',
  'environment.py',
  'environments.py',
  'validate.py',
  'migrations.py',
  'lock_waits.py',
  'recollect.py',
  'boot.py',
  'gunicorn.py',
  'arguments.py',
  'address.py',
  'layout.py',
  'masters.py',
  'command_line.py',
  'master_settings.py',
  'start_folder.py',
  'reload_signal.py',
  'start_command.py',
  'signals.py',
  'proof.py',
  'service.py',
  'managers.py',
  'privilege.py',
  'supervisor.py',
  'supervisor_config.py',
  'systemd.py',
  'tree.py',
  'touch.py',
  'uwsgi.py',
  'health.py',
  'history.py',
  'records.py',
  'retention.py',
  'kept_programs.py',
  'deletion.py',
];

/** Recipe and site in, scripts out. Pure: the target's answers are not needed. */
export function plan(recipe: Recipe, site: Site): Plan {
  const steps = recipe.steps.map((step) => entry(recipe, site, step, 'step'));
  return {
    kind: recipe.kind,
    site: site.name,
    place: site.deployPath,
    prelude: prelude(site, { lenient: recipe.kind !== 'deploy' }),
    entries: [
      ...steps,
      ...lateHooks(recipe, site),
      ...recipe.after.map((step) => entry(recipe, site, step, 'after')),
    ],
    tools: TOOLS,
    secrets: secretsOf({ repository: '', env: site.env }),
    keys: keysOf(site),
    keySecrets: secretsOf({ repository: site.repository, env: {} }),
  };
}

/** A plan that only takes the lock, settles what a dead run left, and lets go. */
export const unlockPlan = (site: Site): Plan => ({
  kind: 'unlock',
  site: site.name,
  place: site.deployPath,
  prelude: sh``,
  entries: [],
  tools: TOOLS,
  secrets: [],
  keys: {},
  keySecrets: [],
});

function entry(recipe: Recipe, site: Site, step: Step, phase: Entry['phase']): Entry {
  const reason = step.skip?.(site);
  const body = reason === undefined ? step.run(site) : sh`skip ${reason}`;
  const before = hooks(recipe, site, `before_${step.name}`);
  const after =
    phase === 'step' && step.name === 'restart' ? [] : hooks(recipe, site, `after_${step.name}`);
  return {
    name: step.name,
    title: step.title,
    phase,
    orphan: step.orphan,
    limit: (site.timeouts[step.name] ?? TIME_LIMITS[step.name]) + (step.extraTime?.(site) ?? 0),
    undoLimit: Math.max(UNDO_LIMIT, site.timeouts.restart ?? 0) + (step.extraTime?.(site) ?? 0),
    needsKeys: step.needsKeys ?? false,
    run: before.length + after.length > 0 ? inTurn(...before, enclosed(body), ...after) : body,
    undo: reason === undefined ? step.undo?.(site) : undefined,
  };
}

/** The hooks that come after the proof have an entry of their own: they may fail without undoing a good release. */
function lateHooks(recipe: Recipe, site: Site): readonly Entry[] {
  const scripts = hooks(recipe, site, 'after_restart');
  if (scripts.length === 0) return [];
  return [
    {
      name: 'restart',
      title: 'Run the hooks after the restart',
      phase: 'after',
      orphan: 'kill',
      limit: site.timeouts.restart ?? TIME_LIMITS.restart,
      undoLimit: UNDO_LIMIT,
      needsKeys: false,
      run: inTurn(...scripts),
      undo: undefined,
    },
  ];
}

function hooks(recipe: Recipe, site: Site, name: HookName): readonly Script[] {
  if (!recipe.hooks(name)) return [];
  return (site.hooks[name] ?? []).map(
    (command) => sh`
      (
        DEPLOYER_RELEASE=$RELEASE
        DEPLOYER_COMMIT=$(cat releases/"$RELEASE"/REVISION 2>/dev/null || cat ${RUN_FILES.commit} 2>/dev/null || :)
        export DEPLOYER_RELEASE DEPLOYER_COMMIT ${`DEPLOYER_SITE=${site.name}`} ${`DEPLOYER_STEP=${stepOf(name)}`}
        ${surroundings(name)}
        unset RELEASE RUN TOOLS PYTHON
        exec sh -c ${command}
      ) || fail ${`the hook ${name} failed: ${command}`}`,
  );
}

/** What there is by the time of a hook: a release after `release`, its env_file after `shared`, a virtualenv after `dependencies`. */
function surroundings(hook: HookName): Script {
  const past = (name: ScriptedStep) =>
    SCRIPTED_STEPS.indexOf(stepOf(hook)) + (hook.startsWith('after_') ? 1 : 0) >
    SCRIPTED_STEPS.indexOf(name);
  return lines(
    ...(past('release') ? [sh`cd releases/"$RELEASE"`] : []),
    ...(past('shared') ? [sh`environment_file`] : []),
    sh`site_environment`,
    ...(past('dependencies') ? [sh`virtual_environment`] : []),
  );
}

const stepOf = (hook: HookName): ScriptedStep =>
  hook.replace(/^(before|after)_/, '') as ScriptedStep;

function keysOf(site: Site): Readonly<Record<string, string>> {
  const { user, password } = repositoryOf(site);
  return {
    ...(user === undefined ? {} : { DEPLOYER_GIT_USER: user }),
    ...(password === undefined ? {} : { DEPLOYER_GIT_PASSWORD: password }),
  };
}
