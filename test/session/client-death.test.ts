import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TmpFolder, tmpFolder } from '../support/tmp.ts';
import { clientProcess, compileInto } from './client-process.ts';
import {
  alive,
  begin,
  expectUnlocked,
  lab,
  lockFree,
  numbersIn,
  run,
  STUBBORN_CHILDREN,
  spawning,
  textIn,
} from './lab.ts';

let sources: TmpFolder;
beforeAll(async () => {
  sources = await tmpFolder('compiled ');
  await compileInto(sources.path);
});
afterAll(() => sources[Symbol.asyncDispose]());

const WAIT = 'mkfifo go; echo waiting; read -r line <go; rm go';
const letGo = (site: string) => execFileSync('sh', ['-c', 'echo >"$1/go"', 'sh', site]);

test('killed in a step that may be killed: no child of it is left, all is undone once, the next deploy works', async () => {
  await using place = await lab();
  const client = await clientProcess(
    sources.path,
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
    { times: { grace: 0.2 } },
  );
  await client.said('waiting');
  client.child.kill('SIGKILL');
  expect(await client.outcome).toBeUndefined();
  await lockFree(place.site);
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\n');
  expect(numbersIn(place.site, 'children').filter(alive)).toEqual([]);
  await expectUnlocked(place.site);
  const next = await run(place.site, [{ name: 'code', undo: 'echo no >>order' }]);
  expect(next.outcome.how).toBe('done');
  expect(next.events.some((event) => event.type === 'recovering' || event.type === 'warned')).toBe(
    false,
  );
});

test('killed in a step that must end: it ends, and then all is undone once; meanwhile the lock is held', async () => {
  await using place = await lab();
  const client = await clientProcess(sources.path, place.site, [
    {
      name: 'migrate',
      orphan: 'never',
      run: `${WAIT}; echo migrated >>order; echo out >&2`,
      undo: 'echo undo migrate >>order',
    },
    { name: 'static', run: 'echo static >>order' },
  ]);
  await client.said('waiting');
  client.child.kill('SIGKILL');
  await client.outcome;
  const second = await run(place.site, [{ name: 'code', run: 'echo second >>order' }]);
  expect(second.outcome).toMatchObject({
    how: 'locked',
    step: 'migrate',
    holder: expect.stringContaining('By: ana@laptop'),
  });
  letGo(place.site);
  await lockFree(place.site);
  expect(textIn(place.site, 'order')).toBe('migrated\nundo migrate\n');
  await expectUnlocked(place.site);
});

test('killed in the last step that must end: a release that is proven stays', async () => {
  await using place = await lab();
  const client = await clientProcess(sources.path, place.site, [
    { name: 'restart', orphan: 'finish', run: WAIT, undo: 'echo undo >>order' },
    { name: 'cleanup', phase: 'after', run: 'echo cleanup >>order' },
  ]);
  await client.said('waiting');
  client.child.kill('SIGKILL');
  await client.outcome;
  letGo(place.site);
  await lockFree(place.site);
  expect(textIn(place.site, 'order')).toBe('cleanup\n');
  await expectUnlocked(place.site);
});

test('killed while undoing: the undo goes on, once', async () => {
  await using place = await lab();
  const client = await clientProcess(sources.path, place.site, [
    { name: 'code', undo: 'echo undo code >>order' },
    { name: 'static', run: 'false', undo: `${WAIT}; echo undo static >>order` },
  ]);
  await client.said('waiting');
  client.child.kill('SIGKILL');
  await client.outcome;
  letGo(place.site);
  await lockFree(place.site);
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\n');
  await expectUnlocked(place.site);
});

test('killed with half a plan sent: nothing has run, and nothing was made', async () => {
  await using place = await lab();
  const session = await new Promise<{ code: number | null }>((resolve) => {
    begin(place.site, [{ name: 'code', run: `echo code; : ${'x'.repeat(1000)}` }], {
      runner: spawning({
        started: (child) => child.on('exit', (code) => resolve({ code })),
        cutShort: true,
      }),
    });
  });
  expect(session.code).toBe(4);
  expect(existsSync(place.site)).toBe(false);
});

test('stopped, as with a closed laptop: after the silence it is taken for gone; awake again, it says that it does not know', async () => {
  await using place = await lab();
  const client = await clientProcess(
    sources.path,
    place.site,
    [
      { name: 'code', undo: 'echo undo code >>order' },
      { name: 'static', run: 'echo waiting; yes', undo: 'echo undo static >>order' },
    ],
    { times: { silence: 1, beat: 0.2, grace: 0.2, deadAfter: 5 } },
  );
  await client.said('waiting');
  client.child.kill('SIGSTOP');
  await lockFree(place.site);
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\n');
  client.child.kill('SIGCONT');
  expect(await client.outcome).toMatchObject({ how: 'lost', step: 'static' });
  await expectUnlocked(place.site);
});

test('stopped for a moment only, it misses nothing', async () => {
  await using place = await lab();
  const client = await clientProcess(
    sources.path,
    place.site,
    [{ name: 'static', run: `${WAIT}; sleep 1.5; echo went on`, undo: ':' }],
    { times: { beat: 0.1, deadAfter: 1 } },
  );
  await client.said('waiting');
  client.child.kill('SIGSTOP');
  letGo(place.site);
  await lockFree(place.site);
  client.child.kill('SIGCONT');
  expect(await client.outcome).toMatchObject({ how: 'done' });
});

test('a connection of which only the reading half is cut is a client that is gone', async () => {
  await using place = await lab();
  const cut: (() => void)[] = [];
  const { said } = begin(
    place.site,
    [{ name: 'code', run: 'echo waiting; exec sleep 1000', undo: 'echo undo >>order' }],
    {
      runner: spawning({ started: (child) => cut.push(() => child.stdout?.destroy()) }),
      options: { times: { beat: 60, silence: 60 } },
    },
  );
  await said('waiting');
  cut[0]?.();
  await lockFree(place.site);
  expect(textIn(place.site, 'order')).toBe('undo\n');
});

test('a target that falls silent is given up, one that beats is waited for', async () => {
  await using place = await lab();
  const session = { pid: 0 };
  const { outcome, said } = begin(
    place.site,
    [{ name: 'code', run: 'sleep 1.5; echo waiting; exec sleep 1000' }],
    {
      options: { times: { beat: 0.1, deadAfter: 1 } },
      runner: spawning({
        started: (child) => {
          session.pid = child.pid as number;
        },
      }),
    },
  );
  await said('waiting');
  process.kill(session.pid, 'SIGSTOP');
  expect(await outcome).toEqual({ how: 'lost', reason: 'silent for 1 s', step: 'code' });
  process.kill(session.pid, 'SIGCONT');
  await lockFree(place.site);
});
