import type { Site } from '../config/site.ts';
import { RUN_FILES } from '../layout.ts';
import { inTurn, type Script, sh } from '../shell.ts';
import { unknownMigrations } from './migrate.ts';
import { checkServerConfig, restartTime, restoreServices, stopServices } from './services.ts';
import type { Step } from './step.ts';

/**
 * Has the release answer a request in its own environment, then switches `current` by rename(2). The undo switches back,
 * and has the services prove that they serve the old release again.
 */
export const activate: Step = {
  name: 'activate',
  title: 'Boot-test the release and switch to it',
  orphan: 'finish',
  run: (site) =>
    inTurn(
      bootTest(site),
      ...checkServerConfig(site),
      sh`
    [ -L current ] || [ ! -e current ] || fail 'current is no link' 'move it away: it is not ours'
    if [ -L current ]; then readlink current >${RUN_FILES.previous}; else : >${RUN_FILES.previous}; fi
    sync -f releases/"$RELEASE" 2>/dev/null || sync
    : >${RUN_FILES.switched}
    ${switchTo(sh`releases/"$RELEASE"`)}`,
    ),
  undo: (site) => sh`
    [ -e ${RUN_FILES.switched} ] || exit 0
    previous=$(cat ${RUN_FILES.previous})
    if [ -z "$previous" ]; then
      [ ! -L current ] || rm -f current
      ${stopServices(site)}
    else
      ${switchTo(sh`"$previous"`)}
      RELEASE=$(name_of "$previous")
      lenient=1
      ${restoreServices(site)}
    fi
    : >${RUN_FILES.restored}`,
  extraTime: restartTime,
};

/** The same for a rollback, which says besides what the database has and the old code does not know. */
export const activateOld: Step = {
  ...activate,
  title: 'Boot-test the old release and switch to it',
  run: (site) => inTurn(unknownMigrations, activate.run(site)),
};

const bootTest = (site: Site): Script =>
  sh`in_release "$RELEASE" project python "$TOOLS/boot.py" ${bootArguments(site)}`;

function bootArguments(site: Site): readonly string[] {
  return [
    ...['--host', site.healthCheck?.host ?? site.name, '--path', site.healthCheck?.path ?? '/'],
    ...(site.wsgi === undefined ? [] : ['--wsgi', site.wsgi]),
  ];
}

/** `mv` onto the link itself would move into the live release; with the folder as its target it is one rename(2). */
const switchTo = (target: Script): Script => sh`
  [ -d .deployer/switch ] || mkdir .deployer/switch
  [ ! -L .deployer/switch/current ] || rm -f .deployer/switch/current
  ln -s ${target} .deployer/switch/current
  mv -f .deployer/switch/current .`;
