import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import {
  alive,
  begin,
  expectUnlocked,
  lab,
  lockFree,
  numbersIn,
  run,
  STUBBORN_CHILDREN,
  storyOf,
  textIn,
} from './lab.ts';

/** Shell: says so and waits until the test lets it go on. */
const WAIT = 'mkfifo go; echo waiting; read -r line <go; rm go';
const letGo = (site: string) => execFileSync('sh', ['-c', 'echo >"$1/go"', 'sh', site]);

test('a cancel kills a step that may be killed, with its children, and undoes', async () => {
  await using place = await lab();
  const cancel = new AbortController();
  const { outcome, said } = begin(
    place.site,
    [
      { name: 'code', undo: 'echo undo code >>order' },
      {
        name: 'static',
        run: `${STUBBORN_CHILDREN} echo waiting; sleep 1000`,
        undo: 'echo undo static >>order',
      },
      { name: 'activate', run: 'echo activate >>order' },
    ],
    { options: { cancel: cancel.signal, times: { grace: 0.2 } } },
  );
  await said('waiting');
  cancel.abort();
  expect(await outcome).toMatchObject({ how: 'undone', why: 'cancelled', step: 'static' });
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\n');
  expect(numbersIn(place.site, 'children').filter(alive)).toEqual([]);
  await expectUnlocked(place.site);
});

test.each(['finish', 'never'] as const)(
  'a cancel lets a step end that must (%s), and then undoes it',
  async (orphan) => {
    await using place = await lab();
    const cancel = new AbortController();
    const { outcome, said } = begin(
      place.site,
      [
        {
          name: 'migrate',
          orphan,
          run: `${WAIT}; echo migrated >>order`,
          undo: 'echo undo migrate >>order',
        },
        { name: 'static', run: 'echo static >>order' },
      ],
      { options: { cancel: cancel.signal } },
    );
    await said('waiting');
    cancel.abort();
    letGo(place.site);
    expect(await outcome).toMatchObject({ how: 'undone', why: 'cancelled', step: 'migrate' });
    expect(textIn(place.site, 'order')).toBe('migrated\nundo migrate\n');
  },
);

test('a cancel in the last step that must end comes too late: the release is good', async () => {
  await using place = await lab();
  const cancel = new AbortController();
  const { outcome, said } = begin(
    place.site,
    [
      { name: 'restart', orphan: 'finish', run: WAIT, undo: 'echo undo >>order' },
      { name: 'cleanup', phase: 'after', run: 'echo cleanup >>order' },
    ],
    { options: { cancel: cancel.signal } },
  );
  await said('waiting');
  cancel.abort();
  letGo(place.site);
  expect(await outcome).toMatchObject({ how: 'done' });
  expect(textIn(place.site, 'order')).toBe('cleanup\n');
});

test('a cancel while undoing, or after the proof, changes nothing', async () => {
  await using place = await lab();
  const undoing = new AbortController();
  const first = begin(
    place.site,
    [
      { name: 'code', undo: 'echo undo code >>order' },
      { name: 'static', run: 'false', undo: `${WAIT}; echo undo static >>order` },
    ],
    { options: { cancel: undoing.signal } },
  );
  await first.said('waiting');
  undoing.abort();
  letGo(place.site);
  expect(await first.outcome).toMatchObject({ how: 'undone', why: 'failed', step: 'static' });
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\n');

  const proven = new AbortController();
  const second = begin(
    place.site,
    [
      { name: 'restart', undo: 'echo undo >>order' },
      { name: 'cleanup', phase: 'after', run: `${WAIT}; echo cleanup >>order` },
    ],
    { options: { cancel: proven.signal } },
  );
  await second.said('waiting');
  proven.abort();
  letGo(place.site);
  expect(await second.outcome).toMatchObject({ how: 'done' });
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\ncleanup\n');
});

test('who cancelled before it began gets nothing done', async () => {
  await using place = await lab();
  await run(place.site, [{ name: 'code' }]);
  const { outcome, events } = await run(
    place.site,
    [{ name: 'code', run: 'echo code >>order', undo: ':' }],
    {
      options: { cancel: AbortSignal.abort() },
    },
  );
  expect(outcome).toMatchObject({ how: 'undone', why: 'cancelled', step: 'lock' });
  expect(storyOf(events)).not.toContain('started code');
  expect(textIn(place.site, 'order')).toBe('');
});

test('who leaves is told at once, and the target ends by itself what was under way', async () => {
  await using place = await lab();
  const leave = new AbortController();
  const { outcome, said } = begin(
    place.site,
    [
      { name: 'code', undo: 'echo undo code >>order' },
      { name: 'static', run: 'echo waiting; exec sleep 1000', undo: 'echo undo static >>order' },
    ],
    { options: { leave: leave.signal } },
  );
  await said('waiting');
  leave.abort();
  expect(await outcome).toEqual({ how: 'lost', reason: 'left', step: 'static' });
  await lockFree(place.site);
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\n');
  await expectUnlocked(place.site);
});

test.each([
  ['TERM', 'terminated'],
  ['INT', 'terminated'],
] as const)(
  'a session that gets SIG%s stops and undoes; a hang-up it does not heed',
  async (signal, why) => {
    await using place = await lab();
    const { outcome } = await run(place.site, [
      { name: 'code', run: 'kill -HUP $PPID; echo on >>order', undo: 'echo undo code >>order' },
      {
        name: 'static',
        run: `kill -${signal} $PPID; sleep 1000`,
        undo: 'echo undo static >>order',
      },
    ]);
    expect(outcome).toMatchObject({ how: 'undone', why, step: 'static' });
    expect(textIn(place.site, 'order')).toBe('on\nundo static\nundo code\n');
  },
);
