import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { databaseOf } from '../support/database.ts';
import { gitServer } from '../support/git-server.ts';
import { type Account, type Lab, lab, type Ran, SITE, type Surroundings } from '../support/lab.ts';
import { get, type RequestLoop, requestLoop, type Seen } from '../support/request-loop.ts';
import { type Tree, treeOf } from '../support/tree.ts';
import { type Elsewhere, environmentOf, type OtherMachine, otherMachine } from './other-machine.ts';
import { endProcessesOf } from './processes.ts';
import { type Watcher, watch } from './watcher.ts';

/** What the world knows and nobody may be shown. */
export const SECRETS = {
  git: 'of-the-git-server-8fJ2',
  key: 'of-django-k3Yz1',
  database: 'of-the-database-Qp90',
} as const;

export const GIT_USER = 'ci-of-the-site';

export interface WorldOptions extends Surroundings {
  /** The `commands.dependencies` that links an environment which is ready. */
  readonly dependencies: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Where the site is, if not on this machine. */
  readonly where?: Elsewhere;
  /** Before the first deploy: a filesystem to mount, a project to change. */
  readonly prepare?: (world: World) => Promise<void>;
}

/**
 * The world of one row: a site with uploads and an .env, whose code comes from a Git server with a password; one good
 * deploy, served by a real Gunicorn that is asked all the time; things of other people among ours; and a process that
 * lives in the first release.
 */
export interface World extends AsyncDisposable {
  readonly lab: Lab;
  readonly root: string;
  readonly site: string;
  readonly backups: string;
  readonly dependencies: string;
  /** Where the Git server listens that knows the password. */
  readonly gitPort: number;
  /** Where the site is, if elsewhere. */
  readonly machine: OtherMachine | undefined;
  /** The release of the first deploy. */
  readonly first: string;
  /** Every command with all it said, in the order of their ends. */
  readonly said: readonly Said[];
  /** What the requests and the watcher saw until now. */
  readonly loop: RequestLoop;
  readonly watcher: Watcher;
  /** What was there when the row began. */
  readonly before: State;
  /** Rewrites sites.yml. */
  configure(settings: Readonly<Record<string, unknown>>): Promise<void>;
  deployer(...args: readonly string[]): Promise<Ran>;
  start(...args: readonly string[]): ReturnType<Lab['start']>;
  /** A commit with a version of its own and, unless told otherwise, a migration that adds a field, where the Git server has it. */
  change(options?: { readonly migrated?: boolean }): Promise<void>;
  /** Sends what was committed to the Git server. */
  push(): Promise<void>;
  /** Has this done at the end, newest first. */
  atEnd(end: () => Promise<unknown>): void;
  state(): Promise<State>;
  /** Ends the requests. */
  seen(): Promise<Seen>;
  /** What Gunicorn answers now. */
  served(): Promise<readonly string[]>;
}

