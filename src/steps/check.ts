import { addressText } from '../config/address.ts';
import type { Site } from '../config/site.ts';
import { enclosed, inTurn, lines, program, quote, type Script, sh, together } from '../shell.ts';
import { repositoryOf } from './repository.ts';
import { checkAddress, checkServices } from './services.ts';
import type { Step } from './step.ts';

/** Looks for everything that would stop the deploy, before anything is changed; says all problems at once. */
export const check: Step = {
  name: 'check',
  title: 'Check the target, the repository and the services',
  orphan: 'kill',
  needsKeys: true,
  run: (site) => {
    const services = checkServices(site);
    const asks = together(
      program('check.py', ...checkArguments(site)),
      program('repository.py', 'find', '--branch', site.branch, '--', repositoryOf(site).url),
      ...(services.length > 1 ? [all(services)] : services),
    );
    const address = checkAddress(site);
    return address === undefined ? asks : all([enclosed(asks), address]);
  },
};

/** One after another, all to their ends; fails if one has failed. */
const all = (scripts: readonly Script[]): Script => sh`
  (
    wrong=0
    ${lines(...scripts.map((each) => sh`${each} || wrong=1`))}
    exit "$wrong"
  )`;

function checkArguments(site: Site): readonly string[] {
  return [
    ...['--backup-path', site.backupPath, '--python', site.python],
    ...site.sharedFiles.flatMap((path) => ['--shared-file', path]),
    ...site.sharedDirs.flatMap((path) => ['--shared-dir', path]),
    ...(repositoryOf(site).overSsh ? ['--needs-ssh'] : []),
    ...['--target', wayThere(site)],
  ];
}

/** How a person reaches the target: `local`, `ssh deploy@web1:2222`, or the words that run a command in a container. */
function wayThere({ runner, host, user, port, dockerContainer, dockerUser }: Site): string {
  const address = host === undefined ? undefined : addressText({ host, user, port });
  if (runner !== 'docker') return address === undefined ? 'local' : `ssh ${address}`;
  const engine = address === undefined ? [] : ['-H', quote(`ssh://${address}`)];
  const who = dockerUser === undefined ? [] : ['-u', dockerUser];
  return ['docker', ...engine, 'exec', '-i', ...who, dockerContainer].join(' ');
}

/** Finds what `rollback` goes to, and whether the services can follow. The session takes the answered release as `$RELEASE`. */
export const checkRollback = (to: string | undefined): Step => ({
  name: 'check',
  title: 'Find the release to go back to',
  orphan: 'kill',
  run: (site) =>
    inTurn(
      currentIsALink,
      program('history.py', 'candidate', ...(to === undefined ? [] : ['--to', to])),
      ...checkAll(site),
    ),
});

/** Finds what is live, for a restart. */
export const checkRestart: Step = {
  name: 'check',
  title: 'Find the live release',
  orphan: 'kill',
  run: (site) =>
    inTurn(
      currentIsALink,
      sh`
        [ -n "$(live)" ] || fail 'nothing is deployed here yet' ${`deployer deploy ${site.name}`}
        [ -d releases/"$(live)" ] || fail "$PWD/current leads to $(readlink current), which is no release" 'deployer deploy says how to mend it'
        answer release "$(live)"`,
      ...checkAll(site),
    ),
};

const checkAll = (site: Site): readonly Script[] =>
  [...checkServices(site), checkAddress(site)].filter((each) => each !== undefined);

const currentIsALink = sh`
  [ -L current ] || [ ! -e current ] || fail "$PWD/current is no link to a release" 'deployer deploy says how to mend it'`;
