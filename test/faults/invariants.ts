import { readdir, readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { expect } from 'vitest';
import { exists, type Ran, SITE } from '../support/lab.ts';
import { lockFree } from '../support/under-way.ts';
import { expectNoSecrets } from './secrets.ts';
import { currentVersion, DATABASE, FOREIGN_RELEASES, type World } from './world.ts';

/** What must hold after every row, whatever was done to the deploy. `next` is the deploy after it, if the row made one. */
export async function expectInvariants(world: World, next: Ran | undefined): Promise<void> {
  await lockFree(world.site); // I4, with nothing done by hand
  await expectRerun(next ?? (await world.deployer('deploy', SITE)));
  await expectSettled(world);
  await expectServed(world);
  await expectBackups(world);
  await expectUntouched(world);
  await expectDatabaseOfCurrent(world);
  expectTold(world);
  await expectNoSecrets(world);
  expect([...world.watcher.faults], 'I1, I3').toEqual([]);
}

/** I5 */
async function expectRerun({ exitCode, stderr }: Ran): Promise<void> {
  expect(exitCode, `I5: the next deploy works\n${stderr}`).toBe(0);
  expect(stderr).toContain('proven to be served');
}

/** I4, I5: nobody is at work, and nothing is left that somebody would have to settle or sweep. */
export async function expectSettled(world: World): Promise<void> {
  const { site } = world;
  await lockFree(site, 0);
  expect(await exists(`${site}/.deploy.lock`), 'I4: .deploy.lock is gone').toBe(false);
  const runs = await readdir(`${site}/.deployer/run`);
  expect(
    runs.filter((name) => !/\.(journal|log)$/.test(name)),
    'I5: runs',
  ).toEqual([]);
  expect(await readdir(`${site}/.deployer/switch`).catch(() => []), 'I5: links').toEqual([]);
  for (const name of await readdir(`${site}/.deployer/environments`))
    expect(await exists(`${site}/.deployer/environments/${name}/complete`), name).toBe(true);
}

/** I2 */
async function expectServed(world: World): Promise<void> {
  expect(await world.served(), 'I2: what is served is current').toEqual([
    await currentVersion(world),
  ]);
  expect((await world.seen()).failures, 'I2: failed requests').toEqual([]);
}

/** I6 */
async function expectBackups({ backups, lab }: World): Promise<void> {
  const names = (await readdir(backups)).filter((name) => name !== 'mine.tar.gz');
  const id = await lab.live();
  expect(names, 'I6: the newest backup, and no part of one').toEqual([`${SITE}_${id}.tar.gz`]);
  for (const name of names) await execa('tar', ['-tzf', `${backups}/${name}`]);
}

/** I7, I10, and what retention promises: the live release, and the first, which processes live in. */
async function expectUntouched(world: World): Promise<void> {
  const { shared, releases, live } = await world.state();
  expect(shared, 'I7: shared/').toEqual(world.before.shared);
  const kept = [world.first, live, ...FOREIGN_RELEASES].sort();
  expect(releases, 'I5, I10: the releases').toEqual(kept);
  for (const name of FOREIGN_RELEASES)
    expect(await readFile(`${world.site}/releases/${name}/manage.py`, 'utf8')).toBe('mine');
  expect(await readFile(`${world.backups}/mine.tar.gz`, 'utf8')).toBe('mine');
}

/** I9: what is applied is what the live code has. */
async function expectDatabaseOfCurrent({ site }: World): Promise<void> {
  const query =
    'import sqlite3, sys; print(*(name for name, in sqlite3.connect(sys.argv[1]).execute("select name from django_migrations where app = \'guestbook\' order by name")))';
  const { stdout } = await execa('/usr/bin/python3', ['-c', query, `${site}/shared/${DATABASE}`]);
  const files = await readdir(`${site}/current/guestbook/migrations`);
  const known = files
    .filter((name) => /^\d{4}_.*\.py$/.test(name))
    .map((name) => name.slice(0, -3));
  expect(stdout.split(' '), 'I9: the migrations').toEqual(known.sort());
}

/** I8: every failure says what is live, or that the target goes on, and what to do. */
function expectTold({ said }: World): void {
  for (const { exitCode, stderr, args } of said) {
    if (exitCode === 0 || exitCode === undefined) continue;
    const what = `I8: ${args.join(' ')} ended with ${exitCode}\n${stderr}`;
    expect(stderr, what).toMatch(LIVE);
    expect(stderr, what).toMatch(/to do: \S|log, on the target: /);
  }
}

const LIVE =
  /live now: \S|current points to: \S|the target goes on by itself|not begun: |nothing was done|locked: another/;
