import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { Project } from '../support/django-project.ts';
import { APP } from '../support/docker-images.ts';
import { answering, type DockerWorld, dockerWorld, gunicorn } from '../support/docker-world.ts';
import { freePort, SITE } from '../support/lab.ts';
import { get, requestLoop } from '../support/request-loop.ts';
import { installSupervisor } from '../support/supervisor.ts';

vi.setConfig({ testTimeout: 400_000 });

let world: DockerWorld;
let version = 1;

beforeAll(async () => {
  world = await dockerWorld();
  const first = await world.deployer('deploy', SITE);
  expect(first).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('not served') });
});
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(() => world.change((project) => project.commitVersion(String(++version))));

const asApp = () => ['--user', `${world.world.user.uid}:${world.world.user.gid}`];
const served = async (port: number) => JSON.parse((await get({ port }, '/version')).body);
/** Changes when the container has ended in between. */
const since = (name: string) =>
  world.engine.docker('inspect', '-f', '{{.State.Running}} {{.State.StartedAt}}', name);

/** A container whose pid 1 is Gunicorn, or a script that has started it. */
async function serving(name: string, ...words: readonly string[]) {
  const port = await freePort();
  const { command, environment } = gunicorn(world.site, port);
  const options = [...asApp(), ...environment];
  const all = [...words, ...command, ...(name.includes('preload') ? ['--preload'] : [])];
  await world.run(name, { command: all, options });
  await answering({ port });
  return port;
}

/** Without a change of where the wheels are. */
async function library(project: Project, number: string) {
  const text = await readFile(`${project.path}/requirements.txt`, 'utf8');
  return project.commit(`tinylib ${number}`, {
    'requirements.txt': text.replace(/tinylib==\d/, `tinylib==${number}`),
  });
}

const BY_A_SCRIPT = ['sh', '-c', '"$@"; echo over', 'sh'];

test.each([
  ['pid-1', [], '2'],
  ['by-a-script', BY_A_SCRIPT, '3'],
] as const)(
  'Gunicorn as %s: reloaded by HUP, also with changed requirements, and no request fails',
  async (name, words, number) => {
    const port = await serving(name, ...words);
    const began = await since(name);
    await world.configure({ docker_container: name });
    const loop = requestLoop({ port }, 1, 20);
    const next = await world.deployer('deploy', SITE);
    expect(next.exitCode, next.stderr).toBe(0);
    expect(next.stderr).toContain('proven to be served');
    await loop.until((each) => each === String(version));
    await world.change((project) => library(project, number));
    const changed = await world.deployer('deploy', SITE);
    expect(changed.stderr).toContain('proven to be served');
    expect((await served(port)).library).toBe(number);
    expect((await loop.stop()).failures).toEqual([]);
    expect(await since(name)).toBe(began);
  },
);

test.each([
  ['preload-pid-1', []],
  ['preload-by-a-script', BY_A_SCRIPT],
] as const)(
  '%s: one that would need a new master is refused, for the container would end with it',
  async (name, words) => {
    const port = await serving(name, ...words);
    const began = await since(name);
    await world.configure({ docker_container: name });
    const before = await world.live();
    const { exitCode, stderr } = await world.deployer('deploy', SITE);
    expect(exitCode, stderr).toBe(1);
    expect(stderr).toContain('the container would end with it');
    expect(await world.live()).toBe(before);
    expect(await since(name)).toBe(began);
    expect((await get({ port }, '/version')).status).toBe(200);
  },
);

test('a container that waits for its first deploy, as in the README', async () => {
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
  const [, script = ''] =
    /^docker run … sh -c '([^']+)' \/srv\/www\.example\.com$/m.exec(readme) ?? [];
  const port = await freePort();
  const site = `${world.site} from the README`;
  const command = script
    .replace('0.0.0.0:8000', `127.0.0.1:${port} --no-control-socket`)
    .replace('example.wsgi', 'config.wsgi');
  const options = [...asApp(), ...gunicorn(site, port).environment];
  await world.run('waiting', { command: ['sh', '-c', command, site], options });
  const began = await since('waiting');
  await world.configure({
    ...{ docker_container: 'waiting', deploy_path: site, backup_path: `${site}/backups` },
  });
  const first = await world.deployer('deploy', SITE);
  expect(first.exitCode, first.stderr).toBe(0);
  await answering({ port });
  await world.change((project) => project.commitVersion(String(++version)));
  const second = await world.deployer('deploy', SITE);
  expect(second.stderr).toContain('proven to be served');
  expect((await served(port)).version).toBe(String(version));
  expect(await since('waiting')).toBe(began);
});

test('restart: command, in the container', async () => {
  const port = await serving('by-command');
  await world.configure({ docker_container: 'by-command', restart: { command: 'kill -HUP 1' } });
  const { exitCode, stderr } = await world.deployer('deploy', SITE);
  expect(exitCode, stderr).toBe(0);
  await expect
    .poll(async () => (await served(port)).version, { timeout: 30_000 })
    .toBe(String(version));
});

test('restart: supervisor, whose pid 1 it is', async () => {
  const port = await freePort();
  const venv = `${world.root}/supervisor`;
  await installSupervisor(venv);
  const folder = `${world.root}/s`;
  await mkdir(folder);
  await writeFile(`${folder}/supervisord.conf`, SUPERVISED(world.site, port));
  await world.run('supervised', {
    command: [`${venv}/bin/supervisord`, '-c', `${folder}/supervisord.conf`],
  });
  await answering({ port });
  await world.configure({ docker_container: 'supervised', restart: { supervisor: 'web' } });
  const { exitCode, stderr } = await world.deployer('deploy', SITE);
  expect(exitCode, stderr).toBe(0);
  expect(stderr).toContain('proven to be served');
  expect((await served(port)).version).toBe(String(version));
});

const SUPERVISED = (site: string, port: number) => `[supervisord]
nodaemon=true
user=root
logfile=%(here)s/log
pidfile=%(here)s/pid
childlogdir=%(here)s

[unix_http_server]
file=%(here)s/s.sock
chown=${APP}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://%(here)s/s.sock

[program:web]
command="${site}/current/.venv/bin/gunicorn" --bind 127.0.0.1:${port} --workers 2 --no-control-socket config.wsgi
directory=${site}/current
user=${APP}
environment=SECRET_KEY="only for tests"
`;
