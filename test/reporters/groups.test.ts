import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { DeployEvent } from '../../src/events.ts';
import { ciOf } from '../../src/reporters/ci.ts';
import { groupsLog } from '../../src/reporters/groups.ts';
import type { Log } from '../../src/reporters/log.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_700_000_000_900 });
});
afterEach(() => {
  vi.useRealTimers();
});

const site = 'www.example.com';
const failure = {
  ...{ code: 1, error: undefined, message: undefined, hint: undefined },
  ...{ problems: [], lastLines: [] },
};

/** The bytes that a CI service gets. */
function logged(env: NodeJS.ProcessEnv, work: (log: Log) => void): string {
  const ci = ciOf(env);
  if (ci === undefined) throw new Error('no such service');
  let bytes = '';
  const write = (text: string) => {
    bytes += text;
  };
  work(groupsLog({ write, ci, color: false }));
  return bytes;
}

function failingDeploy(log: Log): void {
  const events: readonly DeployEvent[] = [
    { site, type: 'started', step: 'lock', title: 'Take the lock' },
    { site, type: 'done', step: 'lock', seconds: 0.04, notes: [] },
    { site, type: 'started', step: 'static', title: 'Collect 100%' },
    { site, type: 'log', step: 'static', text: 'one\ntwo\n' },
    { site, type: 'log', step: 'static', text: 'three\n' },
    { site, type: 'warned', step: 'static', message: 'slow' },
    { site, type: 'log', step: 'static', text: 'four\n' },
    { site, type: 'failed', step: 'static', seconds: 3, failure },
    { site, type: 'undoing', step: 'shared' },
    { site, type: 'log', step: 'shared', text: 'gone\n' },
    { site, type: 'undone', step: 'shared', seconds: 0.1, failure: undefined },
  ];
  log.print(`${site}: deploy of main\n`);
  for (const event of events) log.report(event);
  log.ended(site);
  log.fail(`${site}: 100% failed\nsecond`);
  log.print('    | four\n');
}

test('GitHub: the output of each step in a group, under it how it ended, the failure as an error', () => {
  expect(logged({ GITHUB_ACTIONS: 'true', GITLAB_CI: 'true' }, failingDeploy)).toBe(`\
www.example.com: deploy of main
  lock                 0.0 s
::group::static: Collect 100%25
    | one
    | two
    | three
::endgroup::
  warning: static: slow
::group::static: Collect 100%25
    | four
::endgroup::
  static               3.0 s  FAILED
::group::undo shared
    | gone
::endgroup::
  undo shared          0.1 s
::error::www.example.com: 100%25 failed%0Asecond
    | four
`);
});

test('GitLab: the same with its sections, each of a name of its own', () => {
  const name = `deployer_${process.pid}_`;
  const start = (count: number) =>
    `\x1b[0Ksection_start:1700000000:${name}${count}[collapsed=true]\r\x1b[0K`;
  const end = (count: number) => `\x1b[0Ksection_end:1700000000:${name}${count}\r\x1b[0K`;
  expect(logged({ GITLAB_CI: 'true' }, failingDeploy)).toBe(`\
www.example.com: deploy of main
  lock                 0.0 s
${start(1)}static: Collect 100%
    | one
    | two
    | three
${end(1)}
  warning: static: slow
${start(2)}static: Collect 100%
    | four
${end(2)}
  static               3.0 s  FAILED
${start(3)}undo shared
    | gone
${end(3)}
  undo shared          0.1 s
www.example.com: 100% failed
second
    | four
`);
});

test('a group that is open is closed before we say something, and when we are thrown out', () => {
  const bytes = logged({ GITHUB_ACTIONS: 'true' }, (log) => {
    log.report({ site, type: 'started', step: 'code', title: 'Fetch' });
    log.report({ site, type: 'log', step: 'code', text: 'a\n' });
    log.print('stopping\n');
    log.report({ site, type: 'log', step: 'code', text: 'b\n' });
    log[Symbol.dispose]();
  });
  expect(bytes).toBe(
    '::group::code: Fetch\n    | a\n::endgroup::\nstopping\n::group::code: Fetch\n    | b\n::endgroup::\n',
  );
});

const ESC = '\x1b';

/** What GitHub's runner takes for a command. */
const COMMAND = /^\s*::[^:]|##\[/;

test('nothing that a target says is a command to the service', () => {
  const evil = [
    ...[
      '::set-output name=a::b',
      '  ::add-mask::x',
      '\u3000::stop-commands::t',
      'x ##[add-path]/a',
    ],
    ...['\r::error::x', '\x1b[0Ksection_start:1:a\r\x1b[0Kb', '##[endgroup]', '\n::endgroup::'],
  ].join('\n');
  const speak = (log: Log) => {
    log.report({ site, type: 'log', step: 'code', text: `${evil}\n` });
    log.report({ site, type: 'warned', step: 'code', message: evil });
    log.report({ site, type: 'done', step: 'code', seconds: 1, notes: [evil] });
    log.report({ site, type: 'skipped', step: 'code', seconds: 1, reason: evil });
    log.print(`${evil.replaceAll('\r', '').replaceAll(ESC, '')}\n`);
  };
  const ours = /^::(group::|endgroup::$)/;
  const github = logged({ GITHUB_ACTIONS: 'true' }, speak).split(/\r|\n/);
  expect(github.filter((line) => COMMAND.test(line) && !ours.test(line))).toEqual([]);
  expect(github.filter((line) => ours.test(line))).toHaveLength(2);
  expect(logged({ GITLAB_CI: 'true' }, speak).split(ESC)).toHaveLength(5);
});

test('groups where they are understood, and nowhere else', () => {
  expect(ciOf({ CI: 'true' })).toBe(undefined);
  expect(ciOf({ GITHUB_ACTIONS: 'false', GITLAB_CI: '' })).toBe(undefined);
});
