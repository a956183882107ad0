import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { execa, execaSync } from 'execa';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { databaseOf } from '../support/database.ts';
import { type Lab, lab, type Ran, SITE } from '../support/lab.ts';
import { type Address, get, requestLoop, type Seen } from '../support/request-loop.ts';
import { treeOf } from '../support/tree.ts';

let world: Lab;
let address: Address;

beforeAll(async () => {
  world = await lab();
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
  ({ address } = await world.serve());
});
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(async ({ onTestFailed }) => {
  const good = await world.project.head();
  onTestFailed(async () => {
    await world.configure({});
    await execa('git', ['reset', '--quiet', '--hard', good], { cwd: world.project.path });
  });
});

/** Deploys what cannot go well, while the site is asked all the time. */
async function deployed(): Promise<{ readonly ran: Ran; readonly seen: Seen }> {
  const loop = requestLoop(address, 1, 5);
  const ran = await world.deployer('deploy', SITE);
  return { ran, seen: await loop.stop() };
}

interface Expected {
  readonly step: string;
  readonly says: readonly (string | RegExp)[];
  /** A migration that stays, by name: exit code 5. */
  readonly stays?: string;
}

/** A deploy of what the repository and sites.yml say now fails, and nobody who looks at the site can tell. */
async function failsUnseen(expected: Expected): Promise<Ran> {
  const before = await state();
  const { ran, seen } = await deployed();

  expectFailure(ran, before, expected);
  expect(seen.failures).toEqual([]);
  expect([...seen.versions.keys()]).toEqual([before.version]);
  const { database, ...rest } = await state();
  const { database: databaseBefore, ...restBefore } = before;
  expect(rest).toEqual(restBefore);
  if (expected.stays === undefined) expect(database).toBe(databaseBefore);
  else expect(database).toContain(expected.stays);
  return ran;
}

function expectFailure(ran: Ran, before: State, { step, says, stays }: Expected): void {
  expect(ran).toMatchObject({ exitCode: stays === undefined ? 1 : 5, stdout: '' });
  expect(ran.stderr).toContain(`deploy failed in ${step}`);
  for (const text of says) {
    if (typeof text === 'string') expect(ran.stderr).toContain(text);
    else expect(ran.stderr).toMatch(text);
  }
  expect(ran.stderr).toContain(`live now: ${before.live}, as before`);
  if (stays === undefined) {
    expect(ran.stderr).not.toContain('not undone');
  } else {
    expect(ran.stderr).toContain(`not undone: migrate: migrations stay in the database: guestbook`);
    expect(ran.stderr).toContain(stays);
    expect(ran.stderr).toMatch(
      /to do: the next deploy goes on from here; to reverse by hand, .*: python manage.py migrate guestbook \d{4}_/,
    );
    const [, archive = 'false'] = /the code of this deploy \((.*) \| tar/.exec(ran.stderr) ?? [];
    const names = execaSync('sh', ['-c', `${archive} | tar -t`]).stdout.split('\n');
    expect(names).toContain('manage.py');
  }
}

type State = Awaited<ReturnType<typeof state>>;

async function state() {
  return {
    version: await version(),
    live: await world.live(),
    tree: await treeOf(world.site, ['.deployer', 'db.sqlite3', '__pycache__']),
    backups: await readdir(`${world.root}/backups`).catch(() => []),
    environments: await readdir(`${world.site}/.deployer/environments`),
    database: await databaseOf(`${world.site}/shared/data/db.sqlite3`),
  };
}

const version = async () => JSON.parse((await get(address, '/version')).body).version as string;

/** The next version goes live. */
async function goesOn(): Promise<void> {
  await world.configure({});
  const next = String(Number(await version()) + 1);
  await world.project.commitVersion(next);
  expect(await world.deployer('deploy', SITE)).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('proven to be served'),
  });
  expect(await version()).toBe(next);
  expect(await get(address, '/')).toMatchObject({ status: 200 });
}

