import { appendFile, chmod, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { createProject, type Project } from '../support/django-project.ts';
import { APP } from '../support/docker-images.ts';
import { type DockerWorld, dockerWorld } from '../support/docker-world.ts';
import { exists, SITE } from '../support/lab.ts';
import { publicKey, sshd } from '../support/sshd.ts';

vi.setConfig({ testTimeout: 400_000 });

let world: DockerWorld;
let local: Project;

beforeAll(async () => {
  world = await dockerWorld();
  local = await createProject(`${world.root}/local project`);
  await world.run('there');
});
afterAll(() => world?.[Symbol.asyncDispose]());

const pathOf = (site: string) => `${world.root}/srv/${site}`;
const connections = () => world.server.log().match(/Accepted publickey/g)?.length ?? 0;

/** Who a site is deployed as tells where: each notes its pid namespace, too. */
const site = (name: string, settings: Readonly<Record<string, unknown>>) => ({
  repository: name === 'local.example.com' ? local.path : world.world.project.path,
  branch: 'main',
  deploy_path: pathOf(name),
  backup_path: `${pathOf(name)}/backups`,
  python: '/usr/bin/python3',
  shared_dirs: ['data'],
  env: { SECRET_KEY: 'only for tests', PIP_NO_COMPILE: '1' },
  hooks: { before_code: 'readlink /proc/self/ns/pid > where' },
  ...settings,
});

const where = async (name: string) => (await readFile(`${pathOf(name)}/where`, 'utf8')).trim();

test('sites here, on two hosts, in a container here and in one on a host: one run, one connection each, one summary', async () => {
  const key = await publicKey(`${world.root}/client_key`);
  await using second = await sshd(world.root, { authorized: key });
  await appendFile(`${world.root}/known_hosts`, second.knownHosts);
  const container = { runner: 'docker', docker_user: APP };
  const sites = {
    'local.example.com': site('local.example.com', {}),
    'ssh.example.com': site('ssh.example.com', { runner: 'ssh', host: world.host }),
    'second.example.com': site('second.example.com', {
      host: `${world.world.user.name}@127.0.0.1:${second.port}`,
    }),
    'docker.example.com': site('docker.example.com', { ...container, docker_container: 'web' }),
    'there.example.com': site('there.example.com', {
      ...{ ...container, docker_container: 'there', host: world.host },
    }),
  };
  await writeFile(`${world.root}/sites.yml`, stringify(sites));
  const before = connections();
  const { exitCode, stdout, stderr } = await world.deployer('deploy_all');
  expect(exitCode, stderr).toBe(0);
  expect(stdout.split('\n').map((line) => line.split(/ +/).slice(0, 2))).toEqual(
    Object.keys(sites).map((name) => [name, 'ok']),
  );
  expect(connections() - before).toBe(1);
  expect(second.log().match(/Accepted publickey/g)).toHaveLength(1);
  const spaces = await Promise.all(Object.keys(sites).map(where));
  expect(new Set(spaces.slice(0, 3)).size).toBe(1);
  expect(new Set(spaces).size).toBe(3);
  expect(await stat(`${pathOf('there.example.com')}/current/`)).toMatchObject({
    uid: world.world.user.uid,
  });

  const only = await world.deployer('deploy_all', '--runner=docker');
  expect(only.stdout.split('\n').map((line) => line.split(' ')[0])).toEqual([
    'docker.example.com',
    'there.example.com',
  ]);
  const status = await world.deployer('status');
  expect(status.stdout).toContain(`there.example.com (docker there on ${world.host})\n  live `);
  expect(await world.deployer('restart_all', '--runner=docker')).toMatchObject({ exitCode: 1 });
});

test('-H sends a site in a container to that container on the host', async () => {
  await world.configure({ host: 'web1.invalid', forward_agent: true });
  const { exitCode, stderr } = await world.deployer('deploy', SITE, '-H', world.host);
  expect(exitCode, stderr).toBe(0);
  expect(stderr).toContain('forward_agent: the SSH agent does not reach into a container');
  expect(stderr).toContain(`(docker web on ${world.host})`);
});

const BRANCH = "it's;$(touch${IFS}pwned)&&x";
const NASTY = `it's $(touch pwned) \`touch pwned\`; touch pwned * ? "q" && x | y > z`;

test('whatever the values, nothing of them reaches a shell of this machine, and its tools are not used', async () => {
  const bin = `${world.root}/shims`;
  await mkdir(bin);
  for (const name of ['sh', 'bash', 'git', 'python3', 'tar', 'docker', 'ssh']) {
    const record = `#!/bin/sh\necho "$0 $*" >> "${world.root}/recorded"\nexit 1\n`;
    await writeFile(`${bin}/${name}`, record);
    await chmod(`${bin}/${name}`, 0o755);
  }
  const odd = "it's $(touch pwned); touch pwned * && x";
  await world.change(async (project) => {
    const requirements = await readFile(`${project.path}/requirements.txt`, 'utf8');
    await project.commit('Odd names', { [`re q/${odd}.txt`]: requirements });
    const git = (...words: readonly string[]) => execa('git', words, { cwd: project.path });
    await git('checkout', '--quiet', '-b', BRANCH);
    await mkdir(`${project.path}/${odd}`);
    await git('mv', 'config', 'guestbook', 'manage.py', 'VERSION', odd);
    await project.commit('An odd folder', {});
    await git('checkout', '--quiet', 'main');
  });
  const python = `${world.root}/py;$(touch pwned)'thon`;
  await symlink('/usr/bin/python3', python);
  const folder = `${world.root}/srv/it's; touch pwned; * && touch pwned | y > z (x)`;
  await world.configure({
    deploy_path: folder,
    backup_path: `${folder}/back'ups; touch pwned`,
    env: { SECRET_KEY: NASTY, ODD: NASTY, PIP_NO_COMPILE: '1' },
    shared_dirs: [`${odd}/data`, "med'ia; touch pwned"],
    writable_dirs: ["med'ia; touch pwned"],
    shared_files: [`${odd}.env`],
    env_file: `${odd}.env`,
    branch: BRANCH,
    project_path: odd,
    python,
    health_check: { path: "/it's;$(touch%20pwned)", url: 'http://127.0.0.1:1', retries: 0 },
    requirements: `re q/${odd}.txt`,
    hooks: { after_static: 'printf %s "$ODD" > "$DEPLOYER_SITE odd"' },
  });
  const path = `${bin}:${process.env.PATH}`;
  const refused = await world.start(['deploy', SITE], { PATH: path });
  expect(refused.stderr).toContain(`${odd}.env`);
  await writeFile(`${folder}/shared/${odd}.env`, `FROM_THE_FILE=${NASTY}\n`);
  const { exitCode, stderr } = await world.start(['deploy', SITE], { PATH: path });
  expect(exitCode, String(stderr)).toBe(0);
  expect(await readFile(`${folder}/current/${SITE} odd`, 'utf8')).toBe(NASTY);
  expect(await exists(`${world.root}/recorded`)).toBe(false);
  for (const place of [world.root, folder, `${folder}/current`])
    expect(await exists(`${place}/pwned`)).toBe(false);
  const { stdout } = await world.start(['status', SITE], { PATH: path });
  expect(stdout).toContain('live ');
});

test('an image with the tools of BusyBox, on its own file system', async () => {
  await world.engine.run('busybox', { image: 'busybox', mounts: [world.root] });
  await world.configure({
    docker_container: 'busybox',
    deploy_path: '/srv/site',
    backup_path: '/srv/site/backups',
  });
  const first = await world.deployer('deploy', SITE);
  expect(first.exitCode, first.stderr).toBe(0);
  await world.serve('busybox', '/srv/site');
  await world.change((project) => project.commitVersion('2'));
  const second = await world.deployer('deploy', SITE);
  expect(second.exitCode, second.stderr).toBe(0);
  expect(second.stderr).toContain('proven to be served');
  const back = await world.deployer('rollback', SITE);
  expect(back).toMatchObject({ exitCode: 0, stdout: first.stdout });
  const backups = await world.deployer('backups', SITE);
  const [name = ''] = /\S+\.tar\.gz/.exec(backups.stdout) ?? [];
  const got = await world.deployer('backups', SITE, '--get', name);
  expect(got.exitCode, got.stderr).toBe(0);
  expect(await exists(`${world.root}/${name}`)).toBe(true);
});
