import { execFileSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import {
  alive,
  begin,
  expectUnlocked,
  lab,
  numbersIn,
  type Ran,
  run,
  STUBBORN_CHILDREN,
  textIn,
  unlock,
  warningsOf,
} from './lab.ts';

/** Shell: ends the session, as the kernel does when memory runs out, and goes on when it is gone. */
const DIE = '{ kill -KILL $PPID; while kill -0 $PPID 2>/dev/null; do sleep 0.01; done; }';
const WAIT = 'mkfifo go; read -r line <go; rm go';
const letGo = (site: string) => execFileSync('sh', ['-c', 'echo >"$1/go"', 'sh', site]);

const recovered = ({ events }: Pick<Ran, 'events'>) =>
  events.flatMap((event) =>
    event.type === 'recovering'
      ? [`${event.kind} by ${event.by} in ${event.step}`]
      : event.type === 'recovered'
        ? [[event.committed ? 'committed' : 'undone', ...event.failures].join(' ')]
        : [],
  );

/** Changes what the dead run wrote of itself. */
function editJournal(site: string, change: (lines: readonly string[]) => readonly string[]): void {
  const folder = join(site, '.deployer/run');
  const name = readdirSync(folder)
    .filter((each) => each.endsWith('.journal'))
    .sort()
    .at(-1) as string;
  const lines = textIn(folder, name).split('\n').filter(Boolean);
  writeFileSync(join(folder, name), `${change(lines).join('\n')}\n`.padEnd(1 << 14, '\n'));
}

const GOOD_RUN = [
  { name: 'code', run: 'echo next >>order', undo: 'echo undo next >>order' },
] as const;

test('killed in a step that may be killed: the next run kills what is left of it, undoes once, and works', async () => {
  await using place = await lab();
  const first = await run(place.site, [
    { name: 'code', undo: 'echo undo code >>order' },
    {
      name: 'static',
      run: `${STUBBORN_CHILDREN} ${DIE}; sleep 1000`,
      undo: 'echo undo static >>order',
    },
    { name: 'activate' },
  ]);
  expect(first.outcome).toEqual({ how: 'lost', reason: 'it ended with SIGKILL', step: 'static' });
  expect(numbersIn(place.site, 'children').filter(alive)).toHaveLength(3);
  const next = await run(place.site, GOOD_RUN);
  expect(next.outcome.how).toBe('done');
  expect(recovered(next)).toEqual(['deploy by ana@laptop in static', 'undone']);
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\nnext\n');
  expect(numbersIn(place.site, 'children').filter(alive)).toEqual([]);
  await expectUnlocked(place.site);
});

test('a migration whose shell was killed with the session is waited for before it is undone', async () => {
  await using place = await lab();
  const migration =
    'mkfifo go; { read -r line; rm go; echo ended >>order; } <go & kill -KILL $PPID $$';
  await run(place.site, [
    { name: 'migrate', orphan: 'never', run: migration, undo: 'echo undo migrate >>order' },
  ]);
  const next = begin(place.site, GOOD_RUN);
  await next.saw((event) => event.type === 'recovering');
  letGo(place.site);
  expect(await next.outcome).toMatchObject({ how: 'done' });
  expect(textIn(place.site, 'order')).toBe('ended\nundo migrate\nnext\n');
});

test.each(['finish', 'never'] as const)(
  'killed in a step that must end (%s): the next run hears it out, then undoes it once',
  async (orphan) => {
    await using place = await lab();
    const step = `${DIE}; echo nobody hears this; ${WAIT}; head -c 300000 /dev/zero | tr '\\0' x; echo; echo ended >>order; exit 0`;
    await run(place.site, [
      { name: 'migrate', orphan, run: step, undo: 'echo undo migrate >>order' },
      { name: 'static' },
    ]);
    const next = begin(place.site, GOOD_RUN);
    await next.saw((event) => event.type === 'recovering');
    letGo(place.site);
    expect(await next.outcome).toMatchObject({ how: 'done' });
    expect(recovered(next)).toEqual(['deploy by ana@laptop in migrate', 'undone']);
    expect(textIn(place.site, 'order')).toBe('ended\nundo migrate\nnext\n');
    await expectUnlocked(place.site);
  },
);

test('a step that must end and does not is not cut: the next run is locked out, says by what, and works later', async () => {
  await using place = await lab();
  await run(
    place.site,
    [
      {
        name: 'migrate',
        orphan: 'never',
        run: `${DIE}; ${WAIT}; echo ended >>order`,
        undo: 'echo undo migrate >>order',
      },
      { name: 'static' },
    ],
    { options: { times: { patience: 0.2 } } },
  );
  const second = await run(place.site, GOOD_RUN, { options: { by: 'bea@desk' } });
  expect(second.outcome).toMatchObject({
    how: 'locked',
    step: 'migrate',
    holder: expect.stringMatching(/^By: ana@laptop$/m),
  });
  const cancel = new AbortController();
  const third = begin(place.site, GOOD_RUN, { options: { cancel: cancel.signal } });
  await third.saw((event) => event.type === 'recovering');
  cancel.abort();
  expect(['undone', 'locked']).toContain((await third.outcome).how);
  letGo(place.site);
  const forced = await unlock(place.site, { force: true });
  expect(forced.outcome).toMatchObject({
    how: 'done',
    stale: expect.stringMatching(/^By: ana@laptop$/m),
  });
  expect(textIn(place.site, 'order')).toBe('ended\nundo migrate\n');
});

test('killed before it could note the process of a step that must end: it is found all the same', async () => {
  await using place = await lab();
  await run(place.site, [
    {
      name: 'restart',
      orphan: 'finish',
      run: `(exec sleep 1000) & ${DIE}; ${WAIT}; echo ended >>order`,
      undo: 'echo undo restart >>order',
    },
  ]);
  editJournal(place.site, (lines) => lines.filter((line) => !line.startsWith('pid ')));
  const next = begin(place.site, GOOD_RUN);
  await next.saw((event) => event.type === 'recovering');
  letGo(place.site);
  expect(await next.outcome).toMatchObject({ how: 'done' });
  expect(textIn(place.site, 'order')).toBe('ended\nundo restart\nnext\n');
});

test('killed while undoing: the undo under way ends first, runs once more, and the others once', async () => {
  await using place = await lab();
  await run(place.site, [
    { name: 'code', undo: 'echo undo code >>order' },
    {
      name: 'release',
      undo: `[ -e dead ] || { touch dead; ${DIE}; ${WAIT}; }; echo undo release >>order`,
    },
    { name: 'static', run: 'false', undo: 'echo undo static >>order; exit 1' },
  ]);
  const next = begin(place.site, GOOD_RUN);
  await next.saw((event) => event.type === 'recovering');
  letGo(place.site);
  expect(await next.outcome).toMatchObject({ how: 'done' });
  expect(recovered(next)).toEqual(['deploy by ana@laptop in release', 'undone static']);
  expect(textIn(place.site, 'order')).toBe(
    'undo static\nundo release\nundo release\nundo code\nnext\n',
  );
  await expectUnlocked(place.site);
});

test('the session that settles may die too, and the one after it', async () => {
  await using place = await lab();
  await run(place.site, [
    { name: 'code', undo: 'echo undo code >>order' },
    {
      name: 'static',
      run: `${DIE}; sleep 1000`,
      undo: `echo undo static >>order; [ "$(wc -l <order)" -gt 2 ] || ${DIE}`,
    },
  ]);
  expect((await run(place.site, GOOD_RUN)).outcome.how).toBe('lost');
  expect((await unlock(place.site)).outcome.how).toBe('lost');
  expect((await run(place.site, GOOD_RUN)).outcome.how).toBe('done');
  expect(textIn(place.site, 'order')).toBe(
    'undo static\nundo static\nundo static\nundo code\nnext\n',
  );
  await expectUnlocked(place.site);
});

test('killed before the first step, between two steps, right after the last, after the commit', async () => {
  await using place = await lab();
  const steps = [
    { name: 'code', run: DIE, undo: 'echo undo code >>order' },
    { name: 'static', undo: 'echo undo static >>order' },
  ] as const;
  const settled = async (change: (lines: readonly string[]) => readonly string[]) => {
    await run(place.site, steps);
    editJournal(place.site, change);
    writeFileSync(join(place.site, 'order'), '');
    const next = await unlock(place.site);
    expect(next.outcome.how).toBe('done');
    await expectUnlocked(place.site);
    const history = readdirSync(join(place.site, '.deployer/history')).sort().at(-1);
    return [
      recovered(next)[1],
      textIn(place.site, 'order'),
      textIn(place.site, `.deployer/history/${history}`).trim().split('\n').at(-1)?.split(' ')[0],
    ];
  };
  const ended = ['done 0 0', 'start 1 static now', 'pid 2 -', 'done 1 0'];
  expect(await settled((lines) => lines.slice(0, 3))).toEqual(['undone', '', 'failed']);
  expect(await settled((lines) => [...lines, 'done 0 0'])).toEqual([
    'undone',
    'undo code\n',
    'failed',
  ]);
  expect(await settled((lines) => [...lines, ...ended.slice(0, 3)])).toEqual([
    'undone',
    'undo static\nundo code\n',
    'failed',
  ]);
  expect(await settled((lines) => [...lines, ...ended])).toEqual(['committed', '', 'good']);
  expect(await settled((lines) => [...lines, ...ended.slice(0, 3), 'done 1'])).toEqual([
    'undone',
    'undo static\nundo code\n',
    'failed',
  ]);
  expect(
    await settled((lines) => [
      ...lines,
      ...ended.slice(0, 3),
      'done 1 1',
      'undo 1 static now',
      'pid 2 -',
      'undone 1 0',
    ]),
  ).toEqual(['undone', 'undo code\n', 'failed']);
});

test('killed in the cleanup after the proof: the release stays good', async () => {
  await using place = await lab();
  await run(place.site, [
    { name: 'restart', orphan: 'finish', undo: 'echo undo >>order' },
    { name: 'cleanup', phase: 'after', run: `sleep 1000 & echo $! >>children; ${DIE}; wait` },
  ]);
  const next = await unlock(place.site);
  expect(recovered(next)).toEqual(['deploy by ana@laptop in cleanup', 'committed']);
  expect(textIn(place.site, 'order')).toBe('');
  expect(numbersIn(place.site, 'children').filter(alive)).toEqual([]);
});

test.each(['step', 'undo'] as const)(
  'a server that a %s started on purpose blocks no later run, and is not killed',
  async (where) => {
    await using place = await lab();
    const server = `setsid sleep 1000 & echo $! >>servers; ${DIE}; exit 0`;
    await run(place.site, [
      {
        name: 'restart',
        orphan: 'finish',
        ...(where === 'step'
          ? { run: server }
          : { run: 'false', undo: `[ -e servers ] || { ${server}; }` }),
      },
    ]);
    const next = await run(place.site, GOOD_RUN, { options: { times: { patience: 1 } } });
    expect(next.outcome.how).toBe('done');
    expect(numbersIn(place.site, 'servers').map(alive)).toEqual([true]);
  },
);

test('a plan that cannot be read is reported once, and bricks nothing', async () => {
  await using place = await lab();
  await run(place.site, [{ name: 'code', run: `${DIE}; sleep 1000`, undo: 'echo undo >>order' }]);
  editJournal(place.site, () => ['garbage']);
  const folder = join(place.site, '.deployer/run');
  const id = '20200101_000000_00';
  const words = (format: string) =>
    deflateSync(`${[format, '/', 'deploy', ...Array(50).fill('1')].join('\0')}\0`);
  writeFileSync(join(folder, `${id}0.plan`), 'garbage');
  writeFileSync(join(folder, `${id}1.plan`), words('999'));
  writeFileSync(join(folder, `${id}2.plan`), words('1'));
  writeFileSync(join(folder, `${id}3.plan`), '');
  await mkdir(join(folder, 'no id.plan'));
  const next = await run(place.site, GOOD_RUN);
  expect(next.outcome.how).toBe('done');
  const reports = warningsOf(next.events).filter((text) => /cannot be read/.test(text));
  expect(reports).toHaveLength(6);
  expect(reports.join('\n')).toContain('another version of deployer');
  expect(reports.join('\n')).toContain(`look at .deployer/run/${id}0.*`);
  expect(textIn(folder, `${id}0.unread`)).toBe('garbage');
  const again = await run(place.site, GOOD_RUN);
  expect(again.outcome.how).toBe('done');
  expect(warningsOf(again.events)).toEqual([]);
});

test('what a session left that died before its plan or after its end is swept up', async () => {
  await using place = await lab();
  await run(place.site, GOOD_RUN);
  const folder = join(place.site, '.deployer/run');
  const id = '20200101_000000_000';
  await mkdir(join(folder, id, 'tools'), { recursive: true });
  for (const name of [`${id}.plan.new`, `${id}.lock`, `${id}/tools/common.py`])
    writeFileSync(join(folder, name), '');
  writeFileSync(join(folder, 'not ours'), '');
  await run(place.site, GOOD_RUN);
  expect(readdirSync(folder).filter((name) => !/\.(journal|log)$/.test(name))).toEqual([
    'not ours',
  ]);
});

test('a dead rollback and a dead restart are settled as what they are', async () => {
  await using place = await lab();
  await run(place.site, [
    { name: 'activate', run: 'mkdir -p "releases/$RELEASE"; ln -s "releases/$RELEASE" current' },
  ]);
  for (const kind of ['rollback', 'restart'] as const) {
    await run(
      place.site,
      [
        {
          name: 'check',
          run: 'answer release 20200101_000000_000',
          undo: 'echo "$RELEASE" >>order',
        },
        { name: 'restart', run: `${DIE}; sleep 1000` },
      ],
      { plan: { kind } },
    );
    const next = await unlock(place.site);
    expect(recovered(next)).toEqual([`${kind} by ana@laptop in restart`, 'undone']);
  }
  expect(textIn(place.site, 'order')).toBe('20200101_000000_000\n'.repeat(2));
  expect(readdirSync(join(place.site, '.deployer/history'))).toHaveLength(1);
});
