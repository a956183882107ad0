import { type DeployError, type ErrorCode, exitCodeOf } from './errors.ts';
import { failureLines, reasonOf } from './failure-text.ts';
import type { Outcome } from './outcome.ts';
import type { Plan } from './plan.ts';

/** What a person, a script and a CI job need to know of how a command ended on one site. */
export interface Verdict {
  readonly site: string;
  readonly exit: number;
  /** A word for programs, where a step gave one: `nothing-to-roll-back`. */
  readonly reason: string | undefined;
  /** The release that was made or gone to; empty if none. */
  readonly release: string;
  readonly commit: string;
  /** What `current` points to now; empty if nothing is, undefined if it is not known. */
  readonly live: string | undefined;
  /** One line: done, or what went wrong where. */
  readonly summary: string;
  /** What more there is to say: output, what is live, what to do. */
  readonly details: readonly string[];
}

export type Signal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** How a run came about, as far as it bears on what is said at its end. */
export interface Occasion {
  /** The signal that asked for an end, if one did. */
  readonly stoppedBy?: Signal | undefined;
  /** The options that lead a further command to the same site: ` --config other.yml`, or nothing. */
  readonly options?: string;
}

/** Reads an outcome. */
export function verdict(plan: Plan, outcome: Outcome, occasion: Occasion = {}): Verdict {
  const { stoppedBy, options = '' } = occasion;
  const command: CommandText = (kind, more = '') =>
    `deployer ${kind} ${plan.site}${more}${options}`;
  const none = {
    site: plan.site,
    release: '',
    commit: '',
    live: undefined,
    reason: undefined,
    details: [],
  };
  switch (outcome.how) {
    case 'done':
      return done(plan, outcome, stoppedBy);
    case 'nothing':
      return { ...none, exit: 0, summary: 'nothing is locked' };
    case 'undone':
      return {
        ...none,
        release: outcome.release,
        live: outcome.live,
        reason: outcome.failure?.error,
        exit: exitCodeOf(undoneCode(plan, outcome, stoppedBy)),
        summary: `${whatFailed(plan, outcome)}, ${howItStands(plan, outcome)}`,
        details: [
          ...failureLines(outcome.failure),
          liveLine(outcome),
          ...adviceAfter(plan, outcome, command),
        ],
      };
    case 'stuck':
      return {
        ...none,
        release: outcome.release,
        live: outcome.live,
        exit: exitCodeOf('not-undone'),
        summary: `${whatFailed(plan, outcome)}, and NOT wholly undone: act now`,
        details: [
          ...failureLines(outcome.failure),
          ...outcome.remains.flatMap(({ step, failure }) => [
            `not undone: ${step}${reasonOf(failure)}`,
            ...failureLines(failure),
          ]),
          outcome.remains.some(({ step }) => step === 'activate')
            ? `current points to: ${outcome.live || 'nothing'}; what is served is not known`
            : liveLine(outcome),
          logLine(plan, outcome.release),
        ],
      };
    case 'locked':
      return { ...none, exit: exitCodeOf('locked'), ...lockedText(outcome, command) };
    case 'refused':
      return {
        ...none,
        exit: exitCodeOf('failed'),
        summary: `not begun: ${outcome.message}`,
        details: outcome.hint === undefined ? [] : [`to do: ${outcome.hint}`],
      };
    case 'unreachable':
      return { ...none, exit: exitCodeOf('unreachable'), ...unreachableText(outcome.message) };
    case 'lost':
      return {
        ...none,
        exit: exitCodeOf(outcome.reason === 'left' && stoppedBy ? codeOf(stoppedBy) : 'unknown'),
        ...lostText(plan, outcome, command),
      };
  }
}

/** `deployer unlock www.example.com --force --config other.yml`. */
type CommandText = (kind: string, more?: string) => string;

/** The same for a command that never came to a session. */
export function refusedVerdict(site: string, error: DeployError): Verdict {
  const [summary = '', ...rest] = error.message.split('\n');
  const advice = error.hint === undefined ? [] : `to do: ${error.hint}`.split('\n');
  return {
    site,
    exit: error.exitCode,
    reason: error.code,
    release: '',
    commit: '',
    live: undefined,
    summary,
    details: [...rest, ...advice],
  };
}

function done(
  plan: Plan,
  outcome: Extract<Outcome, { how: 'done' }>,
  stoppedBy: Signal | undefined,
): Verdict {
  const { release, commit, live, served } = outcome;
  const end = { site: plan.site, exit: 0, reason: undefined, release, commit, live };
  const details =
    stoppedBy === undefined ? [] : [`${stoppedBy} came too late: what has proven good stays`];
  if (plan.kind === 'unlock') {
    return {
      ...end,
      summary: 'unlocked',
      details: [
        ...(outcome.stale.trim() === '' ? [] : ['it was held by:', ...indented(outcome.stale)]),
        `live now: ${live || 'nothing'}`,
      ],
    };
  }
  if (served.proven)
    return { ...end, summary: `${release} is live, and proven to be served`, details };
  if (served.start === undefined)
    return {
      ...end,
      summary: `${release} is released, not verified: ${served.reason}`,
      details,
    };
  const start = `start it with: ${served.start}`;
  if (plan.kind === 'restart') {
    return {
      ...end,
      exit: exitCodeOf('failed'),
      summary: 'nothing to restart: nothing serves this site',
      details: [start],
    };
  }
  return {
    ...end,
    summary: `${release} is released, not served: ${served.reason}`,
    details: [start],
  };
}

