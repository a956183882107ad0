import { chmod, chown, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { createProject, type Project } from './django-project.ts';
import { type OrdinaryUser, ordinaryUser, tmpFolder } from './tmp.ts';

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));
export const AM_ROOT = process.getuid?.() === 0;

/** A folder of an ordinary user, with the package installed as npm would, and a project that this user may read. */
export interface UserWorld extends AsyncDisposable {
  readonly root: string;
  readonly user: OrdinaryUser;
  readonly project: Project;
  /** Where the package is installed. */
  readonly installed: string;
  /** Changes the project, which is the user's again afterwards: Git wants nothing to do with one of somebody else. */
  change<T>(work: (project: Project) => Promise<T>): Promise<T>;
  /** Runs a command in a folder, as the user unless said otherwise; never rejects. */
  run(place: string, words: readonly string[], who?: As): ReturnType<typeof runAs>;
  deployer(place: string, words: readonly string[], who?: As): ReturnType<typeof runAs>;
  /** Makes a folder that is the user's. */
  folder(path: string): Promise<string>;
}

export interface As {
  readonly uid: number;
  readonly gid: number;
}

/** `install: false`: there is no `installed`, and no `deployer`. */
export async function userWorld({ install = true } = {}): Promise<UserWorld> {
  const tmp = await tmpFolder();
  const root = tmp.path;
  const user = await ordinaryUser();
  await chmod(root, 0o755);
  const project = await createProject(`${root}/project`);
  await copyWheels(root, project);
  const installed = `${root}/installed/node_modules/deployer`;
  if (install) await installPackage(root);
  await give(project.path, user);
  await chown(root, user.uid, user.gid);
  const run: UserWorld['run'] = (place, words, who = user) =>
    runAs(place, words, who, who.uid === 0 ? root : user.home);
  return {
    root,
    user,
    project,
    installed,
    change: async (work) => {
      await give(project.path, { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });
      const result = await work(project);
      await give(project.path, user);
      return result;
    },
    run,
    deployer: (place, words, who) =>
      run(place, [process.execPath, `${root}/installed/node_modules/.bin/deployer`, ...words], who),
    folder: async (path) => {
      await mkdir(path, { recursive: true });
      await chown(path, user.uid, user.gid);
      return path;
    },
    [Symbol.asyncDispose]: () => tmp[Symbol.asyncDispose](),
  };
}

/** The project installs from a folder that the ordinary user may not be able to read. */
async function copyWheels(root: string, project: Project): Promise<void> {
  const requirements = await readFile(`${project.path}/requirements.txt`, 'utf8');
  const [, wheels = ''] = /^--find-links "(.+)"$/m.exec(requirements) ?? [];
  const copy = `${root}/wheels`;
  await cp(wheels, copy, { recursive: true });
  await project.commit('Wheels that everybody may read', {
    'requirements.txt': requirements.replace(wheels, fileUrl(copy)),
  });
}

const fileUrl = (path: string) => pathToFileURL(path).href.replaceAll("'", '%27');

const give = (path: string, { uid, gid }: As) => execa('chown', ['-R', `${uid}:${gid}`, path]);

/** What `npm publish` would send, as who installs it gets it. */
async function installPackage(root: string): Promise<void> {
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', root];
  const { stdout } = await execa('npm', pack, { cwd: CHECKOUT });
  await mkdir(`${root}/installed`);
  await writeFile(`${root}/installed/package.json`, '{"private": true}');
  const words = [
    '--ignore-scripts',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    `${root}/${stdout.trim()}`,
  ];
  await execa('npm', ['install', '--silent', ...words], { cwd: `${root}/installed` });
}

function runAs(place: string, words: readonly string[], { uid, gid }: As, home: string) {
  const change = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups'];
  return execa('setpriv', [...(AM_ROOT ? change : ['--no-new-privs']), ...words], {
    cwd: place,
    env: {
      PATH: process.env.PATH ?? '',
      HOME: home,
      LANG: 'C.UTF-8',
      SECRET_KEY: 'only for tests',
    },
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
}
