import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import {
  alive,
  begin,
  expectUnlocked,
  lab,
  numbersIn,
  run,
  STUBBORN_CHILDREN,
  storyOf,
  textIn,
  warningsOf,
} from './lab.ts';

test('a step that fails undoes all that was started, newest first, its own too, and nothing else', async () => {
  await using place = await lab();
  const { outcome, events } = await run(place.site, [
    { name: 'check', run: 'echo check >>order' },
    { name: 'code', run: 'echo code >>order', undo: 'echo undo code "$RELEASE" >>order' },
    { name: 'release', run: 'echo release >>order', undo: 'echo undo release >>order' },
    { name: 'static', run: 'echo half; fail "no static"', undo: 'echo undo static >>order' },
    { name: 'activate', run: 'echo activate >>order', undo: 'echo undo activate >>order' },
    { name: 'cleanup', phase: 'after', run: 'echo cleanup >>order' },
  ]);
  const release = outcome.how === 'undone' ? outcome.release : '';
  expect(textIn(place.site, 'order').split('\n')).toEqual([
    ...['check', 'code', 'release'],
    ...['undo static', 'undo release', `undo code ${release}`, ''],
  ]);
  expect(outcome).toMatchObject({
    how: 'undone',
    why: 'failed',
    step: 'static',
    live: '',
    failure: { code: 1, message: 'no static', lastLines: ['half'] },
  });
  expect(storyOf(events).slice(-9)).toEqual([
    'failed static',
    ...['undoing static', 'undone static', 'undoing release', 'undone release'],
    ...['undoing code', 'undone code', 'started unlock', 'done unlock'],
  ]);
  await expectUnlocked(place.site);
});

test('the undo of a skipped step runs, and is told only when it fails', async () => {
  await using place = await lab();
  const { outcome, events } = await run(place.site, [
    { name: 'migrate', run: 'answer skip nothing', undo: 'echo undo migrate >>order' },
    { name: 'static', run: 'answer skip nothing', undo: 'exit 7' },
    { name: 'activate', run: 'exit 3' },
  ]);
  expect(textIn(place.site, 'order')).toBe('undo migrate\n');
  expect(storyOf(events).filter((event) => event.startsWith('und'))).toEqual(['undone static']);
  expect(outcome).toMatchObject({ how: 'stuck', remains: [{ step: 'static' }] });
});

test('an undo that fails stops no other, and what is not undone is told', async () => {
  await using place = await lab();
  const { outcome, events } = await run(place.site, [
    { name: 'code', undo: 'echo undo code >>order' },
    { name: 'migrate', undo: 'echo why; answer hint "do it by hand"; fail "migrations stay"' },
    { name: 'static', undo: 'echo undo static >>order; exit 7' },
    { name: 'activate', run: 'exit 3', undo: 'echo undo activate >>order' },
  ]);
  expect(textIn(place.site, 'order')).toBe('undo activate\nundo static\nundo code\n');
  expect(outcome).toMatchObject({
    how: 'stuck',
    step: 'activate',
    failure: { code: 3 },
    remains: [
      { step: 'static', failure: { code: 7 } },
      {
        step: 'migrate',
        failure: { message: 'migrations stay', hint: 'do it by hand', lastLines: ['why'] },
      },
    ],
  });
  const logs = events.filter((event) => event.type === 'log');
  expect(logs).toEqual([expect.objectContaining({ step: 'migrate', text: 'why\n' })]);
  await expectUnlocked(place.site);
});

test.each([
  ['does too', "trap '' TERM;"],
  ['does not', ''],
])(
  'a step out of time is killed with its children before its undo, though they try to stay and it %s',
  async (_, trap) => {
    await using place = await lab();
    const { outcome } = await run(
      place.site,
      [
        {
          name: 'dependencies',
          limit: 0.3,
          run: `${trap} ${STUBBORN_CHILDREN} echo waiting; sleep 1000; sleep 1000`,
          undo: 'for pid in $(cat children); do grep -h ^State: /proc/$pid/status >>seen 2>&1 || echo gone >>seen; done',
        },
      ],
      { options: { times: { grace: 0.3 } } },
    );
    expect(outcome).toMatchObject({
      how: 'undone',
      why: 'failed',
      failure: { code: 124, lastLines: expect.arrayContaining(['waiting']) },
    });
    expect(numbersIn(place.site, 'children')).toHaveLength(3);
    expect(textIn(place.site, 'seen')).not.toMatch(/sleeping|running/);
    expect(numbersIn(place.site, 'children').filter(alive)).toEqual([]);
    await expectUnlocked(place.site);
  },
);

test('a step that ends in time when it is asked to may tidy up', async () => {
  await using place = await lab();
  const { outcome } = await run(place.site, [
    { name: 'static', limit: 0.2, run: `trap 'echo tidy >>order; exit 0' TERM; sleep 1000 & wait` },
  ]);
  expect(outcome).toMatchObject({ how: 'undone', failure: { code: 124 } });
  expect(textIn(place.site, 'order')).toBe('tidy\n');
});

test('what may never be killed outlives its limit, which is a warning; so does its undo', async () => {
  await using place = await lab();
  const untilWarned = 'mkfifo go 2>/dev/null || :; echo waiting; read -r line <go; rm go; echo';
  const { outcome, events, saw } = begin(place.site, [
    {
      name: 'migrate',
      orphan: 'never',
      limit: 0.1,
      undoLimit: 0.1,
      run: `${untilWarned} done >>order`,
      undo: `${untilWarned} undone >>order`,
    },
    { name: 'static', run: 'false' },
  ]);
  const warned = (count: number) =>
    saw(() => warningsOf(events).filter((text) => /still running/.test(text)).length === count);
  await warned(1);
  await writeFile(`${place.site}/go`, '\n');
  await warned(2);
  await writeFile(`${place.site}/go`, '\n');
  expect(await outcome).toMatchObject({ how: 'undone', step: 'static' });
  expect(textIn(place.site, 'order')).toBe('done\nundone\n');
});

test('an undo has its own limit', async () => {
  await using place = await lab();
  const { outcome } = await run(
    place.site,
    [
      { name: 'code', undo: 'echo undo code >>order' },
      { name: 'release', undoLimit: 0.2, undo: 'exec sleep 1000' },
      {
        name: 'static',
        limit: 0.2,
        undoLimit: 60,
        run: 'exec sleep 1000',
        undo: 'sleep 0.5; echo undo static >>order',
      },
    ],
    { options: { times: { grace: 0.2 } } },
  );
  expect(outcome).toMatchObject({
    how: 'stuck',
    remains: [{ step: 'release', failure: { code: 124 } }],
  });
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\n');
});
