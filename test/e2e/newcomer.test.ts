import { chmod, chown, cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { plan } from '../../src/plan.ts';
import { deploy } from '../../src/recipes.ts';
import { createProject, type Project } from '../support/django-project.ts';
import { exists, freePort, SITE } from '../support/lab.ts';
import { get, requestLoop } from '../support/request-loop.ts';
import { siteWith } from '../support/site.ts';
import { type OrdinaryUser, ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));
const AM_ROOT = process.getuid?.() === 0;

/** All of this is the ordinary user's; only `/elsewhere` is not. */
let folder: TmpFolder;
let user: OrdinaryUser;
let project: Project;

beforeAll(async () => {
  folder = await tmpFolder();
  user = await ordinaryUser();
  await chmod(folder.path, 0o755);
  project = await createProject(`${folder.path}/project`);
  await copyWheels();
  await installPackage(`${folder.path}/installed`);
  await mkdir(`${folder.path}/elsewhere`);
  await giveProjectTo(user);
  await chown(folder.path, user.uid, user.gid);
});
afterAll(() => folder?.[Symbol.asyncDispose]());

/** The project installs from a folder that the ordinary user may not be able to read. */
async function copyWheels(): Promise<void> {
  const requirements = await readFile(`${project.path}/requirements.txt`, 'utf8');
  const [, wheels = ''] = /^--find-links "(.+)"$/m.exec(requirements) ?? [];
  const copy = `${folder.path}/wheels`;
  await cp(wheels, copy, { recursive: true });
  await project.commit('Wheels that everybody may read', {
    'requirements.txt': requirements.replace(wheels, fileUrl(copy)),
  });
}

/** Git wants nothing to do with a repository of somebody else. */
const giveProjectTo = ({ uid, gid }: As) => execa('chown', ['-R', `${uid}:${gid}`, project.path]);

const fileUrl = (path: string) => pathToFileURL(path).href.replaceAll("'", '%27');

/** What `npm publish` would send, as who installs it gets it. */
async function installPackage(place: string): Promise<void> {
  const { stdout } = await execa(
    'npm',
    ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder.path],
    {
      cwd: CHECKOUT,
    },
  );
  await mkdir(place);
  await writeFile(`${place}/package.json`, '{"private": true}');
  const words = ['--prefer-offline', '--no-audit', '--no-fund', `${folder.path}/${stdout.trim()}`];
  await execa('npm', ['install', '--silent', ...words], { cwd: place });
}

interface As {
  readonly uid: number;
  readonly gid: number;
}

