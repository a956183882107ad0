import { describe, expect, test } from 'vitest';
import type { Failure } from '../src/events.ts';
import type { Outcome } from '../src/outcome.ts';
import { plan, unlockPlan } from '../src/plan.ts';
import { deploy, restartOnly, rollback } from '../src/recipes.ts';
import { type Signal, verdict } from '../src/verdict.ts';
import { siteWith } from './support/site.ts';

const site = siteWith({ deployPath: '/srv/shop' });
const PLANS = {
  deploy: plan(deploy({ rebuild: false }), site),
  rollback: plan(rollback({ to: undefined }), site),
  restart: plan(restartOnly, site),
  unlock: unlockPlan(site),
};
const failure = (changes: Partial<Failure> = {}): Failure => ({
  code: 1,
  error: undefined,
  message: undefined,
  hint: undefined,
  problems: [],
  lastLines: [],
  ...changes,
});
const undone = (changes: Partial<Extract<Outcome, { how: 'undone' }>> = {}): Outcome => ({
  how: 'undone',
  step: 'static',
  why: 'failed',
  failure: failure(),
  live: 'OLD',
  release: 'NEW',
  served: { proven: true },
  ...changes,
});
const done = (served: Extract<Outcome, { how: 'done' }>['served']): Outcome => ({
  how: 'done',
  release: 'NEW',
  commit: 'abc',
  live: 'NEW',
  served,
  stale: '',
});

/** Everything that is said, as one text. */
function read(kind: keyof typeof PLANS, outcome: Outcome, signal?: Signal) {
  const { exit, summary, details } = verdict(PLANS[kind], outcome, { stoppedBy: signal });
  return { exit, text: [summary, ...details].join('\n') };
}