async function goesOnAfterRevert(): Promise<void> {
  await world.project.revert();
  await goesOn();
}

const appended = async (file: string, text: string) =>
  world.project.commit(`Append to ${file}`, {
    [file]: (await readFile(join(world.project.path, file), 'utf8')) + text,
  });

test('a syntax error in urls.py', async () => {
  await world.project.breakUrls();
  await failsUnseen({
    step: 'validate',
    says: [/SyntaxError: .*never closed \(urls.py, line \d+/],
  });
  await goesOnAfterRevert();
});

test('views that answer 500', async () => {
  await world.project.breakViews();
  await failsUnseen({
    step: 'activate',
    says: [
      'the new release answers / with 500: RuntimeError: broken on purpose (config/urls.py line 5)',
      /\| RuntimeError: broken on purpose/,
    ],
  });
  await goesOnAfterRevert();
});

test('a requirement that cannot be installed', async () => {
  await world.project.addUninstallableRequirement();
  await failsUnseen({
    step: 'dependencies: pip could not install requirements.txt',
    says: [/\| ERROR: No matching distribution found for no-such-thing-anywhere==1/],
  });
  await goesOnAfterRevert();
});

test('of two migrations the second fails: the first is reversed', async () => {
  await world.project.addFailingMigration();
  await failsUnseen({
    step: 'migrate: guestbook.',
    says: [/_fails failed: OperationalError: no such table: nowhere, and undone/],
  });
  await goesOnAfterRevert();
});

test('collectstatic fails', async () => {
  await world.project.breakCollectstatic();
  await failsUnseen({ step: 'static', says: [/\| .*nowhere\.png/] });
  await goesOnAfterRevert();
});

test('collectstatic fails after a migration that only adds: it is reversed', async () => {
  await world.project.addMigration();
  await world.project.breakCollectstatic();
  await failsUnseen({ step: 'static', says: [/nowhere\.png/] });
  await goesOnAfterRevert();
});

test('collectstatic fails after a migration that drops a field: it stays, and is named', async () => {
  await world.project.addRemoveFieldMigration();
  await world.project.breakCollectstatic();
  await failsUnseen({
    step: 'static',
    says: ['act now', 'Remove field written from entry: not a pure addition', /nowhere\.png/],
    stays: '_dropped',
  });
  await goesOnAfterRevert();
});

test('a hook after the migrations fails: they are reversed', async () => {
  await world.project.addMigration();
  await world.configure({
    hooks: { after_migrate: 'echo seeding; echo no such seed >&2; exit 3' },
  });
  await failsUnseen({
    step: 'migrate: the hook after_migrate failed',
    says: [/\| seeding/, /\| no such seed/],
  });
  await goesOn();
});

test('a release that boots anywhere but under Gunicorn is refused before the switch', async () => {
  await appended(
    'config/settings.py',
    `import sys\nif ${UNDER_GUNICORN}:\n    raise OSError("only under Gunicorn")\n`,
  );
  await failsUnseen({
    step: 'activate: gunicorn --check-config fails in the new release',
    says: ['OSError: only under Gunicorn'],
  });
  await goesOnAfterRevert();
});

test('a release that only a real worker cannot boot ends the server: said, with the command that starts it again', async () => {
  const before = await state();
  await appended(
    'config/settings.py',
    `import sys\nif ${UNDER_GUNICORN} and "--check-config" not in sys.argv:\n    raise OSError("only in a worker")\n`,
  );
  const ran = await world.deployer('deploy', SITE);
  expect(ran).toMatchObject({ exitCode: 5, stdout: '' });
  expect(ran.stderr).toMatch(/deploy failed in restart: the server is down: .*, and NOT wholly/);
  expect(ran.stderr).toContain(`current points to: ${before.live}; what is served is not known`);

  await startedAgain(/^ *to do: Start it with: (.*)$/m.exec(ran.stderr)?.[1] as string);
  // the failed release stays while nobody knows what is served, until the next good deploy
  const [failed] = (await world.releases()).slice(-1);
  expect({ ...(await state()), tree: undefined }).toEqual({ ...before, tree: undefined });
  expect(failed).not.toBe(before.live);
  await goesOnAfterRevert();
  expect(await world.releases()).not.toContain(failed);
});

/** Runs the command as a person would who reads it; the lab stops this server as it would the first. */
async function startedAgain(command: string): Promise<void> {
  const server = execa('sh', ['-c', `exec ${command}`], {
    cwd: world.root,
    env: { PATH: '/usr/bin:/bin', HOME: world.root, SECRET_KEY: 'only for tests' },
    extendEnv: false,
    reject: false,
    stdio: ['ignore', 'ignore', { file: `${world.root}/gunicorn.log`, append: true }],
  });
  while (server.exitCode === null && !(await answers())) await pause(50);
  expect(server.exitCode).toBe(null);
}

const answers = (): Promise<boolean> => version().then(Boolean, () => false);

test('a health check that only the server fails: switched back', async () => {
  await world.configure({ health_check: HEALTH_CHECK });
  await appended('guestbook/views.py', ILL_UNDER_GUNICORN);
  const before = await state();
  const { ran, seen } = await deployed();
  expectFailure(ran, before, {
    step: 'restart: the health check failed: /health at http://127.0.0.1:',
    says: ['500, wanted 200-399'],
  });
  expect(seen.failures).toEqual([]);
  expect(await state()).toEqual(before);
  await goesOnAfterRevert();
});

test('a health check that only the server fails, after a migration: switched back, and the migration is named', async () => {
  await world.configure({ health_check: HEALTH_CHECK });
  await world.project.addMigration();
  await appended('guestbook/views.py', ILL_UNDER_GUNICORN);
  const before = await state();
  const { ran, seen } = await deployed();
  expectFailure(ran, before, {
    step: 'restart: the health check failed: /health at http://127.0.0.1:',
    says: ['the new release was live already, and data may be in them'],
    stays: '_added_',
  });
  expect(seen.failures).toEqual([]);
  expect(await state()).toEqual({
    ...before,
    database: expect.not.stringMatching(before.database),
  });
  await goesOnAfterRevert();
});

test('a shared file that is missing: the command that is shown puts it there', async () => {
  await world.configure({ shared_files: ['conf/local.ini'] });
  const ran = await failsUnseen({
    step: 'check',
    says: [`the shared file ${world.site}/shared/conf/local.ini is missing`, 'nothing was changed'],
  });
  const command = /^ *(mkdir -p .* && cp conf\/local.ini .*)$/m.exec(ran.stderr)?.[1] as string;
  await mkdir(`${world.root}/conf`);
  await writeFile(`${world.root}/conf/local.ini`, 'debug = no\n');
  await execa('sh', ['-c', command], { cwd: world.root });
  expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
  expect(await readFile(`${world.site}/current/conf/local.ini`, 'utf8')).toBe('debug = no\n');
});

test('several problems are all listed at once', async () => {
  await writeFile(`${world.root}/a file`, '');
  await world.configure({
    branch: 'mian',
    python: '/nowhere/python3',
    backup_path: `${world.root}/a file`,
    shared_files: ['.env.local'],
  });
  await failsUnseen({
    step: 'check: 4 problems',
    says: [
      /has no branch, tag or commit mian\n.*the branches there: main/,
      /- the Python interpreter \/nowhere\/python3 is not installed\n.*apt-get install/,
      `- ${world.root}/a file is no folder`,
      `- the shared file ${world.site}/shared/.env.local is missing`,
    ],
  });
  await goesOn();
});

const UNDER_GUNICORN = '"gunicorn" in sys.argv[0]';
const HEALTH_CHECK = { path: '/health', retries: 1, interval: 0.1, timeout: 5 };
const ILL_UNDER_GUNICORN = `

import sys

if ${UNDER_GUNICORN}:

    def health(request):
        return HttpResponse("ill\\n", status=500)
`;
