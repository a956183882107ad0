import { releaseIdAt } from './layout.ts';
import type { Entry, Plan } from './plan.ts';
import { mask } from './secrets.ts';
import { quote } from './shell.ts';

/**
 * The very scripts that would run, as one text that `sh -n` accepts; the names at its head are those that this clock
 * would give. Secrets are masked.
 */
export function dryRun(plan: Plan, now: Date): string {
  const text = [
    `# ${plan.kind} of ${plan.site}: the scripts of each step. Nothing was run, nothing was connected to.`,
    'set -eu',
    `cd ${quote(plan.place)}`,
    `RELEASE=${plan.kind === 'deploy' ? releaseIdAt(now) : '${1:?the release, which check finds}'}`,
    'RUN=$PWD/.deployer/run/$RELEASE',
    'TOOLS=$PWD/.deployer/tools/VERSION',
    'PYTHON=python3',
    'export RELEASE RUN TOOLS PYTHON',
    'exec 3>&2',
    plan.prelude.text,
    ...plan.entries.flatMap(written),
  ].join('\n');
  return `${mask(text, [...plan.secrets, ...plan.keySecrets])}\n`;
}

function written({ name, title, run, undo }: Entry): readonly string[] {
  const undoing = undo ? [`undo_${name}() (`, undo.text, ')'] : [];
  return ['', `# ${name}: ${title}`, ...undoing, '(', run.text, ')'];
}