describe('an exit code and words for every ending', () => {
  const unserved = { proven: false, reason: 'nothing running', start: 'gunicorn …' } as const;
  test.each<[string, keyof typeof PLANS, Outcome, Signal | undefined, number, RegExp]>([
    ['proven', 'deploy', done({ proven: true }), undefined, 0, /NEW is live, and proven/],
    [
      'nothing running',
      'deploy',
      done(unserved),
      undefined,
      0,
      /released, not served: nothing running\nstart it with: gunicorn/,
    ],
    [
      'not verified',
      'deploy',
      done({ proven: false, reason: 'hidden', start: undefined }),
      undefined,
      0,
      /released, not verified: hidden/,
    ],
    [
      'restart of nothing',
      'restart',
      done(unserved),
      undefined,
      1,
      /nothing serves this site\nstart it with/,
    ],
    [
      'Ctrl-C after the proof',
      'deploy',
      done({ proven: true }),
      'SIGINT',
      0,
      /is live.*\nSIGINT came too late: what has proven good stays/,
    ],
    [
      'failed and undone',
      'deploy',
      undone(),
      undefined,
      1,
      /deploy failed in static: exit code 1, and undone\nlive now: OLD, as before\nto do: .*\n.*\/srv\/shop\/\.deployer\/run\/NEW\.log/,
    ],
    [
      'undone, and nobody can see whether the old release is served',
      'deploy',
      undone({ served: { proven: false, reason: 'hidden', start: undefined } }),
      undefined,
      1,
      /live now: OLD, as before \(not verified: hidden\)\n/,
    ],
    ['first deploy failed', 'deploy', undone({ live: '' }), undefined, 1, /live now: nothing/],
    [
      'out of time',
      'deploy',
      undone({ failure: failure({ code: 124, problems: ['git died of signal 15'] }) }),
      undefined,
      1,
      /: out of time/,
    ],
    [
      'killed',
      'deploy',
      undone({ failure: failure({ code: 137 }) }),
      undefined,
      1,
      /ended by signal 9/,
    ],
    [
      'problems',
      'deploy',
      undone({ step: 'check', failure: failure({ problems: ['a\nb', 'c'] }) }),
      undefined,
      1,
      /2 problems, nothing was changed\n- a\n {2}b\n- c\n/,
    ],
    [
      'a reason and what to do',
      'deploy',
      undone({ failure: failure({ message: 'no', hint: 'yes' }) }),
      undefined,
      1,
      /in static: no, and undone\nto do: yes\n/,
    ],
    [
      'problems and what to do: once, and the log',
      'deploy',
      undone({ step: 'validate', failure: failure({ problems: ['a'], hint: 'yes' }) }),
      undefined,
      1,
      /1 problem, and undone\n- a\nto do: yes\nlive now: OLD, as before\nwhole log.*NEW\.log$/,
    ],
    [
      'Ctrl-C',
      'deploy',
      undone({ why: 'cancelled', failure: failure({ code: 130 }) }),
      'SIGINT',
      130,
      /stopped in static, and undone/,
    ],
    ['SIGTERM', 'deploy', undone({ why: 'cancelled' }), 'SIGTERM', 143, /stopped/],
    ['SIGHUP', 'deploy', undone({ why: 'cancelled' }), 'SIGHUP', 129, /stopped/],
    [
      'unlock --force elsewhere',
      'deploy',
      undone({ why: 'terminated' }),
      undefined,
      1,
      /stopped by unlock --force/,
    ],
    [
      'restart not proven',
      'restart',
      undone({ step: 'restart' }),
      undefined,
      5,
      /not proven to be served: act now/,
    ],
    [
      'not wholly undone, Ctrl-C or not',
      'deploy',
      {
        ...(undone({ why: 'cancelled' }) as Extract<Outcome, { how: 'undone' }>),
        how: 'stuck',
        remains: [
          { step: 'migrate', failure: failure({ message: 'shop.0002 stays', hint: 'do this' }) },
        ],
      },
      'SIGINT',
      5,
      /NOT wholly undone: act now\n(.*\n)*not undone: migrate: shop\.0002 stays\nto do: do this/,
    ],
    [
      'locked',
      'deploy',
      {
        how: 'locked',
        holder: 'By: ana@web1\n',
        step: 'migrate',
        since: new Date(Date.now() - 61_000).toISOString(),
      },
      undefined,
      3,
      /in migrate for 6\d s\n {2}By: ana@web1\nto do: .*unlock www\.example\.com --force/,
    ],
    [
      'refused',
      'deploy',
      { how: 'refused', message: 'denied', hint: 'sudo …' },
      undefined,
      1,
      /not begun: denied\nto do: sudo/,
    ],
    [
      'no Python',
      'deploy',
      { how: 'unreachable', message: 'exec: python3: not found' },
      undefined,
      4,
      /not found\nto do: the target needs python3, 3\.8 or newer/,
    ],
    [
      'connection lost',
      'deploy',
      { how: 'lost', reason: 'reset', step: 'code' },
      undefined,
      7,
      /outcome unknown: the connection was lost in code \(reset\)\n(.*\n)*to do: run deployer status www\.example\.com for how it ended/,
    ],
    [
      'connection lost after Ctrl-C',
      'deploy',
      { how: 'lost', reason: 'reset', step: 'code' },
      'SIGINT',
      7,
      /outcome unknown/,
    ],
    [
      'left by a second Ctrl-C',
      'deploy',
      { how: 'lost', reason: 'left', step: 'code' },
      'SIGINT',
      130,
      /left while in code\nthe target goes on by itself.*\nto do: run deployer status www\.example\.com/,
    ],
    [
      'nothing to go back to',
      'rollback',
      undone({
        step: 'check',
        failure: failure({ error: 'nothing-to-roll-back', message: 'no good release is older' }),
      }),
      undefined,
      1,
      /no good release is older, nothing was changed\n(.*\n)*to do: deployer deploy/,
    ],
    ['nothing locked', 'unlock', { how: 'nothing' }, undefined, 0, /nothing is locked/],
  ])('%s', (_, kind, outcome, signal, exit, text) => {
    const said = read(kind, outcome, signal);
    expect(said.exit).toBe(exit);
    expect(said.text).toMatch(text);
  });
});
