import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Lab, lab, type Ran, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { type Gate, gate, lockFree, said } from '../support/under-way.ts';

const ME = `${userInfo().username}@${hostname()}`;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

let world: Lab;
let settings: Record<string, unknown>;

beforeAll(async () => {
  world = await lab();
  const dependencies = await readyEnvironment(`${world.root}/ready`, world.project);
  settings = { commands: { dependencies }, restart: 'none' };
  await world.configure(settings);
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Every path of the site with its mode, size and the times of its last change. */
async function stamps(): Promise<string> {
  const format = '%p %y %m %s %T@ %C@ %l\n';
  const { stdout } = await execa(
    'find',
    [`${world.root}/srv`, `${world.root}/backups`, '-printf', format],
    {
      reject: false,
    },
  );
  return stdout;
}

/** What `status` says, and that it left everything as it was. */
async function told(): Promise<{ readonly text: string; readonly json: Record<string, unknown> }> {
  const before = await stamps();
  const [text, json] = await Promise.all([
    world.deployer('status', SITE),
    world.deployer('status', `--site=${SITE}`, '--json'),
  ]);
  expect(await stamps()).toBe(before);
  expect([text, json]).toMatchObject([
    { exitCode: 0, stderr: '' },
    { exitCode: 0, stderr: '' },
  ]);
  return { text: text.stdout, json: JSON.parse(json.stdout) };
}

/** The live release of a site that is well, with no hooks to come. */
async function deployed(): Promise<string> {
  await world.configure(settings);
  if ((await world.live()) === '') idOf(await world.deployer('deploy', SITE));
  return world.live();
}

function idOf(ran: Ran): string {
  expect(ran).toMatchObject({ exitCode: 0 });
  return ran.stdout.split(' ')[1] as string;
}

/** A deploy that is held by a hook; the hooks are gone for whatever comes after it. */
async function deployHeldAt(hook: string, held: Gate) {
  await world.configure({ ...settings, hooks: { [hook]: held.hook } });
  const holder = world.start('deploy', SITE, '--verbose');
  await said(holder, held.word);
  await world.configure(settings);
  return { holder };
}

const sessionPid = async () =>
  Number(/^Pid: (\d+)/m.exec(await readFile(`${world.site}/.deploy.lock`, 'utf8'))?.[1]);

test('from nothing to a deploy, another, a rollback and a deploy that failed', async () => {
  await rm(`${world.root}/srv`, { recursive: true, force: true });
  await world.configure(settings);
  const nothing = await told();
  expect(nothing.json).toMatchObject({ live: '', rollback: null, lock: null, last_run: null });
  expect(nothing.text).toMatch(/live +nothing\n(.*\n)*.*problem +.*\/srv\/.* is not there/);

  const first = idOf(await world.deployer('deploy', SITE));
  const afterFirst = await told();
  expect(afterFirst.json).toMatchObject({
    type: 'status',
    site: SITE,
    target: 'local',
    exit: 0,
    live: first,
    commit: await world.project.head(),
    by: ME,
    since: expect.stringMatching(TIME),
    state: 'good',
    rollback: null,
    lock: null,
    last_run: { run: first, kind: 'deploy', by: ME, ending: 'done', served: false, release: first },
    unsettled: [],
    problems: [],
  });
  expect(afterFirst.text).toMatch(
    new RegExp(
      [
        `^${SITE} \\(local\\)`,
        `  live      ${first}, commit ${await world.project.head()}`,
        `  since     \\S+ \\S+ UTC, \\d+ s ago, by ${ME}`,
        '  rollback  nothing to go back to',
        '  lock      free',
        `  last run  deploy by ${ME}: ok, not proven to be served, \\S+ \\S+ UTC, \\d+ s ago$`,
      ].join('\n'),
    ),
  );

  const commit = await world.project.head();
  await world.project.commitVersion('2');
  const second = idOf(await world.deployer('deploy', SITE));
  expect((await told()).json).toMatchObject({
    live: second,
    commit: await world.project.head(),
    rollback: { release: first, commit },
    last_run: { run: second, ending: 'done' },
  });

  const switchByHand = (release: string) =>
    execa('ln', ['-sfn', `releases/${release}`, `${world.site}/current`]);
  await switchByHand(first);
  expect((await told()).json).toMatchObject({ live: first, state: 'good', by: '' });
  await switchByHand(second);
  expect((await told()).json).toMatchObject({ live: second, state: 'good', by: ME });

  expect(idOf(await world.deployer('rollback', SITE))).toBe(first);
  const back = await told();
  expect(back.json).toMatchObject({
    live: first,
    commit,
    state: 'good',
    rollback: null,
    last_run: { kind: 'rollback', ending: 'done', release: first },
  });
  expect(back.text).toMatch(/last run +rollback by .*: ok/);

  await world.configure({ ...settings, hooks: { before_static: 'false' } });
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 1 });
  const failed = await told();
  expect(failed.json).toMatchObject({
    live: first,
    last_run: {
      kind: 'deploy',
      ending: 'undone',
      failed_step: 'static',
      ended: expect.stringMatching(TIME),
    },
  });
  expect(failed.text).toMatch(
    /last run +deploy by .*: failed in static, and undone, .* ago\n +log +\/.*\.log$/,
  );
});

