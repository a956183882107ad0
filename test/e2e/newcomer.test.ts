import { mkdir, readdir, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BACKUPS_PROGRAM } from '../../src/commands/backup-list.ts';
import { STATUS_PROGRAM } from '../../src/commands/status.ts';
import { plan } from '../../src/plan.ts';
import { deploy } from '../../src/recipes.ts';
import { exists, freePort, SITE } from '../support/lab.ts';
import { get, requestLoop } from '../support/request-loop.ts';
import { siteWith } from '../support/site.ts';
import { AM_ROOT, type UserWorld, userWorld } from '../support/user-world.ts';

/** All of this is the ordinary user's; only `/elsewhere` is not. */
let world: UserWorld;

beforeAll(async () => {
  world = await userWorld();
  await mkdir(`${world.root}/elsewhere`);
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** A folder of the ordinary user with a sites.yml that siteadd wrote. */
async function newcomer(name: string, path: string): Promise<string> {
  const place = await world.folder(`${world.root}/${name}`);
  const options = [`--deploy-path=${path}`, '--python=/usr/bin/python3', '--shared-dirs=data'];
  const env = ['--env', 'SECRET_KEY=only for tests', '--env', 'PIP_NO_COMPILE=1'];
  const added = await world.deployer(place, [
    'siteadd',
    SITE,
    world.project.path,
    ...options,
    ...env,
  ]);
  expect(added).toMatchObject({ exitCode: 0, stdout: `${SITE} added to sites.yml` });
  return place;
}

test('the package runs where it is installed, and holds every program that travels', async () => {
  const place = await world.folder(`${world.root}/package`);
  const { stdout } = await world.deployer(place, ['--version']);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+$/);
  expect(await world.deployer(place, ['siteadd', SITE, world.project.path])).toMatchObject({
    exitCode: 0,
  });
  const script = await world.deployer(place, ['deploy', SITE, '--dry-run']);
  expect(script).toMatchObject({ exitCode: 0, stderr: '' });
  await execa('sh', ['-n'], { input: script.stdout });

  const inPackage = await readdir(`${world.installed}/dist/target`);
  const { tools } = plan(deploy({ rebuild: false }), siteWith());
  const travelling = [...tools, 'begin.py', 'session.py', ...STATUS_PROGRAM, ...BACKUPS_PROGRAM];
  expect([...new Set(travelling)].sort()).toEqual(inPackage.sort());
  const sources = (
    await readdir(fileURLToPath(new URL('../../src/target', import.meta.url)))
  ).filter((name) => /\.(py|sh)$/.test(name));
  expect(sources.sort()).toEqual(inPackage);
});

test('an ordinary user deploys to a folder that is not there, starts Gunicorn as told, and deploys again', async () => {
  const path = `${world.root}/made/on the way/www`;
  const place = await newcomer('first', path);
  const first = await world.deployer(place, ['deploy', SITE]);
  expect(first.exitCode, first.stderr).toBe(0);
  expect(await stat(`${path}/current/manage.py`)).toMatchObject({ uid: world.user.uid });
  expect(await exists(`${path}/backups`)).toBe(false);

  const [, start = ''] = /start it with: (.*)/.exec(first.stderr) ?? [];
  expect(start).toContain('127.0.0.1:8000');
  const port = await freePort();
  const line = start.replace('127.0.0.1:8000', `127.0.0.1:${port}`);
  await using server = background(place, ['sh', '-c', `exec ${line}`]);
  await answering(port, server.log);

  await world.change((project) => project.commitVersion('2'));
  const loop = requestLoop({ port }, 1);
  const second = await world.deployer(place, ['deploy', SITE]);
  expect(second.exitCode, second.stderr).toBe(0);
  expect(second.stderr).toContain('proven to be served');
  await loop.until((version) => version === '2');
  expect((await loop.stop()).failures).toEqual([]);
  expect(await readdir(`${path}/backups`)).toHaveLength(1);
});

/** A process that is ended with `await using`. */
function background(place: string, words: readonly string[]) {
  const child = world.run(place, words);
  let log = '';
  child.stderr.on('data', (data: Buffer) => {
    log += data;
  });
  return {
    log: () => log,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM');
      await child;
    },
  };
}

async function answering(port: number, log: () => string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const { status } = await get({ port }, '/version').catch(() => ({ status: 0 }));
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`it does not answer:\n${log()}`);
}

test.skipIf(!AM_ROOT)(
  'where the parent folder lets nobody in, one line is printed, and after it the deploy works',
  async () => {
    const path = `${world.root}/elsewhere/www`;
    const place = await newcomer('refused', path);
    const refused = await world.deployer(place, ['deploy', SITE]);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('Permission denied');
    const cures = refused.stderr.match(/sudo install -d -o .*/g) ?? [];
    expect(cures).toHaveLength(1);
    expect(cures[0]).toMatch(/^sudo install -d -o \S+ -g \S+ '.*\/elsewhere\/www'$/);
    expect(cures[0]).toContain(`-o ${world.user.name} `);

    await execa('sh', ['-c', (cures[0] as string).replace(/^sudo /, '')]);
    const begun = await world.deployer(place, ['deploy', SITE, '--verbose']);
    expect(begun.exitCode, begun.stderr).toBe(0);
  },
);

test.skipIf(!AM_ROOT)(
  "another user's site is refused, with whom to connect as, and stays as it is",
  async () => {
    const path = `${world.root}/of root`;
    const place = await newcomer('foreign', path);
    await mkdir(`${path}/.deployer`, { recursive: true });
    const { exitCode, stdout, stderr } = await world.deployer(place, ['deploy', SITE]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain(`${path} is deployed by root`);
    expect(stderr).toContain('to do: run it as root: a site has one owner');
    expect(await readdir(path)).toEqual(['.deployer']);
  },
);
