import { readlink, stat } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type DockerWorld, dockerWorld } from '../support/docker-world.ts';
import { SITE } from '../support/lab.ts';
import { requestLoop } from '../support/request-loop.ts';

vi.setConfig({ testTimeout: 400_000 });

let world: DockerWorld;

beforeAll(async () => {
  world = await dockerWorld();
});
afterAll(() => world?.[Symbol.asyncDispose]());

test('in a container here, as an ordinary user of it: deployed, served, broken, deployed again, rolled back', async () => {
  await story('docker web');
});

test('in a container on a host: the same, over one SSH connection that is verified', async () => {
  await world.run('web2');
  const site = `${world.site} there`;
  await world.configure({
    ...{ docker_container: 'web2', host: world.host },
    ...{ deploy_path: site, backup_path: `${site}/backups` },
  });
  const before = connections();
  await story(`docker web2 on ${world.host}`, 'web2', site);
  expect(connections() - before).toBe(4); // one for each command
  // The variables of an engine here say nothing about those of a host.
  const engine = { DOCKER_HOST: 'ssh://nobody@web1.invalid', DOCKER_CONTEXT: 'nowhere' };
  expect(await world.start(['status', SITE], engine)).toMatchObject({ exitCode: 0 });
  const { exitCode, stderr } = await world.start(['deploy', SITE], {
    DEPLOYER_KNOWN_HOSTS: '/dev/null',
  });
  expect(exitCode, stderr).toBe(4);
  expect(stderr).toContain('host key');
});

const connections = () => world.server.log().match(/Accepted publickey/g)?.length ?? 0;

async function story(target: string, container = 'web', site = world.site): Promise<void> {
  const { user } = world.world;
  const first = await world.deployer('deploy', SITE);
  expect(first.exitCode, first.stderr).toBe(0);
  expect(first.stdout).toMatch(new RegExp(`^${SITE} \\d{8}_\\d{6}_\\d{3} [0-9a-f]{40}$`));
  expect(first.stderr).toContain(`(${target})`);
  // Seen from outside, through the bind mount.
  const live = () => readlink(`${site}/current`);
  const release = first.stdout.split(' ')[1];
  expect(await live()).toBe(`releases/${release}`);
  expect(await stat(`${site}/current/manage.py`)).toMatchObject({ uid: user.uid, gid: user.gid });

  const loop = requestLoop(await world.serve(container, site), 1, 20);
  await world.change((project) => project.breakUrls());
  const broken = await world.deployer('deploy', SITE);
  expect(broken.exitCode, broken.stderr).toBe(1);
  expect(await live()).toBe(`releases/${release}`);

  await world.change((project) => project.revert());
  const wanted = String(Math.random());
  await world.change((project) => project.commitVersion(wanted));
  const second = await world.deployer('deploy', SITE);
  expect(second.stderr).toContain('proven to be served');
  await loop.until((version) => version === wanted);

  const back = await world.deployer('rollback', SITE);
  expect(back.exitCode, back.stderr).toBe(0);
  expect(back.stdout).toBe(first.stdout);
  expect(await live()).toBe(`releases/${release}`);
  const { failures, versions } = await loop.stop();
  expect(failures).toEqual([]);
  expect([...versions.keys()]).toContain(wanted);
}
