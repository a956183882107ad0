import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BACKUPS_PROGRAM } from '../src/commands/backup-list.ts';
import { STATUS_PROGRAM } from '../src/commands/status.ts';
import type { Site } from '../src/config/site.ts';
import { dryRun } from '../src/dry-run.ts';
import { plan } from '../src/plan.ts';
import { deploy, restartOnly, rollback } from '../src/recipes.ts';
import { STEP_NAMES } from '../src/step-names.ts';
import { siteWith } from './support/site.ts';
import { tmpFolder } from './support/tmp.ts';

const deployPlan = (changes: Partial<Site> = {}) =>
  plan(deploy({ rebuild: false }), siteWith(changes));

test('a deploy is the documented steps in their order, then cleanup', () => {
  const { entries } = deployPlan();
  expect(['lock', ...entries.map(({ name }) => name), 'unlock']).toEqual(STEP_NAMES);
  expect(entries.filter(({ phase }) => phase === 'after').map(({ name }) => name)).toEqual([
    'cleanup',
  ]);
});

test('every program of the target travels with it, or with a question', async () => {
  const files = await readdir(new URL('../src/target', import.meta.url));
  const programs = files.filter(
    (name) => /\.(py|sh)$/.test(name) && !['begin.py', 'session.py'].includes(name),
  );
  const travelling = [...deployPlan().tools, ...STATUS_PROGRAM, ...BACKUPS_PROGRAM];
  expect([...new Set(travelling)].sort()).toEqual(programs.sort());
});

test('what only programs of ours do needs no shell, and several services are restarted by one', () => {
  const partsOf = (changes: Partial<Site>) =>
    Object.fromEntries(
      deployPlan(changes).entries.map(({ name, run }) => [
        name,
        run.parts.map((part) =>
          typeof part === 'string' ? 'shell' : part.map(([file]) => file).join(' + '),
        ),
      ]),
    );
  const places = { sharedDirs: ['media'], writableDirs: ['media'] };
  expect(partsOf({ ...places, hooks: { after_release: ['true'] } })).toEqual({
    check: ['check.py + repository.py + gunicorn.py'],
    backup: ['shell'],
    code: ['repository.py'],
    release: ['repository.py', 'shell'],
    shared: ['shared.py'],
    writable: ['writable.py'],
    dependencies: ['shell', 'gunicorn.py'],
    validate: ['shell'],
    migrate: ['shell'],
    static: ['shell'],
    activate: ['shell', 'gunicorn.py', 'shell'],
    restart: ['gunicorn.py'],
    cleanup: ['history.py'],
  });
  const command = (text: string) => ({ kind: 'command', command: text }) as const;
  expect(partsOf({ restart: [command('stop')] }).restart).toEqual(['shell', 'gunicorn.py']);
  expect(partsOf({ restart: [command('stop'), command('start')] }).restart).toEqual(['shell']);
});

test('what may not be cut is finished, and a migration is never killed', () => {
  const orphans = Object.fromEntries(
    deployPlan().entries.map(({ name, orphan }) => [name, orphan]),
  );
  expect(orphans).toMatchObject({
    migrate: 'never',
    activate: 'finish',
    restart: 'finish',
    code: 'kill',
    dependencies: 'kill',
  });
});

test('a password of the repository stands in no script and in nothing that is written to a disk', () => {
  const { keys, keySecrets, ...written } = deployPlan({
    repository: 'https://ana:p%40ssw0rd@git.example.com/x.git',
  });
  expect(keys).toEqual({ DEPLOYER_GIT_USER: 'ana', DEPLOYER_GIT_PASSWORD: 'p@ssw0rd' });
  expect(keySecrets).toEqual(expect.arrayContaining(['p@ssw0rd', 'p%40ssw0rd']));
  expect(JSON.stringify(written)).not.toMatch(/p@ssw0rd|p%40ssw0rd/);
  expect(written.entries.filter(({ needsKeys }) => needsKeys).map(({ name }) => name)).toEqual([
    'check',
    'code',
  ]);
});

