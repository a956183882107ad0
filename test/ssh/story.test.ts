import { stat } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { SITE } from '../support/lab.ts';
import { requestLoop } from '../support/request-loop.ts';
import { sshWorld } from '../support/ssh-world.ts';

test('over SSH, as an ordinary user: deployed, served, broken, deployed again, rolled back', async () => {
  await using world = await sshWorld();
  const { user } = world.world;
  const first = await world.deployer('deploy', SITE);
  expect(first.exitCode, first.stderr).toBe(0);
  expect(first.stdout).toMatch(new RegExp(`^${SITE} \\d{8}_\\d{6}_\\d{3} [0-9a-f]{40}$`));
  expect(first.stderr).toContain(`(ssh ${user.name}@127.0.0.1:${world.server.port})`);
  expect(await stat(`${world.site}/current/manage.py`)).toMatchObject({ uid: user.uid });

  const { address } = await world.serve();
  const loop = requestLoop(address);
  await world.change((project) => project.breakUrls());
  const broken = await world.deployer('deploy', SITE);
  expect(broken.exitCode, broken.stderr).toBe(1);
  expect(await world.live()).toBe(first.stdout.split(' ')[1]);
  expect(await world.releases()).toHaveLength(1);

  await world.change((project) => project.revert());
  await world.change((project) => project.commitVersion('2'));
  const second = await world.deployer('deploy', SITE);
  expect(second.stderr).toContain('proven to be served');
  await loop.until((version) => version === '2');

  const back = await world.deployer('rollback', SITE);
  expect(back.exitCode, back.stderr).toBe(0);
  expect(back.stdout).toBe(first.stdout);
  await loop.until((version) => version === '1');
  expect((await loop.stop()).failures).toEqual([]);
});
