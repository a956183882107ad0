import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createProject, type Project } from './django-project.ts';
import { type TmpFolder, tmpFolder } from './tmp.ts';

let tmp: TmpFolder;
let folder: TmpFolder;
let python: string;
let project: Project;

beforeAll(async () => {
  tmp = await tmpFolder();
  await execa('python3', ['-m', 'venv', '--without-pip', join(tmp.path, 'venv')]);
  python = join(tmp.path, 'venv/bin/python');
  project = await createProject(join(tmp.path, 'repository'));
  expect((await pip('install', '--quiet')).exitCode).toBe(0);
});
afterAll(() => tmp[Symbol.asyncDispose]());

beforeEach(async () => {
  folder = await tmpFolder();
  project = await createProject(join(folder.path, 'repository'));
  return () => folder[Symbol.asyncDispose]();
});

const pip = (...words: readonly string[]) =>
  execa(
    'python3',
    ['-m', 'pip', '--python', python, ...words, '-r', join(project.path, 'requirements.txt')],
    { reject: false },
  );

const manage = (...words: readonly string[]) =>
  execa(python, ['manage.py', ...words], {
    cwd: project.path,
    env: { SECRET_KEY: 'only for tests', PYTHONDONTWRITEBYTECODE: '1' },
    reject: false,
    all: true,
  });

const page = async (path: string) =>
  (
    await manage(
      'shell',
      '-v0',
      '-c',
      `from django.test import Client; print(Client().get("${path}", HTTP_HOST="www.example.com").content.decode())`,
    )
  ).stdout;

async function migrated(): Promise<void> {
  await mkdir(join(project.path, 'data'), { recursive: true });
  expect((await manage('migrate')).exitCode).toBe(0);
}

test('a repository on main that a plain git can clone, whoever runs the tests', async () => {
  const clone = join(folder.path, 'clone');
  await execa('git', ['clone', '--quiet', project.path, clone]);
  const log = await execa('git', ['-C', clone, 'log', '--format=%D %an <%ae>']);
  expect(log.stdout).toContain('HEAD -> main');
  expect(log.stdout).toContain('Ada Example <ada@example.com>');
  expect(await project.head()).toMatch(/^[0-9a-f]{40}$/);
});

test('the pages say the version, the library and what is in the database', async () => {
  await project.commitVersion('7');
  await migrated();
  expect(JSON.parse(await page('/version'))).toEqual({ version: '7', library: '1' });
  expect(await page('/')).toContain('0 entries, tinylib 1');
  expect(await page('/health')).toBe('ok\n');
  expect((await manage('collectstatic', '--noinput')).exitCode).toBe(0);
  expect(await readFile(join(project.path, 'staticfiles/guestbook/site.css'), 'utf8')).toContain(
    'body',
  );
});

test('broken URLs fail the check, and a revert mends them', async () => {
  await project.breakUrls();
  expect((await manage('check')).all).toContain('SyntaxError');
  await project.revert();
  expect((await manage('check')).exitCode).toBe(0);
});

test('migrations that go through leave no model without a migration', async () => {
  await project.addMigration();
  await project.addMigration();
  await project.addRemoveFieldMigration();
  await migrated();
  expect((await manage('makemigrations', '--check', '--dry-run')).exitCode).toBe(0);
  expect(await page('/')).toContain('0 entries');
});

test('of two migrations the second fails', async () => {
  await migrated();
  await project.addFailingMigration();
  const { exitCode, all } = await manage('migrate');
  expect(exitCode).toBe(1);
  expect(all).toMatch(/0003_added_3\.\.\. OK.*no such table: nowhere/s);
});

test('collectstatic fails, and nothing before it does', async () => {
  await project.breakCollectstatic();
  expect((await manage('check')).exitCode).toBe(0);
  const { exitCode, all } = await manage('collectstatic', '--noinput');
  expect(exitCode).not.toBe(0);
  expect(all).toContain('nowhere.png');
});

test('another library, and a requirement that is nowhere', async () => {
  await project.changeLibrary('2');
  expect((await pip('download', '--dest', folder.path)).exitCode).toBe(0);
  expect(await readdir(folder.path)).toContain('tinylib-2-py3-none-any.whl');
  await project.addUninstallableRequirement();
  expect((await pip('download', '--dest', folder.path)).stderr).toContain('no-such-thing-anywhere');
});