describe('hooks', () => {
  /** Runs one entry's script in a site folder with a made release; `hook` prints what it sees. */
  async function outputOf(entryName: string, changes: Partial<Site>, body = 'true') {
    await using tmp = await tmpFolder();
    await mkdir(`${tmp.path}/releases/R/.venv/bin`, { recursive: true });
    await mkdir(`${tmp.path}/run`);
    await writeFile(`${tmp.path}/releases/R/.venv/bin/python`, '', { mode: 0o755 });
    await writeFile(`${tmp.path}/releases/R/.env`, 'FROM_FILE=yes\n');
    await writeFile(`${tmp.path}/releases/R/REVISION`, 'abc\n');
    await writeFile(`${tmp.path}/tool`, `#!/bin/sh\necho step; ${body}\n`, { mode: 0o755 });
    const { entries, prelude } = deployPlan({
      envFile: '.env',
      env: { FROM_SITE: "it's" },
      ...changes,
    });
    const entry = entries.find(({ name }) => name === entryName);
    const script = `exec 3>/dev/null\n{\nset -eu\n${prelude.text}\n${entry?.run.text}\n}`;
    const env = {
      RELEASE: 'R',
      RUN: `${tmp.path}/run`,
      TOOLS: tmp.path,
      PYTHON: `${tmp.path}/tool`,
    };
    const { stdout, exitCode } = await execa('sh', {
      cwd: tmp.path,
      input: script,
      env,
      reject: false,
    });
    return { lines: stdout.split('\n'), exitCode, folder: tmp.path };
  }
  const show =
    'echo "$PWD|${FROM_FILE-}|$FROM_SITE|${VIRTUAL_ENV-}|$DEPLOYER_SITE|$DEPLOYER_RELEASE|$DEPLOYER_COMMIT|$DEPLOYER_STEP"';

  test.each([
    ['code', 'before_code', (root: string) => `${root}||it's||www.example.com|R|abc|code`],
    [
      'release',
      'after_release',
      (root: string) => `${root}/releases/R||it's||www.example.com|R|abc|release`,
    ],
    [
      'shared',
      'after_shared',
      (root: string) => `${root}/releases/R|yes|it's||www.example.com|R|abc|shared`,
    ],
    [
      'static',
      'before_static',
      (root: string) =>
        `${root}/releases/R|yes|it's|${root}/releases/R/.venv|www.example.com|R|abc|static`,
    ],
  ] as const)('in %s, %s sees what there is by then', async (step, hook, expected) => {
    const { lines, folder } = await outputOf(step, { hooks: { [hook]: [show] } });
    expect(lines).toContain(expected(folder));
  });

  test('run around the step, in order, and around a skipped one too', async () => {
    const hooks = { before_writable: ['echo one', 'echo two'], after_writable: ['echo three'] };
    expect((await outputOf('writable', { hooks, writableDirs: ['media'] })).lines).toEqual([
      'one',
      'two',
      'step',
      'three',
    ]);
    expect((await outputOf('writable', { hooks })).lines).toEqual(['one', 'two', 'three']);
  });

  test('that fail fail their step, and what comes after does not run', async () => {
    const hooks = { before_writable: ['echo one; exit 7', 'echo two'] };
    expect(await outputOf('writable', { hooks })).toMatchObject({ lines: ['one'], exitCode: 1 });
  });

  test('a step that fails does not run its after hooks', async () => {
    const hooks = { after_writable: ['echo after'] };
    const { lines, exitCode } = await outputOf(
      'writable',
      { hooks, writableDirs: ['media'] },
      'exit 3',
    );
    expect({ lines, exitCode }).toEqual({ lines: ['step'], exitCode: 3 });
  });

  test('after the restart stand behind the proof, where they cannot undo a good release', () => {
    const { entries } = deployPlan({
      hooks: { after_restart: ['purge'], before_restart: ['warm'] },
    });
    expect(entries.slice(-3).map(({ name, phase }) => [name, phase])).toEqual([
      ['restart', 'step'],
      ['restart', 'after'],
      ['cleanup', 'after'],
    ]);
    expect(entries.at(-2)?.run.text).toContain('purge');
    expect(entries.at(-3)?.run.text).not.toContain('purge');
  });

  test('of activate and restart only run in a rollback, of restart only in a restart', () => {
    const hooks = { before_check: ['c'], before_activate: ['a'], before_restart: ['r'] };
    const hooked = (recipe: Parameters<typeof plan>[0]) =>
      plan(recipe, siteWith({ hooks }))
        .entries.filter(({ run }) => run.text.includes('the hook'))
        .map(({ name }) => name);
    expect(hooked(rollback({ to: undefined }))).toEqual(['activate', 'restart']);
    expect(hooked(restartOnly)).toEqual(['restart']);
  });
});

test('a dry run is what sh -n accepts, whatever the values, and shows no secret', async () => {
  const text = fc
    .string({ unit: 'grapheme', minLength: 1 })
    .filter((value) => !/[\0\p{Surrogate}]/u.test(value));
  const site = fc.record({
    name: text,
    branch: text,
    deployPath: text,
    sharedDirs: fc.array(text),
    env: fc.record({ API_TOKEN: fc.constant('s3cret-value'), OTHER: text }),
    envFile: fc.option(text, { nil: undefined }),
    projectPath: fc.option(text, { nil: undefined }),
    hooks: fc.record({ before_code: fc.array(text), after_restart: fc.array(text) }),
    commands: fc.record({ backup: text, static: text, dependencies: text }, { requiredKeys: [] }),
  });
  await fc.assert(
    fc.asyncProperty(
      site,
      fc.constantFrom('deploy', 'rollback', 'restart'),
      async (changes, kind) => {
        const recipe = {
          deploy: deploy({ rebuild: true }),
          rollback: rollback({ to: 'x' }),
          restart: restartOnly,
        }[kind] as ReturnType<typeof deploy>;
        const script = dryRun(plan(recipe, siteWith(changes as Partial<Site>)), new Date(0));
        expect(script).not.toContain('s3cret-value');
        const { exitCode, stderr } = await execa('sh', ['-n'], { input: script, reject: false });
        expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      },
    ),
    { numRuns: 40 },
  );
});
