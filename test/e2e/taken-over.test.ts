import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { exists, type Lab, lab, SITE } from '../support/lab.ts';
import { get, requestLoop } from '../support/request-loop.ts';

/** How another tool left the site: the name of its release, and what `current` says. */
interface Maker {
  readonly release: string;
  readonly link: (world: Lab) => string;
}

const MAKERS: Readonly<Record<string, Maker>> = {
  'the original tool': {
    release: '20250102_030405',
    link: () => 'releases/20250102_030405',
  },
  Capistrano: {
    release: '20250102030405',
    link: ({ site }) => `${site}/releases/20250102030405`,
  },
};

/** A release with a virtualenv of its own, data in shared/ and links to it, as these tools make it. */
async function madeBy({ release, link }: Maker, world: Lab): Promise<string> {
  const folder = `${world.site}/releases/${release}`;
  await mkdir(folder, { recursive: true });
  await execa('sh', [
    '-c',
    'git -C "$1" archive HEAD | tar -x -C "$2"',
    'sh',
    world.project.path,
    folder,
  ]);
  await writeFile(`${folder}/REVISION`, `${await world.project.head()}\n`);
  for (const name of ['data', 'media']) {
    await mkdir(`${world.site}/shared/${name}`, { recursive: true });
    await symlink(`../../shared/${name}`, `${folder}/${name}`);
  }
  await virtualenv(folder);
  await symlink(link(world), `${world.site}/current`);
  return folder;
}

async function virtualenv(folder: string): Promise<void> {
  await execa('/usr/bin/python3', ['-m', 'venv', `${folder}/.venv`]);
  const pip = ['install', '--quiet', '--disable-pip-version-check', '--no-compile'];
  await execa(`${folder}/.venv/bin/pip`, [...pip, '--requirement', 'requirements.txt'], {
    cwd: folder,
  });
  const env = { SECRET_KEY: 'only for tests' };
  await execa(`${folder}/.venv/bin/python`, ['manage.py', 'migrate'], { cwd: folder, env });
}

for (const [name, maker] of Object.entries(MAKERS)) {
  test(`a site that ${name} made is taken over as it serves: what was live is good, kept, and gone back to`, async () => {
    await using world = await lab({ max_releases: 2 });
    const old = await madeBy(maker, world);
    const { address } = await world.serve();
    const loop = requestLoop(address);

    await world.project.commitVersion('2');
    const first = await world.deployer('deploy', SITE);
    expect(first, first.stderr).toMatchObject({ exitCode: 0 });
    await loop.until((version) => version === '2');
    expect(await readFile(`${world.site}/.deployer/history/${maker.release}`, 'utf8')).toMatch(
      /^good .* taken over$/m,
    );

    const back = await world.deployer('rollback', SITE);
    expect(back, back.stderr).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining(maker.release),
    });
    await loop.until((version) => version === '1');

    for (const version of ['3', '4', '5']) {
      await world.project.commitVersion(version);
      const next = await world.deployer('deploy', SITE);
      expect(next, next.stderr).toMatchObject({ exitCode: 0 });
    }
    expect(JSON.parse((await get(address, '/version')).body)).toMatchObject({ version: '5' });
    expect((await loop.stop()).failures).toEqual([]);
    expect(await exists(`${old}/manage.py`)).toBe(true);
  });
}

test('where the live release holds the data itself, the move that is printed brings it into shared/', async () => {
  await using world = await lab();
  const folder = await madeBy(MAKERS.Capistrano as Maker, world);
  await rm(`${folder}/data`);
  await rename(`${world.site}/shared/data`, `${folder}/data`);
  const before = await readFile(`${folder}/data/db.sqlite3`);

  const refused = await world.deployer('deploy', SITE);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain(
    `${folder}/data holds data that ${world.site}/shared/data lacks`,
  );
  expect(await readFile(`${folder}/data/db.sqlite3`)).toEqual(before);

  const move = /^.*?((?:mkdir|rmdir) .* && mv .* && ln -s .*)$/m.exec(
    refused.stderr,
  )?.[1] as string;
  await execa('sh', ['-c', move]);
  expect(await readFile(`${world.site}/shared/data/db.sqlite3`)).toEqual(before);
  const { address } = await world.serve();
  expect(await get(address, '/')).toMatchObject({ status: 200 });
  const done = await world.deployer('deploy', SITE);
  expect(done, done.stderr).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('proven'),
  });
});

test('a site that a person made, with current as a folder: the two moves that are printed make it one of ours', async () => {
  await using world = await lab();
  const folder = await madeBy(MAKERS.Capistrano as Maker, world);
  await rm(`${world.site}/current`);
  await rename(folder, `${world.site}/current`);
  await rm(`${world.site}/current/data`);
  await rename(`${world.site}/shared/data`, `${world.site}/current/data`);
  const before = await readFile(`${world.site}/current/data/db.sqlite3`);

  const refused = await world.deployer('deploy', SITE);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain(`${world.site}/current is a folder`);
  await execa('sh', ['-c', /^ *(cd .* && ln -s .*)$/m.exec(refused.stderr)?.[1] as string]);

  const again = await world.deployer('deploy', SITE);
  expect(again.exitCode).toBe(1);
  await execa('sh', [
    '-c',
    /^ *((?:mkdir|rmdir) .* && ln -s .*)$/m.exec(again.stderr)?.[1] as string,
  ]);

  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
  expect(await readFile(`${world.site}/shared/data/db.sqlite3`)).toEqual(before);
});
