import type { Site } from '../config/site.ts';
import { inTurn, program, type Script, sh } from '../shell.ts';
import { checkEnvironment } from './services.ts';
import type { Step } from './step.ts';

/** Gives the release its environment: the one of its requirements, built if it is new. `rebuild`: built anew in any case. */
export const dependencies = (rebuild: boolean): Step => ({
  name: 'dependencies',
  title: 'Install the requirements',
  orphan: 'kill',
  run: (site) =>
    inTurn(
      site.commands.dependencies === undefined
        ? build(site, rebuild)
        : runCommand(site, site.commands.dependencies),
      ...checkEnvironment(site),
    ),
  undo: () => program('environment.py', 'discard'),
});

/** Whether the services can take up the environment of the release that is gone back to. */
export const oldDependencies: Step = {
  name: 'dependencies',
  title: 'Check the environment of the release',
  orphan: 'kill',
  run: (site) =>
    inTurn(
      sh`[ -x releases/"$RELEASE"/${`${site.venv}/bin/python`} ] || fail ${`the release has no virtualenv ${site.venv}`}`,
      ...checkEnvironment(site),
    ),
};

/** pip gets the site's environment, which may hold names of ours. */
const build = (site: Site, rebuild: boolean): Script => sh`
  (
    set -- "$RELEASE" "$PYTHON" "$TOOLS/environment.py"
    site_environment
    RELEASE=$1
    exec "$2" -BES "$3" build ${buildArguments(site, rebuild)}
  )`;

function buildArguments(site: Site, rebuild: boolean): readonly string[] {
  return [
    ...['--venv', site.venv, '--python', site.python],
    ...(site.requirements ?? []).flatMap((file) => ['--requirements', file]),
    ...(rebuild ? ['--rebuild'] : []),
  ];
}

const runCommand = (site: Site, command: string): Script => sh`
  (
    cd releases/"$RELEASE"
    environment_file
    site_environment
    RELEASE=$PWD
    export RELEASE
    exec sh -c ${command}
  ) || fail "commands.dependencies ended with $?"
  [ -x releases/"$RELEASE"/${`${site.venv}/bin/python`} ] || fail ${`commands.dependencies left no virtualenv at $RELEASE/${site.venv}`}`;