test('while a deploy runs: who, in which step, for how long', async () => {
  const live = await deployed();
  await using held = gate(world.root);
  const { holder } = await deployHeldAt('after_code', held);
  const { json, text } = await told();
  expect(json).toMatchObject({
    live,
    lock: {
      held: true,
      by: ME,
      step: 'code',
      pid: await sessionPid(),
      command: `deployer deploy ${SITE} --verbose`,
    },
    last_run: { ending: 'running', kind: 'deploy', step: 'code', client_gone: '' },
    unsettled: [],
  });
  expect(text).toMatch(
    new RegExp(
      `lock +held by ${ME} \\(deployer deploy ${SITE} --verbose\\), in code for \\d+ s, since .* ago`,
    ),
  );
  expect(text).toMatch(/last run +deploy by .*: under way, in code for \d+ s/);
  await rm(`${world.site}/.deploy.lock`);
  const unnamed = await told();
  expect(unnamed.json).toMatchObject({
    lock: { held: true, by: '' },
    last_run: { ending: 'running' },
  });
  expect(unnamed.text).toMatch(/lock +held by process \d+/);
  await held.open();
  expect(await holder).toMatchObject({ exitCode: 0 });
  expect((await told()).json).toMatchObject({ lock: null, last_run: { ending: 'done' } });
});

test('a deploy that stands between the switch and its proof is live and not called good', async () => {
  const before = await deployed();
  await using held = gate(world.root);
  const { holder } = await deployHeldAt('before_restart', held);
  const { json, text } = await told();
  expect(json).toMatchObject({
    state: 'unproven',
    by: '',
    last_run: { ending: 'running', step: 'restart' },
  });
  expect(json.live).toBe(await world.live());
  expect(json.live).not.toBe(before);
  expect(text).toContain('not proven (yet)');
  await held.open();
  await holder;
});

test('the client was killed: the deploy that undid itself says so', async () => {
  const live = await deployed();
  await using held = gate(world.root);
  const { holder } = await deployHeldAt('after_migrate', held);
  holder.kill('SIGKILL');
  await holder;
  await held.open();
  await lockFree(world.site);
  const { json, text } = await told();
  expect(json).toMatchObject({
    live,
    lock: null,
    last_run: { ending: 'undone', failed_step: 'migrate', client_gone: expect.any(String) },
  });
  expect(text).toMatch(/: stopped, since its client was gone \([a-z ]+\), in migrate, and undone/);
});

test('Ctrl-C is told from a failure', async () => {
  await deployed();
  await using held = gate(world.root);
  const { holder } = await deployHeldAt('after_code', held);
  holder.kill('SIGINT');
  expect(await holder).toMatchObject({ exitCode: 130 });
  expect((await told()).text).toMatch(/: stopped by its client in code, and undone/);
});

test('the session was killed: which run died where, and who settles it; then who did', async () => {
  const live = await deployed();
  await using held = gate(world.root);
  const { holder } = await deployHeldAt('after_code', held);
  process.kill(await sessionPid(), 'SIGKILL');
  const ended = await holder;
  expect(ended).toMatchObject({ exitCode: 7 });
  expect(ended.stderr).toContain(`deployer status ${SITE}`);
  const { json, text } = await told();
  const run = (json.last_run as { readonly run: string }).run;
  expect(json).toMatchObject({
    live,
    lock: { held: false, by: ME },
    last_run: { ending: 'died', reached: 'code', kind: 'deploy', by: ME, served: false },
    unsettled: [run],
  });
  expect(text).toMatch(/lock +free; \.deploy\.lock was left by /);
  expect(text).toMatch(
    /last run +deploy by .*: died in code: the next deploy, rollback, restart or unlock settles it/,
  );

  await held.open();
  expect(await world.deployer('unlock', SITE)).toMatchObject({ exitCode: 0 });
  const settled = await told();
  expect(settled.json).toMatchObject({
    live,
    lock: null,
    last_run: { run, ending: 'undone', settled_by: `unlock ${ME}` },
    unsettled: [],
  });
  expect(settled.text).toMatch(/: died in code, and undone, settled by the unlock/);
});

