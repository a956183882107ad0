import type { Site } from '../config/site.ts';
import { RUN_FILES } from '../layout.ts';
import { type Script, sh } from '../shell.ts';
import type { Step } from './step.ts';

/** Collects the static files. Where STATIC_ROOT lies outside the release, the undo collects for the one that is live. */
export const collectStatic: Step = {
  name: 'static',
  title: 'Collect the static files',
  orphan: 'kill',
  run: (site) =>
    site.commands.static === undefined
      ? sh`
        read -r files <${RUN_FILES.staticFiles}
        case $files in
          collect) manage "$RELEASE" collectstatic --noinput ;;
          outside) ${NOTE_OUTSIDE}; ${collectOutside(site, sh`"$RELEASE"`)} ;;
          *) skip "\${files#skip }" ;;
        esac`
      : sh`
        [ "$(cat ${RUN_FILES.staticFiles})" != outside ] || ${NOTE_OUTSIDE}
        ${collectOutside(site, sh`"$RELEASE"`)}`,
  undo: (site) => sh`
    [ "$(cat ${RUN_FILES.staticFiles} 2>/dev/null)" = outside ] && [ -n "$(live)" ] || exit 0
    ${collectOutside(site, sh`"$(live)"`)}`,
};

/** Collects again for the release that is gone back to, if its static files lie outside of it. */
export const recollectStatic: Step = {
  name: 'static',
  title: 'Collect the static files',
  orphan: 'kill',
  run: (site) => sh`
    grep -qs '^static outside' .deployer/history/"$RELEASE" || skip 'they are in the release'
    printf outside >${RUN_FILES.staticFiles}
    ${collectOutside(site, sh`"$RELEASE"`)}`,
  ...(collectStatic.undo && { undo: collectStatic.undo }),
};

const NOTE_OUTSIDE = sh`printf 'static outside\n' >>.deployer/history/"$RELEASE"`;

/** Replaces every file: `collectstatic` alone leaves what is not older than its source by a whole second. */
const collectOutside = (site: Site, release: Script): Script =>
  site.commands.static === undefined
    ? sh`django recollect.py ${release}`
    : sh`in_release ${release} . sh -c ${site.commands.static}`;
