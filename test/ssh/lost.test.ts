import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Cable, cableTo } from '../support/cable.ts';
import { exists, type Served, SITE } from '../support/lab.ts';
import { get, type RequestLoop, requestLoop } from '../support/request-loop.ts';
import { type SshWorld, sshWorld } from '../support/ssh-world.ts';
import { type Gate, gate, lockFree, said } from '../support/under-way.ts';

let world: SshWorld;
let server: Served;
let cable: Cable;
let loop: RequestLoop;
let version = 1;

beforeAll(async () => {
  world = await sshWorld();
  const first = await world.deployer('deploy', SITE);
  expect(first.exitCode, first.stderr).toBe(0);
  server = await world.serve();
});
afterAll(() => world?.[Symbol.asyncDispose]());

beforeEach(async () => {
  cable = await cableTo(world.server.port);
  await world.know(cable.port);
  await world.change((project) => project.commitVersion(String(++version)));
  loop = requestLoop(server.address, 1, 20);
});
afterEach(() => cable?.[Symbol.asyncDispose]());

/** A deploy through the cable, held by a hook. */
async function heldAt(hook: string, held: Gate) {
  const host = `${world.world.user.name}@127.0.0.1:${cable.port}`;
  await world.configure({ host, hooks: { [hook]: held.hook } });
  const client = world.start(['deploy', SITE, '--verbose']);
  await said(client, held.word);
  await world.configure({});
  return { client };
}

/** Nothing was done by hand since; what is served is what `current` says, and no request has failed. */
async function expectNextDeployWorks(): Promise<void> {
  expect(await exists(`${world.site}/.deploy.lock`)).toBe(false);
  const next = await world.deployer('deploy', SITE);
  expect(next.exitCode, next.stderr).toBe(0);
  expect(next.stderr).toContain('proven to be served');
  await loop.until((served) => served === String(version));
  expect((await loop.stop()).failures).toEqual([]);
}

test.each([
  { how: 'cut', hook: 'after_code' },
  { how: 'reset', hook: 'before_migrate' },
  { how: 'silence', hook: 'after_static' },
] as const)(
  'the cable: $how, $hook: the client says that it does not know, the target undoes by itself, the next deploy works',
  async ({ how, hook }) => {
    await using held = gate(world.root);
    const before = [await world.live(), await world.releases()];
    const { client } = await heldAt(hook, held);
    const since = Date.now();
    cable[how]();
    const { exitCode, stderr } = await client;
    expect(Date.now() - since).toBeLessThan(40_000);
    expect(exitCode, stderr).toBe(7);
    const step = hook.replace(/^(after|before)_/, '');
    expect(stderr).toContain(`outcome unknown: the connection was lost in ${step} (`);
    expect(stderr).toContain('the target goes on by itself');
    await held.open();
    await lockFree(world.site);
    expect([await world.live(), await world.releases()]).toEqual(before);
    await expectNextDeployWorks();
  },
);

test('the cable is silent in restart: the release that is proven stays', async () => {
  await using held = gate(world.root);
  const { client } = await heldAt('before_restart', held);
  cable.silence();
  expect(await client).toMatchObject({ exitCode: 7 });
  await held.open();
  await lockFree(world.site);
  expect((await readFile(`${world.site}/current/VERSION`, 'utf8')).trim()).toBe(String(version));
  expect(JSON.parse((await get(server.address, '/version')).body).version).toBe(String(version));
  await expectNextDeployWorks();
});

test('the client is killed: the target undoes by itself, the next deploy works', async () => {
  await using held = gate(world.root);
  const before = [await world.live(), await world.releases()];
  const { client } = await heldAt('after_dependencies', held);
  client.kill('SIGKILL');
  await client;
  await lockFree(world.site);
  expect([await world.live(), await world.releases()]).toEqual(before);
  await expectNextDeployWorks();
});

test.each([
  ['once', 1, 'deploy stopped in code, and undone'],
  ['twice', 2, 'left while in code'],
] as const)('Ctrl-C %s: exit 130, and the site is as before', async (_, times, words) => {
  await using held = gate(world.root);
  const before = [await world.live(), await world.releases()];
  const { client } = await heldAt('after_code', held);
  client.kill('SIGINT');
  if (times === 2) {
    await said(client, 'Once more leaves at once');
    client.kill('SIGINT');
  }
  const { exitCode, stderr } = await client;
  expect(exitCode, stderr).toBe(130);
  expect(stderr).toContain(words);
  await held.open();
  await lockFree(world.site);
  expect([await world.live(), await world.releases()]).toEqual(before);
  await expectNextDeployWorks();
});

test('cut as soon as a session was asked for: the outcome is unknown', async () => {
  const host = `${world.world.user.name}@127.0.0.1:${cable.port}`;
  await world.configure({ host });
  const client = world.start(['deploy', SITE, '--verbose']);
  await said(client, 'lock: Take the lock');
  cable.cut();
  const { exitCode, stderr } = await client;
  await world.configure({});
  expect(exitCode, stderr).toBe(7);
  await lockFree(world.site);
  await expectNextDeployWorks();
});