type Undone = Extract<Outcome, { how: 'undone' | 'stuck' }>;

function undoneCode(plan: Plan, { why, step }: Undone, stoppedBy: Signal | undefined): ErrorCode {
  if (plan.kind === 'restart' && step === 'restart' && why === 'failed') return 'not-undone';
  return why === 'cancelled' && stoppedBy ? codeOf(stoppedBy) : 'failed';
}

/** What a signal that ends a command counts as. */
export const codeOf = (signal: Signal): ErrorCode =>
  ({ SIGINT: 'interrupted', SIGTERM: 'terminated', SIGHUP: 'hung-up' })[signal] as ErrorCode;

function whatFailed(plan: Plan, { why, step, failure }: Undone): string {
  const verb = {
    failed: 'failed',
    cancelled: 'stopped',
    terminated: 'stopped by unlock --force or a signal on the target',
    lost: 'stopped',
  }[why];
  return `${plan.kind} ${verb} in ${step}${why === 'failed' ? reasonOf(failure) : ''}`;
}

function howItStands({ kind }: Plan, { step }: Undone): string {
  if (step === 'check' || step === 'lock') return 'nothing was changed';
  return kind === 'restart' ? 'and the site is not proven to be served: act now' : 'and undone';
}

function liveLine({ live, served }: Undone): string {
  if (live === '') return 'live now: nothing (nothing was live before)';
  return `live now: ${live}, as before${served.proven ? '' : ` (not verified: ${served.reason})`}`;
}

function adviceAfter(
  plan: Plan,
  { why, step, failure, release }: Undone,
  command: CommandText,
): readonly string[] {
  const again = command(plan.kind);
  if (why !== 'failed') return [`to do: run ${again} again when you like`];
  if (failure?.error === 'nothing-to-roll-back') return [`to do: ${command('deploy')}`];
  const what = failure !== undefined && failure.problems.length > 0 ? 'what is listed' : 'it';
  return [
    ...(failure?.hint === undefined ? [`to do: mend ${what}, then run ${again} again`] : []),
    ...(step === 'check' || step === 'lock' ? [] : [logLine(plan, release)]),
  ];
}

const logLine = (plan: Plan, release: string): string =>
  plan.kind === 'deploy' && release !== ''
    ? `whole log, on the target: ${plan.place}/.deployer/run/${release}.log`
    : `run logs, on the target: ${plan.place}/.deployer/run/`;

function lockedText(
  { holder, step, since }: Extract<Outcome, { how: 'locked' }>,
  command: CommandText,
) {
  return {
    summary: `locked: another run is under way${step === '' ? '' : `, in ${step}${age(since)}`}`,
    details: [
      ...indented(holder),
      `to do: wait for it, or stop it: ${command('unlock', ' --force')}`,
    ],
  };
}

const indented = (text: string): readonly string[] =>
  text
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => `  ${line}`);

function age(since: string): string {
  const seconds = Math.round((Date.now() - Date.parse(since)) / 1000);
  return Number.isFinite(seconds) ? ` for ${Math.max(0, seconds)} s` : '';
}

function unreachableText(message: string) {
  const hint = unreachableHint(message);
  return {
    summary: 'no session on the target',
    details: [
      ...message.split('\n').map((line) => `  | ${line}`),
      ...(hint === undefined ? [] : [`to do: ${hint}`]),
    ],
  };
}

/** What to do where no program of ours would start on a target, by what was said there; undefined if it is not known. */
export const unreachableHint = (message: string): string | undefined =>
  UNREACHABLE_HINTS.find(([said]) => said.test(message))?.[1];

/** The first that fits. */
const UNREACHABLE_HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /unable to find (user|group)|no matching entries in (passwd|group)/,
    'docker_user must be an account of the container, or a uid',
  ],
  [/stopped (container|state|process)/, 'the container has just ended; docker logs tells why'],
  [
    /not found|No such file|ENOENT|Unknown option: -I|older than 3\.8|exit code 12[67]/,
    'the target needs python3, 3.8 or newer: apt-get install python3 python3-venv (for a container, in its image)',
  ],
];

function lostText(
  plan: Plan,
  { reason, step }: Extract<Outcome, { how: 'lost' }>,
  command: CommandText,
) {
  const left = reason === 'left';
  return {
    summary: left
      ? `left while in ${step}`
      : `outcome unknown: the connection was lost in ${step} (${reason})`,
    details: [
      'the target goes on by itself: it finishes what may not be cut, undoes the rest, and frees the lock',
      `to do: run ${command('status')} for how it ended, then ${command(plan.kind === 'unlock' ? 'deploy' : plan.kind)} again`,
    ],
  };
}
