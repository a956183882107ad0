import { chmodSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { STATUS_PROGRAM } from '../../src/commands/status.ts';
import { type SiteStatus, statusLines } from '../../src/commands/status-text.ts';
import { ask } from '../../src/question.ts';
import type { EntryText } from '../support/plans.ts';
import { ordinaryUser } from '../support/tmp.ts';
import { lab, run, type Setting, spawning, unlock } from './lab.ts';

async function statusOf(site: string, runner = spawning()): Promise<SiteStatus> {
  for await (const answer of ask(runner, { program: STATUS_PROGRAM, words: [site] }))
    if (answer.kind === 'answer') return answer.value as SiteStatus;
  throw new Error('no answer');
}

/** What is said of the last run after this one. */
async function saidAfter(entries: readonly EntryText[], setting: Setting = {}): Promise<string> {
  await using place = await lab();
  mkdirSync(place.site);
  await run(place.site, entries, setting);
  const lines = statusLines(await statusOf(place.site));
  return lines.filter((line) => /^ {2}(last run|problem)/.test(line)).join('\n');
}

const DIE = 'kill -KILL $PPID; exit 1';

test.each<[string, readonly EntryText[], Setting, RegExp]>([
  ['good', [{ name: 'code' }], {}, /deploy by ana@laptop: ok, \d{4}/],
  [
    'good, and not proven',
    [{ name: 'restart', run: "answer unproven 'restart: none'" }],
    {},
    /: ok, not proven to be served, /,
  ],
  [
    'good, with a failure after the proof',
    [{ name: 'restart' }, { name: 'cleanup', phase: 'after', run: 'exit 1' }],
    {},
    /: ok, but cleanup failed, /,
  ],
  [
    'failed in check',
    [{ name: 'check', run: 'exit 1' }],
    {},
    /: failed in check, nothing was changed, /,
  ],
  [
    'out of time',
    [{ name: 'static', limit: 0.1, run: 'sleep 1000' }],
    { options: { times: { grace: 0.1 } } },
    /: ran out of time in static, and undone, /,
  ],
  [
    'a restart that was not proven',
    [{ name: 'restart', run: 'exit 1' }],
    { plan: { kind: 'restart' } },
    /restart by ana@laptop: failed in restart, and the site was not proven to be served/,
  ],
  [
    'not undone in two steps',
    [
      { name: 'migrate', undo: 'exit 1' },
      { name: 'static', run: 'exit 3', undo: 'exit 1' },
    ],
    {},
    /: failed in static, and NOT wholly undone: act now \(not undone: static, migrate\)/,
  ],
  ['dead in its first step', [{ name: 'code', run: DIE }], {}, /: died in code: the next deploy, /],
])('what is said of a run that was %s', async (_, entries, setting, said) => {
  expect(await saidAfter(entries, setting)).toMatch(said);
});

test('a run that another could not undo is said to need a hand, and who tried', async () => {
  await using place = await lab();
  await run(place.site, [
    { name: 'migrate', undo: 'exit 1' },
    { name: 'static', run: DIE },
  ]);
  await unlock(place.site, { by: 'bob@web1' });
  const text = statusLines(await statusOf(place.site)).join('\n');
  expect(text).toMatch(
    /last run +deploy by ana@laptop: died in static, and NOT wholly undone: act now \(not undone: migrate\), settled by the unlock bob@web1, \d{4}/,
  );
});

test('two runs that died are both told of', async () => {
  await using place = await lab();
  const folder = join(place.site, '.deployer/run');
  const aside = join(place.path, 'aside');
  mkdirSync(aside);
  await run(place.site, [{ name: 'code', run: DIE }]);
  const first = readdirSync(folder).filter((name) => /\.(plan|journal)$/.test(name));
  for (const name of first) renameSync(join(folder, name), join(aside, name));
  await run(place.site, [{ name: 'static', run: DIE }]);
  for (const name of first) renameSync(join(aside, name), join(folder, name));
  const status = await statusOf(place.site);
  const id = first[0]?.slice(0, 19);
  expect(status.unsettled).toEqual([id, status.last_run?.run]);
  expect(statusLines(status).join('\n')).toMatch(
    new RegExp(
      `last run +deploy .*: died in static: .*\n(.*\n)* +died +the run ${id}, too: the next`,
    ),
  );
});

test('what cannot be read of the last run is said', async () => {
  await using place = await lab();
  await run(place.site, [{ name: 'code', run: DIE }]);
  const folder = join(place.site, '.deployer/run');
  const [plan = ''] = readdirSync(folder).filter((name) => name.endsWith('.plan'));
  renameSync(join(folder, plan), join(folder, plan.replace('.plan', '.unread')));
  const status = await statusOf(place.site);
  expect(status).toMatchObject({ last_run: { ending: 'unknown' }, unsettled: [] });
  expect(statusLines(status).join('\n')).toMatch(
    /last run +\S+: how it ended is not known\n(.*\n)* +problem +the plan of the run \S+ could not be read/,
  );
});

test.runIf(process.getuid?.() === 0)(
  'another user is told what is live, and whom to ask for the rest',
  async () => {
    await using place = await lab();
    chmodSync(place.path, 0o755);
    await run(place.site, [{ name: 'code' }]);
    const { uid, gid } = await ordinaryUser();
    const before = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
    const env = { PATH: '/usr/bin:/bin' };
    const status = await statusOf(
      place.site,
      spawning({ before, python: '/usr/bin/python3', env }),
    );
    expect(status).toMatchObject({
      lock: null,
      last_run: null,
      problems: [expect.stringMatching(/only for root to read: run it as root$/)],
    });
  },
);
