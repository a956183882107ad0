import { writeFile } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exists, type Lab, lab, type Ran, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { type Gate, gate, lockFree, said } from '../support/under-way.ts';

const ME = `${userInfo().username}@${hostname()}`;

let world: Lab;
let settings: Record<string, unknown>;

beforeAll(async () => {
  world = await lab();
  const dependencies = await readyEnvironment(`${world.root}/ready`, world.project);
  settings = { commands: { dependencies }, restart: 'none' };
  await world.configure(settings);
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** A deploy that is held by a hook; the hooks are gone for whatever comes after it. */
async function deployHeldAt(hook: string, held: Gate) {
  await world.configure({ ...settings, hooks: { [hook]: held.hook } });
  const holder = world.start('deploy', SITE, '--verbose');
  await said(holder, held.word);
  await world.configure(settings);
  return { holder };
}

test.each(['deploy', 'rollback', 'restart', 'unlock'])(
  '%s while a deploy runs: exit 3, and who holds the lock, since when, in which step',
  async (command) => {
    await using held = gate(world.root);
    const before = await world.live();
    const { holder } = await deployHeldAt('after_code', held);
    const { exitCode, stdout, stderr } = await world.deployer(command, SITE);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
    expect(stderr).toMatch(/locked: another run is under way, in code for \d+ s/);
    expect(stderr).toContain(`By: ${ME}`);
    expect(stderr).toContain(`Command: deployer deploy ${SITE} --verbose`);
    expect(stderr).toMatch(/Since: \d{4}-\d\d-\d\dT/);
    expect(stderr).toContain(`deployer unlock ${SITE} --force`);
    expect(await world.live()).toBe(before);

    await held.open();
    expect(await holder).toMatchObject({ exitCode: 0 });
    expect((await world.live()) > before).toBe(true);
  },
);

test('unlock --force stops the holder, which undoes and says so; then the lock is free', async () => {
  await using held = gate(world.root);
  const before = { live: await world.live(), releases: await world.releases() };
  const { holder } = await deployHeldAt('before_static', held);
  const unlock = await world.deployer('unlock', SITE, '--force');
  expect(unlock).toMatchObject({ exitCode: 0 });
  expect(unlock.stderr).toContain('unlocked');
  expect(unlock.stderr).toContain(`By: ${ME}`);
  await lockFree(world.site, 0);
  expect(await exists(`${world.site}/.deploy.lock`)).toBe(false);

  const { exitCode, stderr } = await holder;
  expect(exitCode).toBe(1);
  expect(stderr).toContain('deploy stopped by unlock --force');
  expect(stderr).toContain('in static, and undone');
  expect({ live: await world.live(), releases: await world.releases() }).toEqual(before);
});

test('unlock --force waits for a running migrate, and says so', async () => {
  await using held = gate(world.root);
  await world.project.addMigration();
  const schema = await world.schema();
  const { holder } = await deployHeldAt('after_migrate', held);
  const unlock = world.start('unlock', SITE, '--force');
  await said(unlock, 'waiting for it to stop: migrate');
  await expect(lockFree(world.site, 0)).rejects.toThrow();
  await held.open();
  expect(await unlock).toMatchObject({ exitCode: 0 });
  expect(await holder).toMatchObject({ exitCode: 1 });
  expect(await world.schema()).toBe(schema);
  await world.project.revert();
});

test('two deploys started together, twenty times: one at a time, and who comes too late is told who was first', async () => {
  const deployed = (await world.releases()).slice(-1);
  for (let round = 0; round < 20; round++) {
    const both = await Promise.all([
      world.deployer('deploy', SITE),
      world.deployer('deploy', SITE),
    ]);
    const done = both.filter(({ exitCode }) => exitCode === 0);
    const late = both.filter(({ exitCode }) => exitCode === 3);
    expect([done.length >= 1, done.length + late.length]).toEqual([true, 2]);
    for (const { stderr } of late) {
      expect(stderr).toContain('locked: another run is under way');
      expect(stderr).toContain(`By: ${ME}`);
    }
    const ids = done.map(releaseOf).sort();
    expect(await world.live()).toBe(ids.at(-1));
    for (const id of ids) expect(deployed).not.toContain(id);
    deployed.push(...ids);
    expect(await exists(`${world.site}/.deploy.lock`)).toBe(false);
  }
  expect(await world.releases()).toEqual(deployed.slice(-5));
});

const releaseOf = ({ stdout }: Ran): string => stdout.split(' ')[1] ?? '';

const BY_HAND = 'Site: somewhere\nBy: bob@laptop\nSince: 2026-01-01T00:00:00Z\n';

test('a lock file without a living holder is reported and taken over', async () => {
  await writeFile(`${world.site}/.deploy.lock`, BY_HAND);
  const { exitCode, stderr } = await world.deployer('deploy', SITE);
  expect(exitCode).toBe(0);
  expect(stderr).toContain('took over a lock without a living holder');
  expect(stderr).toContain('By: bob@laptop');
  expect(await exists(`${world.site}/.deploy.lock`)).toBe(false);
});

test('unlock removes it and says who held it; where nothing is locked it says that', async () => {
  await writeFile(`${world.site}/.deploy.lock`, BY_HAND);
  const first = await world.deployer('unlock', SITE);
  expect(first).toMatchObject({ exitCode: 0 });
  expect(first.stderr).toMatch(/unlocked\n\s+it was held by:\n[\s\S]*By: bob@laptop/);
  expect(await exists(`${world.site}/.deploy.lock`)).toBe(false);
  expect(await world.deployer('unlock', SITE)).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('nothing is locked'),
  });
});
