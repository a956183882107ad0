import { cp, readFile, readlink, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { freePort, type Lab, lab, type Served, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { get } from '../support/request-loop.ts';

/** What a person may change between two deploys, or between the two commands of one. */
let world: Lab;
let server: Served;
let dependencies: string;

beforeAll(async () => {
  world = await lab();
  dependencies = await readyEnvironment(`${world.root}/environment`, world.project);
  await configure({});
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
  server = await world.serve();
});
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(() => configure({}));

const configure = (settings: Record<string, unknown>) =>
  world.configure({ commands: { dependencies }, ...settings });
const served = async () => JSON.parse((await get(server.address, '/version')).body).version;
const reload = () => ({ command: `kill -HUP "$(cat ${quoted(`${world.root}/g.pid`)})"` });
const quoted = (path: string) => `'${path.replaceAll("'", `'\\''`)}'`;

test('a command before the Gunicorn that it has nothing to do with', async () => {
  await configure({ restart: [{ command: 'true' }, 'auto'] });
  await world.project.commitVersion('in order');
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
  expect(await served()).toBe('in order');
});

test('a first deploy with a health check at an address where nothing can serve yet', async () => {
  const place = `${world.root}/srv/new.example.com`;
  const url = `http://127.0.0.1:${await freePort()}/health`;
  await configure({ deploy_path: place, backup_path: `${place}/backups`, health_check: { url } });
  const ran = await world.deployer('deploy', SITE);
  expect(ran).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('not served: nothing running'),
  });
});

test('an environment that sets PATH and names of ours', async () => {
  const env = {
    SECRET_KEY: 'only for tests',
    PATH: '/bin:/usr/bin:/nowhere',
    RELEASE: '1.2.3',
    TOOLS: 'x',
    RUN: 'y',
    place: 'z',
  };
  await configure({ env });
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
});

test('a `current` with a slash at its end is the link that it is, and comes back as it was', async () => {
  const live = await world.live();
  await unlink(`${world.site}/current`);
  await symlink(`releases/${live}/`, `${world.site}/current`);
  await configure({ hooks: { after_activate: 'exit 1' } });
  const failed = await world.deployer('deploy', SITE);
  expect(failed).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining(`live now: ${live}`),
  });
  expect(await world.live()).toBe(`${live}/`);
  await configure({});
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
});

test('a `current` that leads elsewhere comes back as it was when a rollback is undone', async () => {
  const live = await world.live();
  await cp(`${world.site}/releases/${live}`, `${world.site}/legacy`, {
    recursive: true,
    verbatimSymlinks: true,
  });
  await unlink(`${world.site}/current`);
  await symlink('legacy', `${world.site}/current`);
  try {
    await configure({ restart: 'none', hooks: { after_activate: 'exit 1' } });
    const ran = await world.deployer('rollback', SITE, `--to=${live}`);
    expect(ran).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('failed in activate'),
    });
    expect(await readlink(`${world.site}/current`)).toBe('legacy');
  } finally {
    await unlink(`${world.site}/current`);
    await symlink(`releases/${live}`, `${world.site}/current`);
  }
});

test('another name for the virtualenv, while Gunicorn was started by the old one', async () => {
  await configure({
    venv: 'venv',
    commands: { dependencies: dependencies.replace('/.venv', '/venv') },
  });
  const before = await served();
  await world.project.commitVersion('renamed');
  const ran = await world.deployer('deploy', SITE);
  expect(ran).toMatchObject({
    exitCode: 1,
    stderr: expect.stringMatching(/failed in dependencies: .*which the new release does not have/),
  });
  expect(await served()).toBe(before);
});

test('an env_file that the old release does not have, and a deploy that must be undone', async () => {
  const before = await served();
  await writeFile(`${world.site}/shared/.env`, 'EXTRA=1\n');
  await configure({
    env_file: '.env',
    shared_files: ['.env'],
    restart: reload(),
    health_check: { path: '/nowhere', status: 200, retries: 1, interval: 0.1 },
  });
  await world.project.commitVersion('never');
  const ran = await world.deployer('deploy', SITE);
  expect(ran.stderr).toContain('warning: activate: env_file: there is no .env in the release');
  expect(ran).toMatchObject({ exitCode: 1 });
  expect(await served()).toBe(before);
  await rm(`${world.site}/shared/.env`);
});

test('STATIC_ROOT through `current`', async () => {
  const settings = await readFile(`${world.project.path}/config/settings.py`, 'utf8');
  await world.project.commit('Static files through current', {
    'config/settings.py': `${settings}STATIC_ROOT = ${JSON.stringify(`${world.site}/current/static`)}\n`,
  });
  const ran = await world.deployer('deploy', SITE);
  expect(ran).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('leads through `current`'),
  });
  await world.project.revert();
});