export interface Said {
  readonly args: readonly string[];
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a deploy that is undone must leave as it was. */
export interface State {
  readonly live: string;
  readonly releases: readonly string[];
  readonly environments: readonly string[];
  readonly backups: readonly string[];
  readonly database: string;
  readonly shared: Tree;
}

/** Names in releases/ that are not ours. */
export const FOREIGN_RELEASES = ['20200101_000000_000', 'by hand'];
export const DATABASE = 'data/db.sqlite3';

const shimmed = (root: string) => ({ PATH: `${root}/shims:${process.env.PATH}` });

const QUICK_TIMES = { health_check: { path: '/health', timeout: 10, retries: 2, interval: 0.2 } };

export async function makeWorld(options: WorldOptions): Promise<World> {
  const { where } = options;
  const env = where && ((root: string) => environmentOf(root, where));
  const made = await lab({}, { env: env ?? shimmed, ...options });
  const { root, site, project } = made;
  const ends: (() => Promise<unknown>)[] = [];
  const dispose = async () => {
    endProcessesOf(root);
    for (const end of ends.reverse()) await end().catch(() => {});
    await made[Symbol.asyncDispose]();
  };
  try {
    await mkdir(`${root}/shims`);
    await mkdir(`${root}/git`);
    await mkdir(`${root}/srv`);
    const server = await gitServer(project.path, `${root}/git`, GIT_USER, SECRETS.git);
    ends.push(async () => server[Symbol.asyncDispose]());

    const machine = where && (await otherMachine(root, `${root}/shims`, where));
    ends.push(async () => machine?.[Symbol.asyncDispose]());
    const backups = `${root}/srv/backups`;
    const said: Said[] = [];
    const start = (...args: readonly string[]) => {
      const command = made.start(...args);
      command.then(({ exitCode, stdout, stderr }) =>
        said.push({ args, exitCode, stdout: String(stdout), stderr: String(stderr) }),
      );
      return command;
    };
    let version = 1;
    const push = () =>
      execa('git', ['push', '--quiet', '--force', `${root}/git/repository.git`, 'main'], {
        cwd: project.path,
      });
    const world = {
      lab: made,
      root,
      site,
      backups,
      dependencies: options.dependencies,
      gitPort: Number(server.place.split(/[:/]/)[1]),
      said,
      start,
      machine,
      configure: (settings: Readonly<Record<string, unknown>>) =>
        made.configure({
          repository: `http://${GIT_USER}:${SECRETS.git}@${server.place}`,
          backup_path: backups,
          max_releases: 1,
          max_backups: 1,
          shared_files: ['.env'],
          shared_dirs: ['data', 'media'],
          writable_dirs: ['media', 'cache'],
          env: { SECRET_KEY: SECRETS.key, PIP_NO_COMPILE: '1' },
          env_file: '.env',
          commands: { dependencies: options.dependencies },
          ...QUICK_TIMES,
          ...machine?.settings,
          ...options.settings,
          ...settings,
        }),
      deployer: async (...args: readonly string[]) => {
        const { exitCode, stdout, stderr } = await start(...args);
        return { exitCode, stdout: String(stdout), stderr: String(stderr) };
      },
      push: async () => void (await push()),
      change: async ({ migrated = true } = {}) => {
        if (migrated) await project.addMigration();
        await project.commitVersion(String(++version));
        await push();
      },
      atEnd: (end: () => Promise<unknown>) => void ends.push(end),
      state: () => stateOf(made, backups),
    };
    await options.prepare?.(world as unknown as World);
    await mkdir(`${site}/shared/media`, { recursive: true });
    await writeFile(`${site}/shared/.env`, `DATABASE_PASSWORD=${SECRETS.database}\n`);
    await writeFile(`${site}/shared/media/it's a $HOME of ñandú.txt`, 'an upload \0 of bytes');
    await world.configure({});
    await machine?.own(`${root}/srv`);
    await deployFirst(world);
    const { address } = await made.serve({ as: machine?.user });
    await leaveForeignThings(site, backups);
    await machine?.own(backups);
    const resident = liveIn(`${site}/current/`, machine?.user);
    ends.push(async () => resident.kill());

    const loop = requestLoop(address, 1, 20);
    const watcher = watch(root, site);
    ends.push(async () => watcher.stop());
    ends.push(() => loop.stop());
    return {
      ...world,
      first: await made.live(),
      before: await world.state(),
      loop,
      watcher,
      seen: () => loop.stop(),
      served: async () => {
        const answers = Array.from({ length: 6 }, () => get(address, '/version'));
        const versions = (await Promise.all(answers)).map(({ body }) => JSON.parse(body).version);
        return [...new Set(versions as string[])];
      },
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function deployFirst(world: { deployer(...args: string[]): Promise<Ran> }): Promise<void> {
  const { exitCode, stderr } = await world.deployer('deploy', SITE);
  if (exitCode !== 0) throw new Error(`the first deploy failed:\n${stderr}`);
}

async function leaveForeignThings(site: string, backups: string): Promise<void> {
  for (const name of FOREIGN_RELEASES) {
    await mkdir(`${site}/releases/${name}`);
    await writeFile(`${site}/releases/${name}/manage.py`, 'mine');
  }
  await mkdir(backups, { recursive: true });
  await writeFile(`${backups}/mine.tar.gz`, 'mine');
  const old = `${backups}/${SITE}_20200101_000000_000.tar.gz`;
  await execa('tar', ['-czf', old, '-C', `${site}/releases`, 'by hand']);
}

/** A process whose folder that is. */
const liveIn = (folder: string, { uid, gid }: Partial<Account> = {}) =>
  spawn('sleep', ['600'], { cwd: folder, stdio: 'ignore', uid, gid });

async function stateOf(made: Lab, backups: string): Promise<State> {
  return {
    live: await made.live(),
    releases: await made.releases(),
    environments: (await readdir(`${made.site}/.deployer/environments`)).sort(),
    backups: (await readdir(backups)).sort(),
    database: await databaseOf(`${made.site}/shared/${DATABASE}`),
    shared: await treeOf(`${made.site}/shared`, [DATABASE, `${DATABASE}-journal`]),
  };
}

/** The version that `current` leads to. */
export const currentVersion = async (world: World): Promise<string> =>
  (await readFile(`${world.site}/current/VERSION`, 'utf8')).trim();
