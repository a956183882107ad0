import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { rewriteFile } from '../src/rewrite-file.ts';
import { addToSitesFile, configPath, readSites } from '../src/sites-file.ts';
import { tmpFolder } from './support/tmp.ts';

const site = (domain: string) => ({ domain, repository: 'git@host:x', settings: {} });

const names = async (file: string) => (await readSites(file)).map(({ name }) => name);

test('where the sites are', () => {
  const path = (config: string | undefined, env: Record<string, string>) =>
    configPath({ io: { env }, globals: { config } });
  expect(path('a.yml', { DEPLOYER_CONFIG: 'b.yml' })).toBe('a.yml');
  expect(path(undefined, { DEPLOYER_CONFIG: 'b.yml' })).toBe('b.yml');
  expect(path(undefined, {})).toBe('sites.yml');
});

test('a file that cannot be read', async () => {
  await using folder = await tmpFolder();
  const missing = join(folder.path, 'sites.yml');
  await expect(readSites(missing)).rejects.toMatchObject({
    code: 'config',
    message: `there is no ${missing}`,
    hint: expect.stringContaining('deployer siteadd DOMAIN REPOSITORY'),
  });
  await expect(readSites(folder.path)).rejects.toMatchObject({
    code: 'config',
    message: expect.stringContaining('it is a folder'),
  });
  await writeFile(missing, Buffer.from([0x61, 0xff]));
  await expect(readSites(missing)).rejects.toMatchObject({
    code: 'config',
    message: expect.stringContaining('not UTF-8'),
  });
});

test('the file is made, then added to, and nothing else is left', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  await addToSitesFile(file, site('a.example.com'));
  await addToSitesFile(file, site('b.example.com'));
  expect(await names(file)).toEqual(['a.example.com', 'b.example.com']);
  await expect(addToSitesFile(file, site('a.example.com'))).rejects.toMatchObject({
    code: 'usage',
  });
  expect(await readdir(folder.path)).toEqual(['sites.yml']);
});

test('a folder that is not there', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'no', 'sites.yml');
  await expect(addToSitesFile(file, site('a'))).rejects.toMatchObject({
    code: 'config',
    message: expect.stringContaining('there is no such folder'),
  });
});

test('mode and owner are kept, and a link leads on', async () => {
  await using folder = await tmpFolder();
  await mkdir(join(folder.path, 'real'));
  const real = join(folder.path, 'real', 'my sites.yml');
  const link = join(folder.path, 'sites.yml');
  await symlink('real/my sites.yml', link);
  await addToSitesFile(link, site('a.example.com'));
  await chmod(real, 0o640);
  if (process.getuid?.() === 0) await chown(real, 12345, 12345);
  const before = await stat(real);
  await addToSitesFile(link, site('b.example.com'));
  const after = await stat(real);
  expect([after.mode, after.uid, after.gid]).toEqual([before.mode, before.uid, before.gid]);
  expect((await lstat(link)).isSymbolicLink()).toBe(true);
  expect(await names(real)).toEqual(['a.example.com', 'b.example.com']);
});

test('many at once lose nothing', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  const domains = Array.from({ length: 20 }, (_, index) => `site${index}.example.com`);
  await Promise.all(domains.map((domain) => addToSitesFile(file, site(domain))));
  expect(new Set(await names(file))).toEqual(new Set(domains));
  expect(await readdir(folder.path)).toEqual(['sites.yml']);
});

test('many processes at once lose nothing', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  const built = await compiled(join(folder.path, 'built'));
  const program = `
    import { addToSitesFile } from ${JSON.stringify(join(built, 'sites-file.js'))};
    for (const n of [1, 2, 3]) await addToSitesFile(process.argv[1], { domain: \`s\${process.pid}-\${n}\`, repository: 'git@host:x', settings: {} });
    console.log(process.pid);`;
  const run = () =>
    promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, file]);
  const ended = await Promise.all(Array.from({ length: 6 }, run));
  const expected = ended.flatMap(({ stdout }) => [1, 2, 3].map((n) => `s${stdout.trim()}-${n}`));
  expect(new Set(await names(file))).toEqual(new Set(expected));
});

test('what a killed process left, or one of another machine long ago, holds up nobody', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  const gone = spawn(process.execPath, ['-e', '']);
  await once(gone, 'exit');
  const left = join(folder.path, `.sites.yml.new.${hostname()}.${gone.pid}.0123456789abcdef`);
  const foreign = join(folder.path, '.sites.yml.new.elsewhere.1.0123456789abcdef');
  await writeFile(left, 'half');
  await writeFile(foreign, 'half');
  const past = new Date(Date.now() - 120_000);
  await utimes(foreign, past, past);
  await addToSitesFile(file, site('a.example.com'));
  expect(await readdir(folder.path)).toEqual(['sites.yml']);
});

test('a living process is waited for', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'sites.yml');
  const claim = join(folder.path, `.sites.yml.new.${hostname()}.${process.pid}.0123456789abcdef`);
  await writeFile(claim, '');
  let done = false;
  const adding = addToSitesFile(file, site('a.example.com')).then(() => {
    done = true;
  });
  await promisify(execFile)('sh', ['-c', 'sleep 0.3']);
  expect(done).toBe(false);
  await rm(claim);
  await adding;
  expect(await names(file)).toEqual(['a.example.com']);
});

test('a writer that was taken for dead begins again, and overwrites nothing', async () => {
  await using folder = await tmpFolder();
  const file = join(folder.path, 'notes');
  await writeFile(file, 'a');
  let calls = 0;
  await rewriteFile(file, async (path) => {
    const before = await readFile(path, 'utf8');
    if (calls++ === 0) {
      const [mine = ''] = (await readdir(folder.path)).filter((name) => name.startsWith('.'));
      const past = new Date(Date.now() - 120_000);
      await utimes(join(folder.path, mine), past, past);
      await rewriteFile(path, async () => `${before}b`);
    }
    return `${before}c`;
  });
  expect(await readFile(file, 'utf8')).toBe('abc');
  expect(await readdir(folder.path)).toEqual(['notes']);
});

async function compiled(folder: string): Promise<string> {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const tsc = join(root, 'node_modules/.bin/tsc');
  await mkdir(folder);
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  const out = join(folder, 'dist');
  await promisify(execFile)(tsc, [
    '-p',
    join(root, 'tsconfig.build.json'),
    '--outDir',
    out,
    '--noCheck',
  ]);
  return out;
}
