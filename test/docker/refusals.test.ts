import { chown, mkdir, readdir, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type DockerWorld, dockerWorld } from '../support/docker-world.ts';
import { exists, SITE } from '../support/lab.ts';
import { publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { userWorld } from '../support/user-world.ts';

vi.setConfig({ testTimeout: 400_000 });

let world: DockerWorld;
let site: string;
let count = 0;

beforeAll(async () => {
  world = await dockerWorld();
});
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(() => {
  site = `${world.site} ${++count}`;
});

type Settings = Readonly<Record<string, unknown>>;

/** Deploys, and expects to be refused before anything was done. */
async function refused(exit: number, settings: Settings, env: Record<string, string> = {}) {
  await world.configure({ deploy_path: site, backup_path: `${site}/backups`, ...settings });
  const { exitCode, stderr } = await world.start(['deploy', SITE], env);
  expect(exitCode, String(stderr)).toBe(exit);
  expect(await readdir(`${site}/releases`).catch(() => [])).toEqual([]);
  return String(stderr);
}

const here = { place: 'here', remote: () => ({}) };
const there = { place: 'on 127.0.0.1', remote: () => ({ host: world.host }) };

test.each([here, there])('$place: a container that is not there', async ({ place, remote }) => {
  const said = await refused(4, { docker_container: 'wep', ...remote() });
  expect(said).toContain(`there is no container wep ${place}; did you mean web?`);
  expect(said).toContain('docker ps --all');
});

test('a container that was stopped, was never started, is paused, is restarted again and again', async () => {
  await world.run('stopped', { command: ['sh', '-c', 'exit 3'] });
  await world.engine.docker('wait', 'stopped');
  const stopped = await refused(4, { docker_container: 'stopped' });
  expect(stopped).toContain('the container stopped here is not running (exited, exit code 3)');
  expect(stopped).toContain('docker start stopped');

  await world.engine.docker('create', '--name', 'created', 'deployer/debian', 'sleep', '1');
  const created = await refused(4, { docker_container: 'created' });
  expect(created).toContain('was never started');

  await world.run('paused');
  await world.engine.docker('pause', 'paused');
  const paused = await refused(4, { docker_container: 'paused' });
  expect(paused).toContain('is paused');
  expect(paused).toContain('docker unpause paused');

  await world.run('restarting', { command: ['false'], options: ['--restart', 'always'] });
  const status = '{{.RestartCount}} {{.State.Status}}'; // the pauses between two starts grow
  await expect
    .poll(() => world.engine.docker('inspect', '-f', status, 'restarting'), { timeout: 60_000 })
    .toMatch(/^([6-9]|\d\d) restarting$/);
  const restarting = await refused(4, { docker_container: 'restarting' });
  expect(restarting).toContain('is restarted again and again');
  expect(restarting).toContain('docker logs restarting');
});

test.each([here, there])(
  '$place: an account that the container does not have',
  async ({ remote }) => {
    for (const docker_user of ['nobody-there', 'app:no-group']) {
      const said = await refused(4, { docker_user, ...remote() });
      expect(said).toMatch(/unable to find (user|group)|no matching entries/);
      expect(said).toContain('docker_user must be an account of the container, or a uid');
    }
  },
);

test.each([here, there])('$place: an image without Python', async ({ remote }) => {
  const name = `no-python-${remote === here.remote ? 'here' : 'there'}`;
  await world.run(name, { image: 'without-python' });
  const said = await refused(4, { docker_container: name, ...remote() });
  expect(said).toContain('the target needs python3, 3.8 or newer');
  expect(said).toContain('in its image');
});

test('an image without Git and tar, or a shared file that is not there: all at once, with the cures', async () => {
  await world.run('bare', { image: 'without-git' });
  const said = await refused(1, { docker_container: 'bare', shared_files: ['.env'] });
  for (const name of ['git', 'tar'])
    expect(said).toContain(`add to the image of the container: RUN apt-get install -y ${name}`);
  const [cure = ''] = /docker exec -i -u app bare sh -c .*/.exec(said) ?? [];
  await writeFile(`${world.root}/.env`, 'X=1\n');
  await execa('sh', ['-c', cure], { cwd: world.root, env: { DOCKER_HOST: world.env.DOCKER_HOST } });
  expect(await exists(`${site}/shared/.env`)).toBe(true);
});

test('no engine: named, or looked for', async () => {
  const nowhere = `${world.root}/nowhere.sock`;
  const named = await refused(4, {}, { DOCKER_HOST: `unix://${nowhere}` });
  expect(named).toContain(`no Docker engine answers at ${nowhere}`);
  expect(named).toContain('systemctl start docker');
  const tcp = await refused(4, {}, { DOCKER_HOST: 'tcp://127.0.0.1:1' });
  expect(tcp).toContain('the Docker engine at 127.0.0.1:1');
  expect(tcp).toContain('DOCKER_HOST');
  const address = { DOCKER_HOST: 'tcp://127.0.0.1:1', DOCKER_CERT_PATH: '/nowhere' };
  const certificates = await refused(2, {}, { ...address, DOCKER_TLS_VERIFY: '1' });
  expect(certificates).toContain('correct DOCKER_CERT_PATH');
});

test.each([
  ['ssh://deploy@web1', 'give the site "host: deploy@web1" instead'],
  ['npipe:////./pipe/docker_engine', 'unix:///PATH and tcp://HOST:PORT'],
])('DOCKER_HOST %s is refused', async (address, cure) => {
  const said = await refused(2, {}, { DOCKER_HOST: address });
  expect(said).toContain(`DOCKER_HOST is ${address}, which is not used`);
  expect(said).toContain(cure);
});

/** Another way into this machine, where no engine is open to us but through `folder`. */
async function anotherHost(config: readonly string[]): Promise<Sshd> {
  const server = await sshd(world.root, {
    authorized: await publicKey(`${world.root}/client_key`),
    config,
  });
  await writeFile(`${world.root}/known_hosts`, server.knownHosts, { flag: 'a' });
  return server;
}

test('a host: sshd forwards to no socket, no engine runs, its socket is not open to us', async () => {
  const { name } = world.world.user;
  const folder = `${world.root}/no engine`;
  await mkdir(folder);

  await using strict = await anotherHost([
    `SetEnv XDG_RUNTIME_DIR=${world.engine.folder}`,
    'AllowStreamLocalForwarding no',
  ]);
  const forwarding = await refused(4, { host: `${name}@127.0.0.1:${strict.port}` });
  expect(forwarding).toContain(`sshd on 127.0.0.1 does not lead to ${world.engine.socket}`);
  expect(forwarding).toContain('AllowStreamLocalForwarding yes');

  await using empty = await anotherHost([`SetEnv "XDG_RUNTIME_DIR=${folder}"`]);
  const nothing = await refused(4, { host: `${name}@127.0.0.1:${empty.port}` });
  expect(nothing).toMatch(
    /no Docker engine runs on 127\.0\.0\.1|docker\.sock on 127\.0\.0\.1 is not open/,
  );

  await chown(world.engine.socket, 0, 0);
  const closed = await refused(4, { host: world.host });
  await chown(world.engine.socket, 0, world.world.user.gid);
  expect(closed).toContain(`on 127.0.0.1 is not open to ${name}`);
  expect(closed).toContain(`sudo usermod -aG docker ${name}`);
});

test("here: the engine's socket is not open to us", async () => {
  await using theirs = await userWorld();
  await chown(world.engine.socket, 0, 0);
  await world.configure({});
  const command = ['env', `DOCKER_HOST=unix://${world.engine.socket}`, process.execPath];
  const bin = `${theirs.root}/installed/node_modules/.bin/deployer`;
  const config = ['--config', `${world.root}/sites.yml`];
  const { exitCode, stderr } = await theirs.run(theirs.root, [
    ...command,
    bin,
    'deploy',
    SITE,
    ...config,
  ]);
  await chown(world.engine.socket, 0, world.world.user.gid);
  expect(exitCode, String(stderr)).toBe(4);
  expect(stderr).toContain(`socket ${world.engine.socket} is not open to us`);
  expect(stderr).toContain(`sudo usermod -aG docker ${theirs.user.name}`);
});
