/** What `target/status.py` answers. Times are UTC by the target's clock; '' is what is not known. */
export interface SiteStatus {
  readonly now: string;
  /** What `current` points to, if that is a release. */
  readonly live: string;
  readonly commit: string;
  readonly since: string;
  readonly by: string;
  /** What the history calls the live release. */
  readonly state: '' | 'good' | 'unproven' | 'failed' | 'left' | 'removed' | 'foreign';
  readonly rollback: { readonly release: string; readonly commit: string } | null;
  readonly lock: Lock | null;
  readonly last_run: LastRun | null;
  /** The runs whose sessions died and that nobody has settled yet. */
  readonly unsettled: readonly string[];
  readonly problems: readonly string[];
}

interface Lock {
  /** False: only `.deploy.lock` says so. */
  readonly held: boolean;
  readonly pid: number;
  readonly by: string;
  /** The dead run that the holder is just settling. */
  readonly settles: string;
  readonly command: string;
  readonly since: string;
  readonly step: string;
  readonly step_since: string;
}

type LastRun = UnreadRun | KnownRun;

interface UnreadRun {
  readonly run: string;
  readonly log: string;
  readonly ending: 'unknown';
}

interface KnownRun {
  readonly run: string;
  readonly log: string;
  readonly ending: 'running' | 'died' | 'done' | 'undone' | 'stuck';
  readonly kind: string;
  readonly by: string;
  readonly since: string;
  readonly reached: string;
  readonly step: string;
  readonly step_since: string;
  readonly undoing: boolean;
  readonly client_gone: string;
  readonly served: boolean;
  readonly not_undone: readonly string[];
  readonly late_failures: readonly string[];
  readonly settled_by: string;
  readonly ended: string;
  readonly failed_step: string;
  /** An exit code, or what stopped it. */
  readonly why: string;
}

/** The status of one site for a person, a line for each thing to know. */
export function statusLines(status: SiteStatus): readonly string[] {
  const { now, live, commit, since, by, rollback, lock, last_run: run } = status;
  const rows: readonly (readonly [string, string])[] = [
    ['live', live === '' ? 'nothing' : `${live}${commitText(commit)}${STATES[status.state] ?? ''}`],
    ...(live === ''
      ? []
      : [['since', `${time(since, now)}${by === '' ? '' : `, by ${by}`}`] as const]),
    [
      'rollback',
      rollback === null
        ? 'nothing to go back to'
        : `to ${rollback.release}${commitText(rollback.commit)}`,
    ],
    ['lock', lockText(lock, now)],
    ...(run === null ? [] : runRows(run, now)),
    ...status.unsettled
      .filter((id) => id !== run?.run)
      .map((id) => ['died', `the run ${id}, too: ${SETTLES}`] as const),
    ...status.problems.map((problem) => ['problem', problem] as const),
  ];
  return rows.map(([name, text]) => `  ${name.padEnd(8)}  ${text.replaceAll('\n', '\\n')}`);
}

const SETTLES = 'the next deploy, rollback, restart or unlock settles it';

const STATES: Readonly<Record<string, string>> = {
  unproven: ', not proven (yet)',
  failed: ', whose deploy failed',
  left: ', which a rollback had left',
  removed: ', which cleanup had removed',
  foreign: ', not made by deployer',
};

const commitText = (commit: string): string => (commit === '' ? '' : `, commit ${commit}`);

function lockText(lock: Lock | null, now: string): string {
  if (lock === null) return 'free';
  const { held, pid, by, settles, command, since, step, step_since: stepSince } = lock;
  const who = by === '' ? `process ${pid}, which has not said yet what it does` : by;
  if (!held) return `free; .deploy.lock was left by ${by || 'somebody'}, ${time(since, now)}`;
  const does = settles === '' ? command : `${command}, which first settles the run ${settles}`;
  return [
    `held by ${who}`,
    ...(does === '' ? [] : [` (${does})`]),
    ...(step === '' ? [] : [`, in ${step} for ${age(stepSince || since, now)}`]),
    ...(since === '' ? [] : [`, since ${time(since, now)}`]),
  ].join('');
}

function runRows(run: LastRun, now: string): readonly (readonly [string, string])[] {
  const log = run.ending === 'done' || run.log === '' ? [] : [['log', run.log] as const];
  if (run.ending === 'unknown')
    return [['last run', `${run.run}: how it ended is not known`], ...log];
  const who = `${run.kind} by ${run.by || 'somebody'}`;
  const when = run.ended === '' ? `, begun ${time(run.since, now)}` : `, ${time(run.ended, now)}`;
  const isOver = run.ending !== 'running' && run.ending !== 'died';
  const settled = isOver && run.settled_by !== '' ? `, settled by the ${run.settled_by}` : '';
  return [['last run', `${who}: ${endingText(run, now)}${settled}${when}`], ...log];
}

function endingText(run: KnownRun, now: string): string {
  const where = run.failed_step || run.reached || 'lock';
  const gone = run.client_gone === '' ? '' : ` (its client is gone: ${run.client_gone})`;
  switch (run.ending) {
    case 'running':
      return `${run.settled_by === '' ? 'under way,' : 'it died, and is being settled:'} ${run.undoing ? 'undoing' : 'in'} ${run.step || 'lock'} for ${age(run.step_since || run.since, now)}${gone}`;
    case 'died':
      return `died in ${where}: ${SETTLES}`;
    case 'done':
      return `ok${run.served ? '' : ', not proven to be served'}${run.late_failures.map((name) => `, but ${name} failed`).join('')}${gone}`;
    case 'undone':
      return `${failure(run)} in ${where}, ${howItStands(run.kind, where)}`;
    case 'stuck':
      return `${failure(run)} in ${where}, and NOT wholly undone: act now (not undone: ${run.not_undone.join(', ')})`;
  }
}

function howItStands(kind: string, step: string): string {
  if (step === 'check' || step === 'lock') return 'nothing was changed';
  return kind === 'restart' ? 'and the site was not proven to be served' : 'and undone';
}

function failure({ why, settled_by: settled }: KnownRun): string {
  if (why === '124') return 'ran out of time';
  if (/^\d+$/.test(why)) return 'failed';
  if (why === 'cancelled') return 'stopped by its client';
  if (why === 'terminated') return 'stopped by unlock --force or a signal on the target';
  return settled === ''
    ? `stopped, since its client was gone${why === '' ? '' : ` (${why})`},`
    : 'died';
}

/** `2026-11-22 21:30:15 UTC, 3 h ago`. */
const time = (moment: string, now: string): string =>
  /^\d{4}-/.test(moment)
    ? `${moment.replace('T', ' ').replace('Z', ' UTC')}, ${age(moment, now)} ago`
    : 'at a time not known';

/** `12 s`, `3 min`, `5 h`, `9 d`. */
function age(moment: string, now: string): string {
  const seconds = Math.max(0, Math.round((Date.parse(now) - Date.parse(moment)) / 1000));
  if (!Number.isFinite(seconds)) return 'a time not known';
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 48 * 3600
    ? `${Math.floor(seconds / 3600)} h`
    : `${Math.floor(seconds / 86400)} d`;
}
