import type { Site } from '../config/site.ts';
import { RUN_FILES } from '../layout.ts';
import { type Script, sh } from '../shell.ts';
import type { Step } from './step.ts';

/** Collects the static files. Where STATIC_ROOT lies outside the release, the undo collects for the one that is live. */
export const collectStatic: Step = {
  name: 'static',
  title: 'Collect the static files',
  orphan: 'kill',
  run: (site) => sh`
    case $(cat ${RUN_FILES.staticFiles}) in
      collect) ;;
      outside) printf 'static outside\n' >>.deployer/history/"$RELEASE" ;;
      *) ${site.commands.static === undefined ? sh`skip "$(sed 's/^skip //' ${RUN_FILES.staticFiles})"` : sh`:`} ;;
    esac
    ${collect(site, sh`"$RELEASE"`, once)}`,
  undo: (site) => sh`
    [ "$(cat ${RUN_FILES.staticFiles} 2>/dev/null)" = outside ] && [ -n "$(live)" ] || exit 0
    ${collect(site, sh`"$(live)"`, again)}`,
};

/** Collects again for the release that is gone back to, if its static files lie outside of it. */
export const recollectStatic: Step = {
  name: 'static',
  title: 'Collect the static files',
  orphan: 'kill',
  run: (site) => sh`
    grep -qs '^static outside' .deployer/history/"$RELEASE" || skip 'they are in the release'
    printf outside >${RUN_FILES.staticFiles}
    ${collect(site, sh`"$RELEASE"`, again)}`,
  ...(collectStatic.undo && { undo: collectStatic.undo }),
};

const collect = (site: Site, release: Script, how: typeof once): Script =>
  site.commands.static === undefined
    ? how(release)
    : sh`in_release ${release} . sh -c ${site.commands.static}`;

const once = (release: Script): Script => sh`manage ${release} collectstatic --noinput`;
const again = (release: Script): Script => sh`django recollect.py ${release}`;
