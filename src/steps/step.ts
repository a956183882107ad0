import type { HookName, Site } from '../config/site.ts';
import type { Script } from '../shell.ts';
import type { ScriptedStep } from '../step-names.ts';

/**
 * One step of a recipe. Its scripts start in `deploy_path` under `set -eu` with `$RELEASE`, `$RUN` and `$TOOLS` set and
 * the functions of `prelude.ts` defined; stdin is empty.
 */
export interface Step {
  /** The name in output, hooks, docs and history. */
  readonly name: ScriptedStep;
  readonly title: string;
  readonly run: (site: Site) => Script;
  /** Idempotent and self-contained: may run twice, after half a run or none, and from another session. */
  readonly undo?: (site: Site) => Script;
  /** If the client vanishes meanwhile: killed and undone, or run to its end first. `never` is not even killed by its time limit. */
  readonly orphan: 'kill' | 'finish' | 'never';
  /** Seconds on top of the step's usual limit. */
  readonly extraTime?: (site: Site) => number;
  /** Why there is nothing to do, where the site alone tells. */
  readonly skip?: (site: Site) => string | undefined;
  /** The Git user and password are in this step's environment, and in no other's. */
  readonly needsKeys?: true;
}

/** A command of the tool as a list of steps. */
export interface Recipe {
  readonly kind: 'deploy' | 'rollback' | 'restart';
  readonly steps: readonly Step[];
  /** After the proof: best effort, nothing is undone. */
  readonly after: readonly Step[];
  /** The hooks that run. */
  readonly hooks: (name: HookName) => boolean;
}
