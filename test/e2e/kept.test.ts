import { mkdir, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exists, type Lab, lab, type Ran, SITE } from '../support/lab.ts';
import { get } from '../support/request-loop.ts';
import { treeOf } from '../support/tree.ts';

const MAX_RELEASES = 3;
const MAX_BACKUPS = 2;

let world: Lab;
let versions = 1;

beforeAll(async () => {
  world = await lab({
    shared_files: ['.env'],
    env: { PIP_NO_COMPILE: '1' },
    max_releases: MAX_RELEASES,
    max_backups: MAX_BACKUPS,
  });
  await mkdir(`${world.site}/shared`, { recursive: true });
  await writeFile(`${world.site}/shared/.env`, 'SECRET_KEY=only for tests\n');
  await deploys();
});
afterAll(() => world?.[Symbol.asyncDispose]());

const deploy = async (...words: readonly string[]): Promise<Ran> => {
  await world.project.commitVersion(String(++versions));
  return world.deployer('deploy', SITE, ...words);
};

/** Resolves to the id of the new release. */
async function deploys(...words: readonly string[]): Promise<string> {
  const ran = await deploy(...words);
  expect(ran).toMatchObject({ exitCode: 0 });
  return ran.stdout.split(' ')[1] as string;
}

const backups = async (): Promise<readonly string[]> =>
  (await readdir(`${world.root}/backups`)).sort();

test('after ten deploys and a rollback: uploads and .env as they were, all that is foreign too, and no more releases and backups than wanted', async () => {
  const startedIn = await world.live();
  const served = await world.serve({ workers: 1 });
  const { address } = served;
  const files = {
    [`${world.site}/current/media/photo.jpg`]: 'a photo \0 of bytes',
    [`${world.site}/notes.txt`]: 'mine',
    [`${world.site}/releases/by hand/manage.py`]: 'mine',
    [`${world.site}/releases/README`]: 'mine',
    [`${world.site}/releases/20200101_000000_000/manage.py`]: 'no record of it',
    [`${world.root}/backups/www.example.com_before the move.tar.gz`]: 'mine',
    [`${world.root}/backups/other.example.com_20200101_000000_000.tar.gz`]: 'of another site',
    [`${world.root}/backups/www.example.com_20200101_000000_000.tar.gz.old`]: 'mine',
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(path.slice(0, path.lastIndexOf('/')), { recursive: true });
    await writeFile(path, text);
  }
  const foreignReleases = ['20200101_000000_000', 'README', 'by hand'];
  const foreignBackups = (await backups()).filter((name) => !isBackup(name));
  const shared = await treeOf(`${world.site}/shared`);

  const ids: string[] = [];
  for (let round = 0; round < 10; round++) {
    ids.push(await deploys());
    expect((await get(address, '/media/photo.jpg')).body).toBe('a photo \0 of bytes');
  }
  const back = await world.deployer('rollback', SITE);
  expect(back).toMatchObject({ exitCode: 0 });
  expect(await world.live()).toBe(ids.at(-2));

  expect((await get(address, '/media/photo.jpg')).body).toBe('a photo \0 of bytes');
  for (const [path, text] of Object.entries(files)) expect(await readFile(path, 'utf8')).toBe(text);
  expect(await treeOf(`${world.site}/shared`)).toEqual(shared);
  const kept = [startedIn, ...ids.slice(-MAX_RELEASES)]; // USR2 would return to the first
  expect(await world.releases()).toEqual([...kept, ...foreignReleases].sort());
  const packed = ids.slice(-MAX_BACKUPS).map((id) => `${SITE}_${id}.tar.gz`);
  expect(await backups()).toEqual([...packed, ...foreignBackups].sort());
  for (const name of packed) await execa('tar', ['-tzf', `${world.root}/backups/${name}`]);

  await served.stop();
  ids.push(await deploys());
  const goodAndLeft = ids.slice(-MAX_RELEASES - 1);
  expect(await world.releases()).toEqual([...goodAndLeft, ...foreignReleases].sort());
}, 240_000);

const isBackup = (name: string): boolean =>
  /^www\.example\.com_\d{8}_\d{6}_\d{3}\.tar\.gz$/.test(name);

test.skipIf(process.getuid?.() !== 0)(
  'a filesystem that fills up while the backup is written',
  async () => {
    const full = `${world.root}/full`;
    const remount = (size: string) =>
      `mount -o remount,size=${size} '${full.replaceAll("'", "'\\''")}'`;
    await mkdir(full, { recursive: true });
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', full]);
    try {
      await world.project.commit('Much', { 'much.txt': randomText(200_000) });
      await deploys();
      const live = await world.live();

      await world.configure({ backup_path: full });
      const early = await deploy();
      expect(early).toMatchObject({ exitCode: 1, stdout: '' });
      expect(early.stderr).toContain(`the filesystem ${full} (of ${full}) has 0 MB free`);

      await execa('sh', ['-c', remount('200m')]);
      await world.configure({ backup_path: full, hooks: { before_backup: remount('64k') } });
      const late = await deploy();
      expect(late).toMatchObject({ exitCode: 1, stdout: '' });
      expect(late.stderr).toMatch(/deploy failed in backup.*, and undone/);
      expect(late.stderr).toContain('No space left on device');
      expect(late.stderr).toContain(`live now: ${live}, as before`);

      expect(await readdir(full)).toEqual([]);
      expect(await world.live()).toBe(live);
    } finally {
      await execa('umount', [full]);
      await world.configure({});
    }
    await deploys();
  },
);

const randomText = (length: number): string =>
  Array.from({ length }, () => String.fromCharCode(33 + Math.floor(Math.random() * 90))).join('');

test('a backup command that writes half an archive fails the deploy', async () => {
  const live = await world.live();
  const before = await backups();
  await world.configure({
    commands: { backup: 'tar -czf - -C current . | head -c 1000 >"$DEPLOYER_BACKUP"' },
  });
  const ran = await deploy();
  expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
  expect(ran.stderr).toContain('deploy failed in backup: the backup cannot be read through');
  expect(await world.live()).toBe(live);
  expect(await backups()).toEqual(before);
  await world.configure({});
});

test('--rebuild makes another environment, and the old one goes with the last release that has it', async () => {
  const environments = async () => (await readdir(`${world.site}/.deployer/environments`)).sort();
  const environment = async () =>
    (await readlink(`${world.site}/current/.venv`)).split('/').at(-1) as string;
  await deploys();
  const old = await environment();
  const made = await stat(`${world.site}/current/.venv/bin/pip`);

  await deploys('--rebuild');
  const fresh = await environment();
  expect(fresh).not.toBe(old);
  expect((await stat(`${world.site}/current/.venv/bin/pip`)).ino).not.toBe(made.ino);
  expect(await environments()).toEqual([old, fresh].sort());

  await deploys();
  expect(await environment()).toBe(fresh);
  expect(await environments()).toEqual([old, fresh].sort());
  await deploys();
  expect(await environments()).toEqual([fresh]);
});

test('a clock that was set back: the next release is still the newest', async () => {
  const future = `${world.site}/.deployer/history/20991231_235959_998`;
  await writeFile(future, 'begun 2099-12-31T23:59:59Z deploy\nfailed 2099-12-31T23:59:59Z\n');
  expect(await deploys()).toBe('20991231_235959_999');
  expect(await deploys()).toBe('21000101_000000_000');
  expect(await world.live()).toBe('21000101_000000_000');
  const back = await world.deployer('rollback', SITE);
  expect(back.stdout).toContain('20991231_235959_999');
  expect(await exists(future)).toBe(true);
  await rm(future);
});
