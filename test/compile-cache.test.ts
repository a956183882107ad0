import {
  chmod,
  chown,
  copyFile,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loader, sealOf, thisNode } from '../src/compile-cache.ts';
import { BIN } from './support/lab.ts';
import { type TmpFolder, tmpFolder } from './support/tmp.ts';

let tmp: TmpFolder;
beforeEach(async () => {
  tmp = await tmpFolder();
});
afterEach(() => tmp[Symbol.asyncDispose]());

const folder = () => `${tmp.path}/caches/deployer`;
const kept = () => `${folder()}/program.cjs`;
const file = () => `${tmp.path}/program.cjs`;
const write = (word: string) => writeFile(file(), `exports.answer = () => '${word}';`);

/** What the program answers, in a run of its own. */
function run(): string {
  const { load, keep } = loader({ XDG_CACHE_HOME: `${tmp.path}/caches` });
  const { answer } = load(file()) as { answer: () => string };
  const said = answer();
  keep();
  return said;
}

/** The source says `new`, and what is kept for it says `old`: which of them runs tells whether what is kept was taken. */
async function keepOther(): Promise<void> {
  await write('old');
  run();
  const data = (await readFile(kept())).subarray(32);
  await write('new');
  await writeFile(kept(), Buffer.concat([sealOf(thisNode())(await readFile(file()), data), data]));
}

test('what a run compiled, the next one takes', async () => {
  await keepOther();
  expect(run()).toBe('old');
});

test('nobody else can read or write it', async () => {
  await write('new');
  run();
  expect((await stat(folder())).mode & 0o777).toBe(0o700);
  expect((await stat(kept())).mode & 0o777).toBe(0o600);
});

/** Works with a copy of this Node, of which others may say what they like. */
async function withAnotherNode(work: (path: string) => Promise<void>): Promise<void> {
  const { execPath } = process;
  const copy = `${tmp.path}/node`;
  await copyFile(execPath, copy);
  process.execPath = copy;
  try {
    await work(copy);
  } finally {
    process.execPath = execPath;
  }
}

test('another Node compiles for itself, were it of the same version', async () => {
  await keepOther();
  await withAnotherNode(async () => expect(run()).toBe('new'));
});

test('a Node that was removed while we start is no reason not to', async () => {
  await keepOther();
  await withAnotherNode(async (node) => {
    await rm(node);
    expect(run()).toBe('new');
  });
});

test('a Node that is upgraded during the run compiles for itself', async () => {
  await write('new');
  await withAnotherNode(async (node) => {
    const { load, keep } = loader({ XDG_CACHE_HOME: `${tmp.path}/caches` });
    load(file());
    await utimes(node, 1, 1);
    keep();
    const before = await readFile(kept());
    const again = loader({ XDG_CACHE_HOME: `${tmp.path}/caches` });
    again.load(file());
    again.keep();
    expect(await readFile(kept())).not.toEqual(before);
  });
});

const UNTRUSTED: Record<string, () => Promise<unknown>> = {
  'a folder that others may write': () => chmod(folder(), 0o770),
  'a folder whose parent others may write': () => chmod(`${tmp.path}/caches`, 0o777),
  'a folder whose parent is of somebody else': () => chown(tmp.path, 1, 1),
  'what is no file': async () => {
    await rename(kept(), `${tmp.path}/elsewhere`);
    await symlink(`${tmp.path}/elsewhere`, kept());
  },
  'a file that others may write': () => chmod(kept(), 0o602),
  'a folder of somebody else': () => chown(folder(), 1, 1),
  'a file of somebody else': () => chown(kept(), 1, 1),
};
test.each(Object.entries(UNTRUSTED))('nothing is run from %s', async (_, open) => {
  await keepOther();
  await open();
  expect(run()).toBe('new');
});

test('what others could write is replaced by what they cannot', async () => {
  await keepOther();
  await writeFile(`${tmp.path}/victim`, 'untouched');
  await rm(kept());
  await symlink(`${tmp.path}/victim`, kept());
  run();
  expect(await readFile(`${tmp.path}/victim`, 'utf8')).toBe('untouched');
  expect((await lstat(kept())).isFile()).toBe(true);
});

test('a pipe in its place is not waited for', async () => {
  await keepOther();
  await rm(kept());
  await execa('mkfifo', [kept()]);
  expect(run()).toBe('new');
});

test('in the home of somebody else nothing is made', async () => {
  await chown(tmp.path, 1, 1);
  await deployer({ HOME: tmp.path }, '--version');
  expect(await readdir(tmp.path)).toEqual([]);
});

test('a changed source of the same length is compiled anew, and that is kept', async () => {
  await write('old');
  run();
  const before = await readFile(kept());
  await write('new');
  expect([run(), run()]).toEqual(['new', 'new']);
  expect(await readFile(kept())).not.toEqual(before);
});

