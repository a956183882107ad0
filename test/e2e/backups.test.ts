import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BIN, exists, type Lab, lab, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { tmpFolder } from '../support/tmp.ts';
import { gate, said } from '../support/under-way.ts';

let world: Lab;
let settings: Record<string, unknown>;
let ids: string[];

beforeAll(async () => {
  world = await lab();
  const dependencies = await readyEnvironment(`${world.root}/ready`, world.project);
  settings = { commands: { dependencies }, restart: 'none' };
  await world.configure(settings);
  expect(await world.deployer('backups', SITE)).toMatchObject({
    exitCode: 0,
    stdout: '',
    stderr: expect.stringContaining('no backups in '),
  });
  ids = [];
  for (let count = 0; count < 3; count++) {
    await world.deployer('deploy', SITE);
    ids.push(await world.live());
  }
  await writeFile(`${world.root}/backups/other.example.com_${ids[0]}.tar.gz`, '');
  await writeFile(`${world.root}/backups/.${SITE}_${ids[0]}.tar.gz.part`, '');
});
afterAll(() => world?.[Symbol.asyncDispose]());

const nameOf = (id: string | undefined) => `${SITE}_${id}.tar.gz`;
const made = (name: string) => `${world.root}/backups/${name}`;

/** Runs in a folder of its own. */
async function runIn(cwd: string, ...words: readonly string[]) {
  const { exitCode, stdout, stderr } = await execa(
    process.execPath,
    [BIN, 'backups', SITE, '--config', `${world.root}/sites.yml`, ...words],
    { cwd, reject: false, stdin: 'ignore' },
  );
  return { exitCode, stdout, stderr };
}

/** A file of random bytes in a sound archive, packed without being made smaller. */
async function bigBackup(name: string, megabytes: number): Promise<void> {
  await using folder = await tmpFolder();
  await mkdir(`${folder.path}/big`);
  const pack =
    'import sys,tarfile; t = tarfile.open(sys.argv[1], "w:gz", compresslevel=0); t.add("big"); t.close()';
  const make = `head -c ${megabytes}000000 /dev/urandom >big/file; exec python3 -c '${pack}' "$1"`;
  await execa('sh', ['-c', make, 'sh', made(name)], { cwd: folder.path });
}

test('the list: ours alone, the newest last, each with the release that it holds', async () => {
  const { exitCode, stdout, stderr } = await world.deployer('backups', SITE);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const lines = stdout.split('\n').map((line) => line.split(/ {2,}/));
  expect(lines).toEqual([
    [
      nameOf(ids[1]),
      `holds ${ids[0]}`,
      expect.stringMatching(/^[\d.]+ k?B$/),
      expect.stringMatching(/ UTC$/),
    ],
    [
      nameOf(ids[2]),
      `holds ${ids[1]}`,
      expect.stringMatching(/^[\d.]+ k?B$/),
      expect.stringMatching(/ UTC$/),
    ],
  ]);
  const json = (await world.deployer('backups', `--site=${SITE}`, '--json')).stdout;
  expect(json.split('\n').map((line) => JSON.parse(line))[1]).toEqual({
    type: 'backup',
    site: SITE,
    name: nameOf(ids[2]),
    made_by: ids[2],
    holds: ids[1],
    size: (await stat(made(nameOf(ids[2])))).size,
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
  });
});

test('--get brings one here, whole and private, also while a deploy holds the lock; nothing changes there', async () => {
  await using here = await tmpFolder();
  await using held = gate(world.root);
  await world.configure({ ...settings, hooks: { after_code: held.hook } });
  const holder = world.start('deploy', SITE, '--verbose');
  await said(holder, held.word);
  await world.configure(settings);
  const stamps = async () =>
    (await execa('find', [world.site, `${world.root}/backups`, '-printf', '%p %m %s %T@ %C@\n']))
      .stdout;
  const before = await stamps();
  const name = nameOf(ids[2]);
  expect(await runIn(here.path, '--get', name)).toEqual({
    exitCode: 0,
    stdout: `${here.path}/${name}`,
    stderr: '',
  });
  expect(await stamps()).toBe(before);
  expect(await readFile(`${here.path}/${name}`)).toEqual(await readFile(made(name)));
  expect((await stat(`${here.path}/${name}`)).mode & 0o777).toBe(0o600);
  expect(await readdir(here.path)).toEqual([name]);
  holder.kill('SIGINT');
  await holder;
});

test('what is here already is not overwritten', async () => {
  await using here = await tmpFolder();
  const name = nameOf(ids[2]);
  await writeFile(`${here.path}/${name}`, 'mine');
  const { exitCode, stdout, stderr } = await runIn(here.path, '--get', name);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain('is there already: it is not overwritten');
  expect(await readFile(`${here.path}/${name}`, 'utf8')).toBe('mine');
});

