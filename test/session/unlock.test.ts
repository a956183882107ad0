import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { begin, expectUnlocked, lab, run, textIn, unlock, warningsOf } from './lab.ts';

const WAIT = 'mkfifo go; echo waiting; read -r line <go; rm go';
const letGo = (site: string) => execFileSync('sh', ['-c', 'echo >"$1/go"', 'sh', site]);

test('where nothing is locked it says so, and where there is no site it makes none', async () => {
  await using place = await lab();
  expect((await unlock(place.site)).outcome).toEqual({ how: 'nothing' });
  expect(existsSync(place.site)).toBe(false);
  await mkdir(place.site);
  expect((await unlock(place.site)).outcome).toEqual({ how: 'nothing' });
  expect(readdirSync(place.site)).toEqual([]);
  await run(place.site, [{ name: 'code' }]);
  const { outcome, events } = await unlock(place.site);
  expect(outcome).toEqual({ how: 'nothing' });
  expect(events).toEqual([]);
});

test('a stale lock is removed, and who held it is told', async () => {
  await using place = await lab();
  await run(place.site, [{ name: 'activate', run: 'ln -s "releases/$RELEASE" current' }]);
  writeFileSync(join(place.site, '.deploy.lock'), 'By: bea@desk\n');
  const { outcome } = await unlock(place.site);
  expect(outcome).toMatchObject({
    how: 'done',
    stale: 'By: bea@desk\n',
    live: expect.stringMatching(/^\d{8}_/),
  });
  await expectUnlocked(place.site);
});

test('a lock that is held is left to its holder', async () => {
  await using place = await lab();
  const first = begin(place.site, [{ name: 'static', run: WAIT }]);
  await first.said('waiting');
  const { outcome } = await unlock(place.site);
  expect(outcome).toMatchObject({
    how: 'locked',
    step: 'static',
    holder: expect.stringContaining('By: ana@laptop'),
  });
  letGo(place.site);
  expect(await first.outcome).toMatchObject({ how: 'done' });
});

test('by force, the holder stops and undoes before the lock is free', async () => {
  await using place = await lab();
  const first = begin(place.site, [
    { name: 'code', undo: 'echo undo code >>order' },
    { name: 'static', run: 'echo waiting; exec sleep 1000', undo: 'echo undo static >>order' },
  ]);
  await first.said('waiting');
  const { outcome } = await unlock(place.site, { force: true });
  expect(outcome).toMatchObject({ how: 'done', stale: expect.stringContaining('By: ana@laptop') });
  expect(textIn(place.site, 'order')).toBe('undo static\nundo code\n');
  expect(await first.outcome).toMatchObject({ how: 'undone', why: 'terminated', step: 'static' });
  await expectUnlocked(place.site);
});

test('force waits for a migration, and says so; who loses patience may let go', async () => {
  await using place = await lab();
  const first = begin(place.site, [
    {
      name: 'migrate',
      orphan: 'never',
      run: `${WAIT}; echo migrated >>order`,
      undo: 'echo undo migrate >>order',
    },
    { name: 'static' },
  ]);
  await first.said('waiting');
  const cancel = new AbortController();
  const impatient = begin(place.site, [], {
    plan: { kind: 'unlock' },
    options: { force: true, cancel: cancel.signal },
  });
  await impatient.saw(
    (event) => event.type === 'warned' && /waiting for it to stop: migrate/.test(event.message),
  );
  cancel.abort();
  expect(await impatient.outcome).toMatchObject({ how: 'locked', step: 'migrate' });
  const patient = begin(place.site, [], { plan: { kind: 'unlock' }, options: { force: true } });
  await patient.saw((event) => event.type === 'warned');
  letGo(place.site);
  expect(await patient.outcome).toMatchObject({ how: 'done' });
  expect(warningsOf(patient.events)[0]).toMatch(/^waiting for it to stop: migrate, since 2/);
  expect(textIn(place.site, 'order')).toBe('migrated\nundo migrate\n');
  expect(await first.outcome).toMatchObject({ how: 'undone', why: 'terminated' });
});

test('only unlock may use force', async () => {
  await using place = await lab();
  const first = begin(place.site, [{ name: 'static', run: WAIT }]);
  await first.said('waiting');
  const second = await run(place.site, [{ name: 'code' }], { options: { force: true } });
  expect(second.outcome.how).toBe('locked');
  letGo(place.site);
  expect(await first.outcome).toMatchObject({ how: 'done' });
});

test.each(['restart', 'rollback'] as const)(
  'a %s where nothing was ever deployed is refused in plain words',
  async (kind) => {
    await using place = await lab();
    const { outcome } = await run(place.site, [{ name: 'check' }], { plan: { kind } });
    expect(outcome).toEqual({
      how: 'refused',
      message: `nothing is deployed at ${place.site}`,
      hint: undefined,
    });
    expect(existsSync(place.site)).toBe(false);
  },
);

test('a dead run that cannot be undone wholly is not told as unlocked', async () => {
  await using place = await lab();
  const die = 'kill -KILL $PPID; while kill -0 $PPID 2>/dev/null; do sleep 0.01; done; exit 1';
  await run(place.site, [{ name: 'code', run: die, undo: 'fail "this stays"' }]);
  const { outcome } = await unlock(place.site);
  expect(outcome).toMatchObject({
    how: 'stuck',
    remains: [{ step: 'code', failure: { message: 'this stays' } }],
  });
  await expectUnlocked(place.site);
});
