import { expect, test } from 'vitest';
import { lab, SITE } from '../support/lab.ts';
import { get, requestLoop } from '../support/request-loop.ts';

test('deployed, served, deployed again and rolled back, without one failed request', async () => {
  await using world = await lab();
  const first = await world.deployer('deploy', SITE);
  expect(first).toMatchObject({ exitCode: 0 });
  expect(first.stdout).toMatch(new RegExp(`^${SITE} \\d{8}_\\d{6}_\\d{3} [0-9a-f]{40}$`));
  expect(first.stderr).toContain('released, not served: nothing running');
  expect(first.stderr).toContain(`/current/.venv/bin/gunicorn' --chdir`);

  const { address } = await world.serve();
  const page = await get(address, '/');
  expect(page).toMatchObject({ status: 200, body: expect.stringContaining('version 1') });
  const style = /href="([^"]+\.css)"/.exec(page.body)?.[1] as string;
  expect(await get(address, style)).toMatchObject({ status: 200 });

  const loop = requestLoop(address);
  await world.project.commitVersion('2');
  const second = await world.deployer('deploy', SITE);
  expect(second).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('proven to be served'),
  });
  await loop.until((version) => version === '2');

  const back = await world.deployer('rollback', SITE);
  expect(back).toMatchObject({ exitCode: 0 });
  expect(back.stdout).toBe(first.stdout);
  await loop.until((version) => version === '1');
  expect(await world.live()).toBe(first.stdout.split(' ')[1]);

  const { versions, failures } = await loop.stop();
  expect(failures).toEqual([]);
  expect([...versions.keys()].sort()).toEqual(['1', '2']);
});

test('over a Unix socket, with changed requirements: the new library is served, and the old one after a rollback', async () => {
  await using world = await lab();
  await world.deployer('deploy', SITE);
  const { address } = await world.serve({ socket: true });
  const library = async () => JSON.parse((await get(address, '/version')).body).library;
  expect(await library()).toBe('1');
  const loop = requestLoop(address);

  await world.project.changeLibrary('2');
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
  expect(await library()).toBe('2');
  expect(await world.deployer('rollback', SITE)).toMatchObject({ exitCode: 0 });
  expect(await library()).toBe('1');
  expect((await loop.stop()).failures).toEqual([]);
});