test('a name that is none: exit 2, and the nearest; a path is refused', async () => {
  await using here = await tmpFolder();
  const typo = await runIn(here.path, '--get', nameOf(ids[2]).replace('www', 'wwv'));
  expect(typo).toMatchObject({ exitCode: 2, stdout: '' });
  expect(typo.stderr).toContain(`did you mean ${nameOf(ids[2])}?`);
  const release = await runIn(here.path, '--get', ids[1] as string);
  expect(release.stderr).toContain(`did you mean ${nameOf(ids[1])}?`);
  for (const name of [
    `../backups/${nameOf(ids[2])}`,
    made(nameOf(ids[2])),
    '',
    `other.example.com_${ids[0]}.tar.gz`,
  ])
    expect(await runIn(here.path, '--get', name)).toMatchObject({ exitCode: 2, stdout: '' });
  expect(await readdir(here.path)).toEqual([]);
});

test.each([
  ['cut short', 'head -c -300 "$1" >"$2"'],
  ['cut at the end of a block, then packed', 'gzip -dc <"$1" | head -c 2048 | gzip >"$2"'],
  [
    'with other bytes in it',
    'cp "$1" "$2"; printf XXXXXXXX | dd of="$2" bs=1 seek=400 conv=notrunc status=none',
  ],
  ['empty', ': >"$2"'],
  ['no archive', 'echo hello | gzip >"$2"'],
])(
  'an archive that is %s is not called whole: exit 1, and nothing is kept',
  async (what, spoil) => {
    await using here = await tmpFolder();
    const name = nameOf(`20200101_000000_${String(100 + what.length)}`);
    await execa('sh', ['-c', spoil, 'sh', made(nameOf(ids[2])), made(name)]);
    const { exitCode, stdout, stderr } = await runIn(here.path, '--get', name);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain(`${name} cannot be read through to its end: `);
    expect(await readdir(here.path)).toEqual([]);
  },
);

/** A Python that is found before the real one, and stands between us and the program. */
async function pythonThat(does: string): Promise<{ readonly PATH: string }> {
  const folder = `${world.root}/python-${does.length}`;
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/python3`, `#!/bin/sh\n${does}\n`, { mode: 0o755 });
  return { PATH: `${folder}:${process.env.PATH}` };
}

test('a transfer that is cut: exit 1, and nothing is kept', async () => {
  await using here = await tmpFolder();
  const name = nameOf('20200101_000000_001');
  await bigBackup(name, 3);
  const env = await pythonThat('/usr/bin/python3 "$@" | head -c 2000000');
  const words = [BIN, 'backups', SITE, '--config', `${world.root}/sites.yml`, '--get', name];
  const ran = await execa(process.execPath, words, { cwd: here.path, env, reject: false });
  expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
  expect(ran.stderr).toContain('the target stopped before its answer was whole');
  expect(await readdir(here.path)).toEqual([]);
});

test('Ctrl-C: exit 130, and nothing is kept', async () => {
  await using here = await tmpFolder();
  const name = nameOf('20200101_000000_002');
  await bigBackup(name, 3);
  const env = await pythonThat(
    'exec 3<&0; /usr/bin/python3 "$@" <&3 | { head -c 1000000; exec cat <&3 >/dev/null; }',
  );
  const words = [BIN, 'backups', SITE, '--config', `${world.root}/sites.yml`, '--get', name];
  const client = execa(process.execPath, words, { cwd: here.path, env, reject: false });
  while (!(await readdir(here.path)).some((each) => each.endsWith('.part')))
    await new Promise((resolve) => setTimeout(resolve, 20));
  client.kill('SIGINT');
  expect(await client).toMatchObject({ exitCode: 130, stdout: '' });
  expect(await readdir(here.path)).toEqual([]);
});

test('200 MB pass through in little memory', async () => {
  await using here = await tmpFolder();
  const name = nameOf('20200101_000000_003');
  await bigBackup(name, 200);
  const measured = `process.on('exit', () => console.error('peak', process.resourceUsage().maxRSS))`;
  await writeFile(`${here.path}/measure.mjs`, measured);
  const words = ['--import', './measure.mjs', BIN, 'backups', SITE];
  const { exitCode, stderr } = await execa(
    process.execPath,
    [...words, '--config', `${world.root}/sites.yml`, '--get', name],
    { cwd: here.path, reject: false },
  );
  expect(exitCode).toBe(0);
  expect(Number(/peak (\d+)/.exec(stderr)?.[1])).toBeLessThan(170_000);
  expect((await stat(`${here.path}/${name}`)).size).toBe((await stat(made(name))).size);
  expect(await exists(`${here.path}/${name}`)).toBe(true);
}, 120_000);
