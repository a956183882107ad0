import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { printSchema } from '../../src/commands/schema.ts';
import { siteAdd, siteAddOptions } from '../../src/commands/siteadd.ts';
import { listSites } from '../../src/commands/sites.ts';
import { KEYS } from '../../src/config/schema.ts';
import { quote } from '../../src/shell.ts';
import { readSites } from '../../src/sites-file.ts';
import { terminal } from '../support/terminal.ts';
import { tmpFolder } from '../support/tmp.ts';

const SITES = `
a.example.com: https://user:secret-token@host/a.git
shop.example.com: {repository: 'git@host:shop', deploy_path: /srv/shop, backup_path: /srv/b, host: 'me@web1:2222'}
any.example.com: {repository: 'git@host:any', deploy_path: /srv/any, backup_path: /srv/b, runner: ssh}
`;

test('sites are listed, without credentials', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  await writeFile(file, SITES);
  const { context, said } = terminal(file);
  expect(await listSites(context)).toBe(0);
  expect(said.out.split('\n')).toEqual([
    'a.example.com     local               https://***@host/a.git  main    /var/www/sites/a.example.com',
    'shop.example.com  ssh me@web1:2222    git@host:shop           master  /srv/shop',
    'any.example.com   ssh (host from -H)  git@host:any            master  /srv/any',
    '',
  ]);
});

test('one object per line with --json, and the override shown', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  await writeFile(file, SITES);
  const { context, said } = terminal(file, { json: true, host: 'web9' });
  await listSites(context);
  const lines = said.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatchObject({ site: 'a.example.com', runner: 'ssh', target: 'ssh web9' });
  expect(said.out).not.toContain('secret-token');
});

test('siteadd takes one option per key', async () => {
  const options = siteAddOptions();
  expect(options).toHaveLength(KEYS.length - 1);
  expect(options.map(({ flags }) => flags)).toContain('--deploy-path <path>');
  expect(options.map(({ flags }) => flags)).toContain('--writable-recursive');

  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  const given = (flag: string, ...texts: string[]) => {
    const { parse } = options.find(({ flags }) => flags.startsWith(`${flag} `)) ?? {};
    return texts.reduce<unknown>((before, text) => parse?.(text, before) ?? text, undefined);
  };
  const { context, said } = terminal(file);
  await siteAdd(context, 'b.example.com', 'https://token@host/b.git', {
    config: file,
    branch: 'dev',
    deployPath: '/srv/b',
    writableRecursive: true,
    sharedDirs: given('--shared-dirs', 'media', 'data'),
    env: given('--env', 'A=1', 'B=x=y'),
    commands: given('--commands', 'static=true'),
    maxReleases: given('--max-releases', '3'),
    restart: given('--restart', '{gunicorn: /run/b.pid}'),
    hooks: given('--hooks', '{after_migrate: [one, two]}'),
  });
  expect((await readSites(file))[0]).toMatchObject({
    name: 'b.example.com',
    branch: 'dev',
    deployPath: '/srv/b',
    backupPath: '/srv/b/backups',
    writableRecursive: true,
    sharedDirs: ['media', 'data'],
    env: { A: '1', B: 'x=y' },
    commands: { static: 'true' },
    maxReleases: 3,
    restart: [{ kind: 'gunicorn', path: '/run/b.pid' }],
    hooks: { after_migrate: ['one', 'two'] },
  });
  expect(said).toEqual({
    out: `b.example.com added to ${file}\n`,
    err: `next: deployer deploy b.example.com --config ${quote(file)}\n`,
  });
  expect(() => given('--env', 'A')).toThrowError('--env: "A" is no NAME=VALUE');
  expect(() => given('--restart', '{')).toThrowError('--restart: ');
});

test('siteadd --json --quiet answers with what it wrote, and no credentials', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  const { context, said } = terminal(file, { json: true, quiet: true });
  await siteAdd(context, 'b.example.com', 'https://token@host/b.git', {});
  expect(JSON.parse(said.out)).toEqual({
    site: 'b.example.com',
    file,
    repository: 'https://***@host/b.git',
    branch: 'main',
    deploy_path: '/var/www/sites/b.example.com',
    backup_path: '/var/www/sites/b.example.com/backups',
  });
  expect(said.err).toBe('');
});

test('schema prints JSON, on one line with --json', async () => {
  const plain = terminal('');
  await printSchema(plain.context);
  const oneLine = terminal('', { json: true });
  await printSchema(oneLine.context);
  expect(JSON.parse(plain.said.out)).toEqual(JSON.parse(oneLine.said.out));
  expect(oneLine.said.out.trim()).not.toContain('\n');
});
