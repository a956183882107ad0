import { readlink, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { BIN, exists, freePort, type Lab, lab } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { gate, said } from '../support/under-way.ts';

let world: Lab;
let dependencies: string;

beforeAll(async () => {
  world = await lab();
  dependencies = await readyEnvironment(`${world.root}/ready`, world.project);
});
afterAll(() => world?.[Symbol.asyncDispose]());

const pathOf = (site: string) => `${world.root}/srv/${site}`;
const live = async (site: string) =>
  (await readlink(`${pathOf(site)}/current`).catch(() => '')).replace('releases/', '');

/** Writes sites.yml: quick sites of this machine, with what is given besides. */
async function sites(all: Readonly<Record<string, Record<string, unknown>>>): Promise<void> {
  const entries = Object.entries(all).map(([name, changes]) => {
    const site = {
      repository: world.project.path,
      branch: 'main',
      deploy_path: pathOf(name),
      backup_path: `${world.root}/backups`,
      shared_dirs: ['data'],
      env: { SECRET_KEY: 'only for tests' },
      commands: { dependencies },
      restart: 'none',
      ...changes,
    };
    return [name, site];
  });
  await writeFile(`${world.root}/sites.yml`, stringify(Object.fromEntries(entries)));
}

interface Line {
  readonly [key: string]: unknown;
  readonly type: string;
  readonly site?: string;
}

const linesOf = (stdout: string): readonly Line[] =>
  stdout.split('\n').map((line) => JSON.parse(line));

test('one of three fails: the others are live, the table says so, exit 6', async () => {
  await sites({
    'a1.example.com': {},
    'b1.example.com': { branch: 'nowhere' },
    'c1.example.com': {},
  });
  const { exitCode, stdout, stderr } = await world.deployer('deploy_all');
  expect(exitCode).toBe(6);
  const [a = '', b = '', c = '', ...more] = stdout.split('\n');
  expect(more).toEqual([]);
  expect(a).toMatch(/^a1\.example\.com +ok +\d{8}_\d{6}_\d{3} /);
  expect(a).toContain(await live('a1.example.com'));
  expect(b).toMatch(/^b1\.example\.com +exit 1 +deploy failed in check/);
  expect(c).toMatch(/^c1\.example\.com +ok +\d{8}_\d{6}_\d{3} /);
  expect(c).toContain(await live('c1.example.com'));
  expect(await live('b1.example.com')).toBe('');
  expect(stderr).toContain('[b1.example.com]   the branches there: main');
  expect(stderr).not.toMatch(/^(?!\[[abc]1\.example\.com\] )/m);
});

test('all fail alike: their own code', async () => {
  await sites({ 'a2.example.com': { branch: 'nowhere' }, 'b2.example.com': { branch: 'nowhere' } });
  expect(await world.deployer('deploy-all')).toMatchObject({ exitCode: 1 });
});

test('--json: one event per line with type, site, time and step, a result per site, then the summary', async () => {
  await sites({ 'a3.example.com': {}, 'b3.example.com': { branch: 'nowhere' } });
  const { exitCode, stdout, stderr } = await world.deployer('deploy_all', '--json');
  expect(exitCode).toBe(6);
  expect(stderr).toBe('');
  const lines = linesOf(stdout);
  for (const { time } of lines) expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const events = lines.filter(({ type }) => !['result', 'summary', 'warned'].includes(type));
  for (const event of events) {
    expect(event).toMatchObject({ site: expect.any(String), step: expect.any(String) });
  }
  expect(lines.filter(({ type }) => type === 'result')).toEqual([
    expect.objectContaining({
      site: 'a3.example.com',
      exit: 0,
      release: await live('a3.example.com'),
      live: await live('a3.example.com'),
      commit: await world.project.head(),
    }),
    expect.objectContaining({ site: 'b3.example.com', exit: 1, live: '' }),
  ]);
  expect(lines.at(-1)).toMatchObject({
    type: 'summary',
    exit: 6,
    sites: [
      { site: 'a3.example.com', exit: 0 },
      { site: 'b3.example.com', exit: 1 },
    ],
  });
});

test('rollback_all lists a site with nothing to go back to as skipped; restart_all restarts both', async () => {
  const started = `${world.root}/restarted`;
  const hooks = { after_restart: `echo "$DEPLOYER_SITE" >>'${started.replace("'", "'\\''")}'` };
  await sites({ 'a4.example.com': {}, 'b4.example.com': {} });
  await world.deployer('deploy', 'a4.example.com');
  const first = await live('a4.example.com');
  await world.project.commitVersion('4');
  expect(await world.deployer('deploy_all')).toMatchObject({ exitCode: 0 });
  const only = await live('b4.example.com');

  const { exitCode, stdout } = await world.deployer('rollback_all', '--yes');
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(
    /^a4\.example\.com +ok .*\nb4\.example\.com +ok .*skipped: nothing to go back to$/,
  );
  expect([await live('a4.example.com'), await live('b4.example.com')]).toEqual([first, only]);
  const json = linesOf((await world.deployer('rollback_all', '--yes', '--json')).stdout);
  expect(json.at(-1)).toMatchObject({ type: 'summary', exit: 0 });

  await sites({ 'a4.example.com': { hooks }, 'b4.example.com': { hooks } });
  expect(await world.deployer('restart_all')).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^a4\.example\.com +ok .*\nb4\.example\.com +ok /),
  });
  const { stdout: restarted } = await execa('sort', [started]);
  expect(restarted).toBe('a4.example.com\nb4.example.com');
});