test('while another settles a run that died: who holds the lock, and for which run', async () => {
  await deployed();
  await using held = gate(world.root);
  const { holder } = await deployHeldAt('after_migrate', held);
  process.kill(await sessionPid(), 'SIGKILL');
  await holder;
  const next = world.start('deploy', SITE);
  await said(next, 'settling');
  const { json, text } = await told();
  const run = (json.last_run as { readonly run: string }).run;
  expect(json).toMatchObject({
    lock: {
      held: true,
      pid: await sessionPid(),
      by: ME,
      command: 'deploy',
      settles: run,
      step: 'migrate',
    },
    last_run: { ending: 'running', step: 'migrate' },
  });
  expect(text).toMatch(
    new RegExp(`lock +held by ${ME} \\(deploy, which first settles the run ${run}\\), in migrate`),
  );
  expect(text).toMatch(
    /last run +deploy by .*: it died, and is being settled: in migrate for \d+ s/,
  );
  await held.open();
  expect(await next).toMatchObject({ exitCode: 0 });
  expect((await told()).json).toMatchObject({ lock: null, last_run: { ending: 'done' } });
});

test('a deploy that could not be undone: act now, and what stays', async () => {
  await deployed();
  await world.project.addRemoveFieldMigration();
  await world.configure({ ...settings, hooks: { before_static: 'false' } });
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 5 });
  await world.project.revert();
  const { json, text } = await told();
  expect(json).toMatchObject({
    last_run: { ending: 'stuck', failed_step: 'static', not_undone: ['migrate'] },
  });
  expect(text).toContain('failed in static, and NOT wholly undone: act now (not undone: migrate)');
});

test('a site that somebody else made, whatever its current is', async () => {
  await rm(`${world.root}/srv`, { recursive: true, force: true });
  await mkdir(`${world.site}/releases/20200101120000`, { recursive: true });
  await world.configure(settings);
  expect((await told()).text).toMatch(/live +nothing\n/);

  await symlink(`${world.site}/releases/20200101120000`, `${world.site}/current`);
  await writeFile(`${world.site}/releases/20200101120000/REVISION`, `${'ab'.repeat(20)}\n`);
  const theirs = await told();
  expect(theirs.json).toMatchObject({
    live: '20200101120000',
    commit: 'ab'.repeat(20),
    state: 'foreign',
    by: '',
    since: expect.stringMatching(TIME),
    rollback: null,
    last_run: null,
    problems: [],
  });
  expect(theirs.text).toContain('not made by deployer');

  for (const [target, problem] of [
    ['releases/gone', /current leads to releases\/gone, which is not there/],
    [world.root, /current leads to .*, which is no release in releases\//],
    [undefined, /current is no link to a release/],
  ] as const) {
    await rm(`${world.site}/current`);
    if (target === undefined) await mkdir(`${world.site}/current`);
    else await symlink(target, `${world.site}/current`);
    const { json } = await told();
    expect(json).toMatchObject({ live: '', problems: [expect.stringMatching(problem)] });
  }
  await rm(world.site, { recursive: true });
});

test('without a site: each of them, in their order; one that cannot be asked stops no other', async () => {
  const live = await deployed();
  const text = await readFile(`${world.root}/sites.yml`, 'utf8');
  const far = `ssh.example.com:
  {repository: /x.git, deploy_path: /srv/x, backup_path: /srv/b, runner: docker, docker_container: none}\n`;
  await writeFile(`${world.root}/sites.yml`, `${far}${text}`);
  const { exitCode, stdout, stderr } = await world.deployer('status');
  expect(exitCode).toBe(6);
  expect(stdout).toMatch(
    new RegExp(
      `^ssh\\.example\\.com \\(docker none\\)\n  not known: exit \\d\n\n${SITE} \\(local\\)\n  live +${live}`,
    ),
  );
  expect(stderr).toMatch(/^ssh\.example\.com: /);
  const json = (await world.deployer('status', '--json')).stdout
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(json).toMatchObject([
    { type: 'status', site: 'ssh.example.com', error: expect.any(String) },
    { type: 'status', site: SITE, exit: 0, live },
  ]);
  await world.configure(settings);
});

test('no secret and no terminal escape is shown', async () => {
  await deployed();
  const secret = 'hunter2-hunter2';
  await world.configure({ ...settings, env: { SECRET_KEY: 'only for tests', API_TOKEN: secret } });
  await writeFile(
    `${world.site}/.deploy.lock`,
    `By: \x1b[31mbob\nCommand: x --token ${secret} https://u:pw@h/\nSince: 2026-01-01T00:00:00Z\n`,
  );
  const { text, json } = await told();
  expect(text).toContain('left by \\x1b[31mbob');
  for (const shown of [text, JSON.stringify(json)]) expect(shown).not.toMatch(/hunter2|u:pw/);
  expect(text).not.toContain('\x1b');
  expect(json).toMatchObject({ lock: { command: 'x --token *** https://***@h/' } });
});