const BROKEN: Record<string, (whole: Buffer) => Buffer> = {
  'cut off by a full disk': (whole) => whole.subarray(0, whole.length - 8),
  'zeros after a power cut': (whole) => Buffer.alloc(whole.length),
  'one bit turned': (whole) =>
    whole.map((byte, at) => (at === whole.length - 40 ? byte ^ 1 : byte)) as Buffer,
  empty: () => Buffer.alloc(0),
};
test.each(Object.entries(BROKEN))('%s: it is compiled anew, and mended', async (_, harm) => {
  await keepOther();
  const whole = await readFile(kept());
  await writeFile(kept(), harm(whole));
  expect(run()).toBe('new');
  expect((await readFile(kept())).length).toBeGreaterThan(64);
});

test('a function that no earlier run called is kept, too', async () => {
  await write('new');
  const first = loader({ XDG_CACHE_HOME: `${tmp.path}/caches` });
  first.load(file());
  first.keep();
  const without = (await stat(kept())).size;
  run();
  const all = await readFile(kept());
  expect(all.length).toBeGreaterThan(without);
  const { mtimeMs } = await stat(kept());
  run();
  expect((await stat(kept())).mtimeMs).toBe(mtimeMs);
});

test('an error tells its line', async () => {
  await writeFile(file(), `exports.answer = () => {\n  throw new Error('here');\n};`);
  const { load } = loader({});
  const { answer } = load(file()) as { answer: () => void };
  expect(answer).toThrow(
    expect.objectContaining({ stack: expect.stringContaining(`${file()}:2:9`) }),
  );
});

test('files that ask for each other are loaded once', async () => {
  await writeFile(
    `${tmp.path}/b.cjs`,
    `exports.a = require('./a.cjs'); exports.join = require('node:path').join;`,
  );
  await writeFile(`${tmp.path}/a.cjs`, `exports.early = 1; exports.b = require('./b.cjs');`);
  const { load } = loader({});
  const a = load(`${tmp.path}/a.cjs`) as { b: { a: unknown; join: unknown } };
  expect(a.b.a).toBe(a);
  expect(a.b.join).toBeTypeOf('function');
});

const deployer = (env: Record<string, string>, ...words: string[]) =>
  execa('node', [BIN, ...words], {
    env: { PATH: process.env.PATH ?? '', ...env },
    extendEnv: false,
  });

test('strict mode, as in a module', async () => {
  for (const name of ['start', 'work', 'parse', 'schema', 'key-file'])
    expect(await readFile(new URL(`../dist/${name}.cjs`, import.meta.url), 'utf8')).toMatch(
      /^(\/\/.*\n)*['"]use strict['"]/,
    );
});

test('the command line keeps what it compiled in ~/.cache/deployer, and nothing where that is turned off', async () => {
  await deployer({ HOME: tmp.path, NODE_DISABLE_COMPILE_CACHE: '1' }, '--version');
  expect(await readdir(tmp.path)).toEqual([]);
  await deployer({ HOME: tmp.path }, '--version');
  expect(await readdir(`${tmp.path}/.cache/deployer`)).toContain('start.cjs');
});

test('a command that waits for nothing any more does not end as if it were done', async () => {
  await cp(fileURLToPath(new URL('../dist', import.meta.url)), `${tmp.path}/dist`, {
    recursive: true,
  });
  await writeFile(`${tmp.path}/dist/cli.cjs`, 'exports.main = () => new Promise(() => {});');
  await mkdir(`${tmp.path}/bin`);
  await copyFile(BIN, `${tmp.path}/bin/deployer.cjs`);
  const { exitCode } = await execa('node', [`${tmp.path}/bin/deployer.cjs`], { reject: false });
  expect(exitCode).toBe(13);
});

test.each([
  ['none', {}],
  ['one that cannot be written', { HOME: '/proc' }],
  ['one that is a file', { HOME: '/etc/passwd' }],
  ['a relative cache folder', { XDG_CACHE_HOME: 'caches' }],
])('a home that keeps nothing is no reason to say so: %s', async (_, env) => {
  const ran = await deployer(env, '--version');
  expect(ran).toMatchObject({ exitCode: 0, stderr: '' });
});

test('a cache folder that cannot be used is no reason to say so', async () => {
  await mkdir(`${tmp.path}/deployer/start.cjs`, { recursive: true });
  await chmod(`${tmp.path}/deployer`, 0o700);
  const ran = await deployer({ XDG_CACHE_HOME: tmp.path }, '--version');
  expect(ran).toMatchObject({ exitCode: 0, stderr: '' });
});
