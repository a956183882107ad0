import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SCRIPTED_STEPS } from '../../src/step-names.ts';
import { databaseOf } from '../support/database.ts';
import { exists, type Lab, lab, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { type Tree, treeOf } from '../support/tree.ts';

let world: Lab;
let dependencies: string;

beforeAll(async () => {
  world = await lab();
  dependencies = await readyEnvironment(`${world.root}/environment`, world.project);
  await freshSite();
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Every place where a step can have been the last that was begun, or that ended well. */
const PLACES = SCRIPTED_STEPS.filter((step) => step !== 'cleanup').flatMap((step) =>
  step === 'restart' ? [`before_${step}`] : [`before_${step}`, `after_${step}`],
);
const AFTER_THE_SWITCH = ['after_activate', 'before_restart'];

const PLAIN = { shared_dirs: ['data', 'media'], writable_dirs: ['media', 'cache'] };
/** A deploy that makes something in each of its steps. */
const RICH = {
  shared_dirs: ['data', 'media', 'seeded', 'deep/er/empty'],
  writable_dirs: ['media', 'media/thumbnails', 'cache', 'seeded'],
};

/** Nothing but what the operator put there, and the folders that `lock` makes. */
async function freshSite(): Promise<void> {
  await rm(world.site, { recursive: true, force: true });
  await mkdir(`${world.site}/releases`, { recursive: true });
  await mkdir(`${world.site}/shared`);
  await writeFile(`${world.site}/shared/.env`, 'SECRET_KEY=only for tests\n');
}

const configure = (settings: Record<string, unknown>) =>
  world.configure({
    backup_path: `${world.site}/the backups/of it`,
    commands: { dependencies },
    shared_files: ['.env'],
    ...settings,
  });

/** Commits on a new branch, from `main` on. Resolves to the branch. */
async function branch(name: string, make: () => Promise<unknown>): Promise<string> {
  const git = (...words: string[]) => execa('git', words, { cwd: world.project.path });
  await git('checkout', '--quiet', '-B', name, 'main');
  await make();
  await git('checkout', '--quiet', 'main');
  return name;
}

/** What RICH needs; before the switch with a migration that only adds, which is reversed. */
const richBranch = (place: string) =>
  branch(`for-${place}`, async () => {
    const files = { 'seeded/a picture.txt': 'a', 'seeded/below/b': 'b', VERSION: '2\n' };
    await world.project.commit('Seeds', files);
    if (!AFTER_THE_SWITCH.includes(place)) await world.project.addMigration();
  });

async function state(): Promise<{ readonly tree: Tree; readonly database: string }> {
  const database = `${world.site}/shared/data/db.sqlite3`;
  return {
    tree: await treeOf(world.site, ['.deployer', 'db.sqlite3', '__pycache__']),
    database: (await exists(database)) ? await databaseOf(database) : '',
  };
}

/** A deploy that fails at that place leaves the site as it was. */
async function failsAt(place: string): Promise<void> {
  await configure({ ...RICH, branch: await richBranch(place), hooks: { [place]: 'false' } });
  const before = await state();
  const ran = await world.deployer('deploy', SITE);
  expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
  expect(ran.stderr).toContain(`the hook ${place} failed`);
  expect(await state()).toEqual(before);
}

describe('the first deploy, that fails', () => {
  beforeAll(freshSite);

  test.each(PLACES.filter((place) => !AFTER_THE_SWITCH.includes(place)))('%s', failsAt);

  test('after the switch: nothing is live, and the migrations stay, and are named', async () => {
    await configure({ ...RICH, branch: await richBranch('x'), hooks: { before_restart: 'false' } });
    const { tree } = await state();
    const ran = await world.deployer('deploy', SITE);
    expect(ran).toMatchObject({ exitCode: 5, stdout: '' });
    expect(ran.stderr).toContain('guestbook.0001_initial, guestbook.0002_entry_written');
    expect(ran.stderr).toContain('live now: nothing');
    expect(await state()).toEqual({
      tree: { ...tree, 'shared/data': 'folder 755' },
      database: expect.stringContaining('0001_initial'),
    });
  });
});

describe('a deploy beside a live release, that fails', () => {
  beforeAll(async () => {
    await freshSite();
    await configure(PLAIN);
    expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
    await writeFile(`${world.site}/current/media/upload.txt`, 'uploaded');
  });

  test.each(PLACES)('%s', failsAt);

  test('whatever is shared and writable', async () => {
    const files = { 'seeded/below/a': 'a', 'conf/deep/b': 'b', 'cache/.gitkeep': '' };
    const seeds = await branch('seeds', () => world.project.commit('Seeds', files));
    await fc.assert(
      fc.asyncProperty(
        SETTINGS,
        fc.constantFrom(...PLACES.slice(7, 13)),
        async (settings, place) => {
          await configure({ ...settings, branch: seeds, hooks: { [place]: 'false' } });
          const { tree } = await state();
          const ran = await world.deployer('deploy', SITE);
          expect(ran.stderr).toContain(`the hook ${place} failed`);
          expect(withoutModes((await state()).tree)).toEqual(withoutModes(tree));
        },
      ),
      { numRuns: 10 },
    );
  });
});

/** Among them what the repository has, and what it has not; folders below folders that are to be made. */
const SETTINGS = fc.record({
  shared_dirs: fc
    .tuple(
      fc.constantFrom([], ['media']),
      fc.constantFrom([], ['seeded'], ['seeded/below']),
      fc.constantFrom([], ['deep'], ['deep/er/empty']),
      fc.constantFrom([], ['conf/deep'], ['cache']),
    )
    .map((each) => ['data', ...each.flat()]),
  writable_dirs: fc.subarray([
    ...['media', 'media/new/er', 'seeded/below', 'seeded/below/new'],
    ...['deep/er/empty/new', 'cache/new', 'conf/deep/new'],
  ]),
  writable_recursive: fc.boolean(),
});

/** A mode that was changed may stay so. */
const withoutModes = (tree: Tree): Tree =>
  Object.fromEntries(
    Object.entries(tree).map(([path, entry]) => [path, entry.replace(/^(\w+) \d+/, '$1')]),
  );

test('static files outside of the release are always those of the live one', async () => {
  const place = `${world.site}/static/of it`;
  const style = () => readFile(`${place}/guestbook/site.css`, 'utf8');
  const deployWith = async (color: string, settings = {}) => {
    const files = {
      'guestbook/static/guestbook/site.css': `body { color: ${color} }`,
      'config/settings.py': `${await readFile(`${world.project.path}/config/settings.py`, 'utf8')}
STATIC_ROOT = ${JSON.stringify(place)}
`,
    };
    const name = await branch('static', () => world.project.commit('Static', files));
    await configure({ ...PLAIN, branch: name, ...settings });
    return world.deployer('deploy', SITE);
  };
  expect(await deployWith('red')).toMatchObject({ exitCode: 0 });
  expect(await style()).toContain('red');

  const failed = await deployWith('blue', { hooks: { after_static: 'false' } });
  expect(failed).toMatchObject({ exitCode: 1 });
  expect(await style()).toContain('red');

  expect(await deployWith('green')).toMatchObject({ exitCode: 0 });
  expect(await style()).toContain('green');
  expect(await world.deployer('rollback', SITE)).toMatchObject({ exitCode: 0 });
  expect(await style()).toContain('red');
});