/** Runs a command in a folder of its own for each test, as the ordinary user unless said otherwise. */
function run(place: string, words: readonly string[], who: As = user) {
  const change = ['--reuid', String(who.uid), '--regid', String(who.gid), '--clear-groups'];
  return execa('setpriv', [...(AM_ROOT ? change : ['--no-new-privs']), ...words], {
    cwd: place,
    env: {
      PATH: process.env.PATH ?? '',
      HOME: who.uid === 0 ? folder.path : user.home,
      LANG: 'C.UTF-8',
      SECRET_KEY: 'only for tests',
    },
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
}

const deployer = (place: string, words: readonly string[], who?: As) =>
  run(
    place,
    [process.execPath, `${folder.path}/installed/node_modules/.bin/deployer`, ...words],
    who,
  );

/** A folder of the ordinary user with a sites.yml that siteadd wrote. */
async function newcomer(name: string, path: string): Promise<string> {
  const place = `${folder.path}/${name}`;
  await mkdir(place);
  await chown(place, user.uid, user.gid);
  const options = [`--deploy-path=${path}`, '--python=/usr/bin/python3', '--shared-dirs=data'];
  const env = ['--env', 'SECRET_KEY=only for tests', '--env', 'PIP_NO_COMPILE=1'];
  const added = await deployer(place, ['siteadd', SITE, project.path, ...options, ...env]);
  expect(added).toMatchObject({ exitCode: 0, stdout: `${SITE} added to sites.yml` });
  return place;
}

test('the package runs where it is installed, and holds every program that travels', async () => {
  const place = `${folder.path}/package`;
  await mkdir(place);
  await chown(place, user.uid, user.gid);
  const { stdout } = await deployer(place, ['--version']);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+$/);
  expect(await deployer(place, ['siteadd', SITE, project.path])).toMatchObject({ exitCode: 0 });
  const script = await deployer(place, ['deploy', SITE, '--dry-run']);
  expect(script).toMatchObject({ exitCode: 0, stderr: '' });
  await execa('sh', ['-n'], { input: script.stdout });

  const inPackage = await readdir(`${folder.path}/installed/node_modules/deployer/dist/target`);
  const { tools } = plan(deploy({ rebuild: false }), siteWith());
  expect([...tools, 'session.py'].sort()).toEqual(inPackage.sort());
  const sources = (await readdir(`${CHECKOUT}/src/target`)).filter((name) =>
    /\.(py|sh)$/.test(name),
  );
  expect(sources.sort()).toEqual(inPackage);
});

test('an ordinary user deploys to a folder that is not there, starts Gunicorn as told, and deploys again', async () => {
  const path = `${folder.path}/made/on the way/www`;
  const place = await newcomer('first', path);
  const first = await deployer(place, ['deploy', SITE]);
  expect(first.exitCode, first.stderr).toBe(0);
  expect(await stat(`${path}/current/manage.py`)).toMatchObject({ uid: user.uid });
  expect(await exists(`${path}/backups`)).toBe(false);

  const [, start = ''] = /start it with: (.*)/.exec(first.stderr) ?? [];
  expect(start).toContain('127.0.0.1:8000');
  const port = await freePort();
  const line = start.replace('127.0.0.1:8000', `127.0.0.1:${port}`);
  await using server = background(place, ['sh', '-c', `exec ${line}`]);
  await answering(port, server.log);

  await giveProjectTo({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });
  await project.commitVersion('2');
  await giveProjectTo(user);
  const loop = requestLoop({ port }, 1);
  const second = await deployer(place, ['deploy', SITE]);
  expect(second.exitCode, second.stderr).toBe(0);
  expect(second.stderr).toContain('proven to be served');
  await loop.until((version) => version === '2');
  expect((await loop.stop()).failures).toEqual([]);
  expect(await readdir(`${path}/backups`)).toHaveLength(1);
});

/** A process that is ended with `await using`. */
function background(place: string, words: readonly string[]) {
  const child = run(place, words);
  let log = '';
  child.stderr.on('data', (data: Buffer) => {
    log += data;
  });
  return {
    log: () => log,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM');
      await child;
    },
  };
}

async function answering(port: number, log: () => string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const { status } = await get({ port }, '/version').catch(() => ({ status: 0 }));
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`it does not answer:\n${log()}`);
}

test.skipIf(!AM_ROOT)(
  'where the parent folder lets nobody in, one line is printed, and after it the deploy works',
  async () => {
    const path = `${folder.path}/elsewhere/www`;
    const place = await newcomer('refused', path);
    const refused = await deployer(place, ['deploy', SITE]);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('Permission denied');
    const cures = refused.stderr.match(/sudo install -d -o .*/g) ?? [];
    expect(cures).toHaveLength(1);
    expect(cures[0]).toMatch(/^sudo install -d -o \S+ -g \S+ '.*\/elsewhere\/www'$/);
    expect(cures[0]).toContain(`-o ${user.name} `);

    await execa('sh', ['-c', (cures[0] as string).replace(/^sudo /, '')]);
    const begun = await deployer(place, ['deploy', SITE, '--verbose']);
    expect(begun.exitCode, begun.stderr).toBe(0);
  },
);

test.skipIf(!AM_ROOT)(
  "another user's site is refused, with whom to connect as, and stays as it is",
  async () => {
    const path = `${folder.path}/of root`;
    const place = await newcomer('foreign', path);
    await mkdir(`${path}/.deployer`, { recursive: true });
    const { exitCode, stdout, stderr } = await deployer(place, ['deploy', SITE]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain(`${path} is deployed by root`);
    expect(stderr).toContain('to do: connect as root: a site has one owner');
    expect(await readdir(path)).toEqual(['.deployer']);
  },
);
