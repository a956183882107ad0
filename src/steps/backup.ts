import type { Site } from '../config/site.ts';
import { backupFile, backupPart, RUN_FILES } from '../layout.ts';
import { type Script, sh } from '../shell.ts';
import type { Step } from './step.ts';

/** Packs the live release, without its virtualenv and what is in shared/, and reads the archive through to its end. */
export const backup: Step = {
  name: 'backup',
  title: 'Back up the live release',
  orphan: 'kill',
  run: (site) => sh`
    live=$(live)
    [ -n "$live" ] || skip 'first deploy: nothing to back up'
    folder=${site.backupPath}
    until [ -d "$folder" ]; do printf '%s\n' "$folder" >>${RUN_FILES.backupFolders}; folder=$(dirname -- "$folder"); done
    [ -d ${site.backupPath} ] || mkdir -p -- ${site.backupPath}
    umask 077
    part=${backupPart(site)}
    ${site.commands.backup === undefined ? packRelease(site) : runCommand(site.commands.backup)}
    gzip -t "$part" & packed=$!
    tar -tzf - <"$part" >/dev/null && wait "$packed" || fail 'the backup cannot be read through to its end'
    mv -f -- "$part" ${backupFile(site)}
    answer note ${`${site.backupPath}/${site.name}_`}"$RELEASE.tar.gz"`,
  undo: (site) => sh`
    rm -f -- ${backupPart(site)} ${backupFile(site)}
    [ -e ${RUN_FILES.backupFolders} ] || exit 0
    while IFS= read -r folder; do rmdir -- "$folder" 2>/dev/null || :; done <${RUN_FILES.backupFolders}`,
};

/**
 * GNU tar ends with 1 when a file changed while it was read, as files of a live site do; elsewhere 1 is a failure. Some
 * BusyBoxes leave nothing out: the virtualenv is a link, unless commands.dependencies makes it otherwise.
 */
const packRelease = (site: Site): Script => sh`
  status=0
  tar -czf - -C releases --exclude="$live"/${site.venv} "$live" >"$part" || status=$?
  if [ "$status" -ne 0 ] && case $(tar --help 2>&1) in *--exclude*) false ;; esac; then
    [ ! -d releases/"$live"/${site.venv}/bin ] || [ -L releases/"$live"/${site.venv} ] || answer warning 'the virtualenv is in the backup, too: this tar knows no --exclude'
    status=0
    tar -czf - -C releases "$live" >"$part" || status=$?
  fi
  [ "$status" -eq 0 ] || case $status$(tar --version 2>/dev/null) in
    1*GNU*) answer warning 'files of the live release changed while they were backed up' ;;
    *) fail "tar ended with $status" ;;
  esac`;

const runCommand = (command: string): Script => sh`
  ( DEPLOYER_BACKUP=$part; export DEPLOYER_BACKUP; site_environment; exec sh -c ${command} ) || fail "commands.backup ended with $?"
  [ -s "$part" ] || fail 'commands.backup wrote nothing to $DEPLOYER_BACKUP'`;