test('unlock_all frees what is locked, by force what is held', async () => {
  await using held = gate(world.root);
  await sites({ 'a5.example.com': {}, 'b5.example.com': { hooks: { before_code: held.hook } } });
  await world.deployer('deploy', 'a5.example.com');
  await writeFile(`${pathOf('a5.example.com')}/.deploy.lock`, 'By: bob@laptop\n');
  const holder = world.start('deploy', 'b5.example.com', '--verbose');
  await said(holder, held.word);

  const { exitCode, stdout, stderr } = await world.deployer('unlock_all', '--yes');
  expect(exitCode).toBe(6);
  expect(stdout).toMatch(/^a5\.example\.com +ok .*unlocked\nb5\.example\.com +exit 3 .*locked/);
  expect(stderr).toContain('By: bob@laptop');
  expect(await exists(`${pathOf('a5.example.com')}/.deploy.lock`)).toBe(false);

  expect(await world.deployer('unlock_all', '--yes', '--force')).toMatchObject({ exitCode: 0 });
  expect(await holder).toMatchObject({ exitCode: 1 });
  expect(await exists(`${pathOf('b5.example.com')}/.deploy.lock`)).toBe(false);
});

const elsewhere = {
  'a6.example.com': {},
  'b6.example.com': { host: 'web1.invalid' },
  'c6.example.com': { runner: 'docker', docker_container: 'shop' },
};

test('a host that is not reached, or a container, fails alone, and --runner leaves it out', async () => {
  await sites(elsewhere);
  const all = await world.deployer('deploy_all');
  expect(all.exitCode).toBe(6);
  expect(all.stdout).toMatch(
    /^a6\.example\.com +ok .*\nb6\.example\.com +exit 4 +web1\.invalid: no address is found for this name\nc6\.example\.com +exit 4 +.*(container shop|Docker engine).*$/,
  );
  const local = await world.deployer('deploy_all', '--runner=local');
  expect(local).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^a6\.example\.com .*$/),
  });
  expect(await world.deployer('deploy_all', '--runner=ssh')).toMatchObject({ exitCode: 4 });
});

test('sites of a host that refuses fail one by one, and a site that takes longer goes on', async () => {
  const port = await freePort();
  const refused = Object.fromEntries(
    ['b8', 'c8', 'd8', 'e8'].map((name) => [
      `${name}.example.com`,
      { host: '127.0.0.1', port, runner: 'ssh' },
    ]),
  );
  await sites({ 'a8.example.com': { hooks: { before_check: 'sleep 3' } }, ...refused });
  const all = await world.deployer('deploy_all');
  expect(all.exitCode, all.stderr).toBe(6);
  expect(all.stdout).toMatch(/^a8\.example\.com +ok /);
  expect(all.stdout.match(/exit 4 .*the connection is refused/g)).toHaveLength(4);
});

test.each([
  ['-H', ['-H', 'web1.invalid'], {}],
  ['DEPLOYER_HOST', [], { DEPLOYER_HOST: 'web1.invalid' }],
])(
  '%s: where that host is not reached, nothing is deployed here',
  async (_, options, variables) => {
    await sites({ 'a7.example.com': {}, 'b7.example.com': {} });
    const run = (...words: readonly string[]) =>
      execa(process.execPath, [BIN, ...words, ...options], {
        cwd: world.root,
        env: { ...variables },
        reject: false,
      });
    const one = await run('deploy', 'a7.example.com');
    expect(one.exitCode).toBe(4);
    expect(one.stdout).toBe('');
    expect(one.stderr).toContain('a7.example.com: web1.invalid: no address is found for this name');
    expect(await run('deploy_all')).toMatchObject({ exitCode: 4 });
    expect(await exists(pathOf('a7.example.com'))).toBe(false);
    expect(await exists(pathOf('b7.example.com'))).toBe(false);
  },
);
