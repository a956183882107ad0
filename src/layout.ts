import type { Site } from './config/site.ts';
import { type Script, sh } from './shell.ts';

/** The release id that a clock's moment gives: `YYYYMMDD_HHMMSS_mmm`, UTC. */
export function releaseIdAt(moment: Date): string {
  const [date, time, millis] = moment.toISOString().slice(0, -1).split(/[T.]/) as [
    string,
    string,
    string,
  ];
  return `${date.replaceAll('-', '')}_${time.replaceAll(':', '')}_${millis}`;
}

/** The file that a backup of this deploy ends as, and the one it grows in; both name `$RELEASE`. */
export const backupFile = (site: Site): Script =>
  sh`${`${site.backupPath}/${site.name}_`}"$RELEASE".tar.gz`;
export const backupPart = (site: Site): Script =>
  sh`${`${site.backupPath}/.${site.name}_`}"$RELEASE".tar.gz.part`;

/** Where `check` notes which server processes run, for each service of `restart` its own: a file in the run's folder. */
export const servicesSeen = (index: number): string => `services-${index}`;

/**
 * What one step leaves for a later one, as files in the run's own folder. The Python programs on the target write and
 * read the same names.
 */
export const RUN_FILES = {
  /** What `current` pointed to before, empty if there was none. */
  previous: sh`"$RUN/previous"`,
  /** There once `current` may have been switched. */
  switched: sh`"$RUN/switched"`,
  /** Where the Gunicorn that serves the site listens. */
  address: sh`"$RUN/address"`,
  /** There once only an answer of the site can prove what is served: its processes are hidden from us. */
  answerDecides: sh`"$RUN/answer-decides"`,
  /** There if a Gunicorn was seen that does not listen yet. */
  addressLater: sh`"$RUN/address-later"`,
  /** The commit to deploy, 40 hex digits. */
  commit: sh`"$RUN/commit"`,
  /** `none`, `empty` or `pending`. */
  migrations: sh`"$RUN/migrations"`,
  /** `collect`, `outside` or `skip REASON`. */
  staticFiles: sh`"$RUN/static"`,
  /** There once what was live before is proven to be served again. */
  restored: sh`"$RUN/restored"`,
  /** The folders that were made for the backup, the innermost first. */
  backupFolders: sh`"$RUN/backup-folders"`,
  /** The migrations that were applied before this run, as JSON; there once `migrate` began. */
  appliedBefore: sh`"$RUN/applied-before"`,
} as const;
