import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { type DockerWorld, dockerWorld } from '../support/docker-world.ts';
import { type GitServer, gitServer } from '../support/git-server.ts';

vi.setConfig({ testTimeout: 400_000 });

let world: DockerWorld;
let server: GitServer;

type Entry = Readonly<Record<string, unknown>>;

beforeAll(async () => {
  world = await dockerWorld();
  const { project } = world.world;
  const settings = await readFile(`${project.path}/config/settings.py`, 'utf8');
  const alone = settings
    .replace('env("SECRET_KEY")', '"only for tests"')
    .replace('BASE_DIR / "data" / "db.sqlite3"', '"/var/tmp/db.sqlite3"');
  await mkdir(`${world.root}/git`);
  server = await world.change(async () => {
    await project.commit('Needs no environment', { 'config/settings.py': alone });
    return gitServer(project.path, `${world.root}/git`, 'ci', 'of-the-git-server');
  });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

test('each entry of sites-dist.yml that is in a container is deployed, with only repository, host and container put in', async () => {
  const template = new URL('../../sites-dist.yml', import.meta.url);
  const all: Readonly<Record<string, Entry>> = parse(await readFile(template, 'utf8'), {
    merge: true,
  });
  const entries = Object.entries(all).filter(([, { runner }]) => runner === 'docker');
  expect(entries.length).toBeGreaterThan(1);
  const sites = entries.map(([name, entry], index) => {
    const docker_container = `container-${index}`;
    const repository = `http://ci:of-the-git-server@${server.place}`;
    const host = entry.host === undefined ? {} : { host: world.host };
    return [name, { ...entry, ...host, docker_container, repository }] as const;
  });
  for (const [, { docker_container }] of sites) await world.run(docker_container);
  await writeFile(`${world.root}/sites.yml`, stringify(Object.fromEntries(sites)));
  const { exitCode, stdout, stderr } = await world.deployer('deploy_all');
  expect(exitCode, stderr).toBe(0);
  expect(stdout.split('\n').map((line) => line.split(/ +/).slice(0, 2))).toEqual(
    sites.map(([name]) => [name, 'ok']),
  );
  for (const [, entry] of sites as readonly (readonly [string, Entry])[]) {
    const path = `${entry.deploy_path}/current/manage.py`;
    const container = entry.docker_container as string;
    const owner = await world.engine.docker('exec', container, 'stat', '-c', '%U', path);
    expect(owner).toBe(entry.docker_user ?? 'root');
  }
});
