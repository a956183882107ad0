import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { STEP_NAMES } from '../../src/step-names.ts';
import { cableTo } from '../support/cable.ts';
import { type DockerWorld, dockerWorld } from '../support/docker-world.ts';
import { exists, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { requestLoop } from '../support/request-loop.ts';
import { gate, lockFree, said } from '../support/under-way.ts';

vi.setConfig({ testTimeout: 400_000 });

let world: DockerWorld;
let settings: Readonly<Record<string, unknown>>;
let version = 1;

beforeAll(async () => {
  world = await dockerWorld();
  const dependencies = await readyEnvironment(`${world.root}/ready`, world.world.project);
  settings = { commands: { dependencies }, max_releases: 99 };
  await world.configure(settings);
  const first = await world.deployer('deploy', SITE);
  expect(first.exitCode, first.stderr).toBe(0);
});
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(() => world.change((project) => project.commitVersion(String(++version))));

const liveVersion = async () => (await readFile(`${world.site}/current/VERSION`, 'utf8')).trim();
const state = async () => [await world.live(), await world.releases()];

/** A deploy, held by a hook. */
async function heldAt(hook: string, held: ReturnType<typeof gate>, more = {}) {
  await world.configure({ ...settings, ...more, hooks: { [hook]: held.hook } });
  const client = world.start(['deploy', SITE, '--verbose']);
  await said(client, held.word);
  await world.configure({ ...settings, ...more });
  return { client };
}

/** Nothing was done by hand since. */
async function expectNextDeployWorks(): Promise<string> {
  const next = await world.deployer('deploy', SITE);
  expect(next.exitCode, next.stderr).toBe(0);
  expect(await world.live()).toBe(next.stdout.split(' ')[1]);
  return next.stderr;
}

/** Steps that run to their end whatever becomes of the client. */
const GO_ON = ['writable', 'migrate', 'activate', 'restart', 'cleanup'];
/** From here on the release is proven, and stays. */
const STAYS = ['restart', 'cleanup'];
/** `lock` and `unlock` have no hooks. What is proven at the end of its step is held at its beginning. */
const HOOKS = STEP_NAMES.filter((step) => step !== 'lock' && step !== 'unlock').map(
  (step) => [STAYS.includes(step) ? `before_${step}` : `after_${step}`, step] as const,
);

test.each(HOOKS)(
  'the client is killed, %s: the session in the container ends it by itself',
  async (hook, step) => {
    await using held = gate(world.root);
    const before = await state();
    const { client } = await heldAt(hook, held);
    client.kill('SIGKILL');
    await client;
    if (GO_ON.includes(step)) {
      await expect(lockFree(world.site, 1), 'it goes on').rejects.toThrow();
      await held.open();
    }
    await lockFree(world.site);
    if (STAYS.includes(step)) expect(await liveVersion()).toBe(String(version));
    else expect(await state()).toEqual(before);
    expect(await exists(`${world.site}/.deploy.lock`)).toBe(false);
    await expectNextDeployWorks();
  },
);

test('the client of a container on a host is killed: the same, and no request fails', async () => {
  await using held = gate(world.root);
  const loop = requestLoop(await world.serve(), 1, 20);
  const before = await state();
  const { client } = await heldAt('after_static', held, { host: world.host });
  client.kill('SIGKILL');
  await client;
  await lockFree(world.site);
  expect(await state()).toEqual(before);
  expect(await expectNextDeployWorks()).toContain('proven to be served');
  await loop.until((served) => served === String(version));
  expect((await loop.stop()).failures).toEqual([]);
});

test('the client is killed in migrate, which runs to its end first', async () => {
  await using held = gate(world.root);
  const before = await state();
  const { client } = await heldAt('before_migrate', held);
  client.kill('SIGKILL');
  await client;
  await expect(lockFree(world.site, 1)).rejects.toThrow();
  const second = await world.deployer('deploy', SITE);
  expect(second).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('in migrate') });
  await held.open();
  await lockFree(world.site);
  expect(await state()).toEqual(before);
  await expectNextDeployWorks();
});

test('Ctrl-C: undone, exit 130', async () => {
  await using held = gate(world.root);
  const before = await state();
  const { client } = await heldAt('after_code', held);
  client.kill('SIGINT');
  expect(await client).toMatchObject({ exitCode: 130 });
  expect(await state()).toEqual(before);
  await expectNextDeployWorks();
});

test.each(HOOKS)(
  'the container is restarted, %s: exit 7, and the next deploy settles it',
  async (hook, step) => {
    await using held = gate(world.root);
    const before = await state();
    const { client } = await heldAt(hook, held);
    await world.engine.docker('restart', '--time', '0', 'web');
    const { exitCode, stderr } = await client;
    expect(exitCode, String(stderr)).toBe(7);
    expect(stderr).toContain(`outcome unknown: the connection was lost in ${step}`);
    const status = await world.deployer('status', SITE);
    expect(status.stdout).toContain(`died in ${step}`);
    const unlocked = await world.deployer('unlock', SITE);
    expect(unlocked.stderr).toContain(step === 'cleanup' ? 'it stays' : 'it is undone');
    if (step === 'cleanup') expect(await liveVersion()).toBe(String(version));
    else expect(await state()).toEqual(before);
    await expectNextDeployWorks();
  },
);

test('the container is removed and made anew: exit 7, and the next deploy settles it', async () => {
  await using held = gate(world.root);
  const { client } = await heldAt('after_code', held, { host: world.host });
  await world.engine.docker('rm', '--force', 'web');
  const { exitCode, stderr } = await client;
  expect(exitCode, String(stderr)).toBe(7);
  await world.run('web');
  expect(await expectNextDeployWorks()).toContain('settling it first');
});

test.each(['cut', 'silence'] as const)(
  'the cable to the host of the container: %s: exit 7, and the session in it undoes by itself',
  async (how) => {
    await using held = gate(world.root);
    await using cable = await cableTo(world.server.port);
    await world.know(cable.port);
    const before = await state();
    const host = `${world.world.user.name}@127.0.0.1:${cable.port}`;
    const { client } = await heldAt('after_code', held, { host });
    cable[how]();
    expect(await client).toMatchObject({ exitCode: 7 });
    await lockFree(world.site);
    expect(await state()).toEqual(before);
    await world.configure(settings);
    await expectNextDeployWorks();
  },
);
