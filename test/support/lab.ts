import { access, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { stringify } from 'yaml';
import { createProject, type Project } from './django-project.ts';
import { type Address, get } from './request-loop.ts';
import { tmpFolder } from './tmp.ts';

/** What `npm run build` made runnable. */
export const BIN = fileURLToPath(new URL('../../bin/deployer.cjs', import.meta.url));

/** A little world: a real Django project in Git, a sites.yml, a target folder on this machine. All of it goes at the end. */
export interface Lab extends AsyncDisposable {
  readonly root: string;
  /** The deploy_path. */
  readonly site: string;
  readonly project: Project;
  /** Rewrites sites.yml with other settings for the one site. */
  configure(changes: Record<string, unknown>): Promise<void>;
  /** Runs the built command line; never rejects. */
  deployer(...args: readonly string[]): Promise<Ran>;
  /** The same, to be signalled while it runs. */
  start(...args: readonly string[]): ReturnType<typeof startCommand>;
  /** Starts Gunicorn as the README says; stopped at the end. */
  serve(options?: ServeOptions): Promise<Served>;
  /** The id that `current` points to, '' without one. */
  live(): Promise<string>;
  releases(): Promise<readonly string[]>;
  /** Every table and column of the SQLite database, as text. */
  schema(): Promise<string>;
}

export interface Ran {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Served {
  readonly address: Address;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface ServeOptions {
  readonly workers?: number;
  readonly socket?: boolean;
  /** The account it runs as, if not this one. */
  readonly as?: Account | undefined;
}

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export const SITE = 'www.example.com';

type Environment = Readonly<Record<string, string>>;

/** What may be different about the world, besides the site's settings. */
export interface Surroundings {
  /** The command line to run instead of what was built. */
  readonly bin?: string;
  /** What else is in the environment of all commands: `root` is the lab's folder. */
  readonly env?: (root: string) => Environment | Promise<Environment>;
  /** The name of the site's folder. */
  readonly folder?: string;
}

export async function lab(
  changes: Record<string, unknown> = {},
  { bin = BIN, env, folder = SITE }: Surroundings = {},
): Promise<Lab> {
  const tmp = await tmpFolder();
  const stops: (() => Promise<void>)[] = [];
  const root = tmp.path;
  const site = `${root}/srv/${folder}`;
  const project = await createProject(`${root}/project`);
  const environment = {
    PATH: process.env.PATH ?? '',
    HOME: process.env.HOME ?? root,
    LANG: 'C.UTF-8',
    USER: 'tester',
    ...(await env?.(root)),
  };
  const start = (...args: readonly string[]) => startCommand(bin, root, environment, args);
  const made: Lab = {
    root,
    site,
    project,
    configure: async (settings) => {
      const all = {
        repository: project.path,
        branch: 'main',
        deploy_path: site,
        backup_path: `${root}/backups`,
        python: '/usr/bin/python3',
        shared_dirs: ['data', 'media'],
        env: { SECRET_KEY: 'only for tests', PIP_NO_COMPILE: '1' },
        ...changes,
        ...settings,
      };
      await writeFile(`${root}/sites.yml`, stringify({ [SITE]: all }));
    },
    start,
    deployer: async (...args) => {
      const { exitCode, stdout, stderr } = await start(...args);
      return { exitCode, stdout: String(stdout), stderr: String(stderr) };
    },
    serve: async (options = {}) => {
      const served = await serve(root, site, options);
      stops.push(served.stop);
      return served;
    },
    live: async () => (await readlink(`${site}/current`).catch(() => '')).replace('releases/', ''),
    releases: async () => (await readdir(`${site}/releases`)).sort(),
    schema: async () => {
      const dump =
        "import sqlite3,sys; print('\\n'.join(sorted(r[0] or '' for r in sqlite3.connect(sys.argv[1]).execute('select sql from sqlite_master'))))";
      return (await execa('/usr/bin/python3', ['-c', dump, `${site}/shared/data/db.sqlite3`]))
        .stdout;
    },
    [Symbol.asyncDispose]: async () => {
      for (const stop of stops) await stop();
      await tmp[Symbol.asyncDispose]();
    },
  };
  await made.configure({});
  return made;
}

const startCommand = (
  bin: string,
  cwd: string,
  env: Record<string, string>,
  args: readonly string[],
) =>
  execa(process.execPath, [bin, ...args], {
    cwd,
    env,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
    forceKillAfterDelay: false, // what is asked to end takes the time that its undo takes
  });

async function serve(
  root: string,
  site: string,
  { workers = 2, socket = false, as }: ServeOptions,
): Promise<Served> {
  const port = await freePort();
  const address: Address = socket ? { socketPath: `${root}/g.sock` } : { port };
  const bind = socket ? `unix:${root}/g.sock` : `127.0.0.1:${port}`;
  const current = `${site}/current`;
  const words = [
    '--chdir',
    current,
    '--bind',
    bind,
    '--workers',
    String(workers),
    '--no-control-socket',
    '--pid',
    `${root}/g.pid`,
    'config.wsgi',
  ];
  const server = execa(`${current}/.venv/bin/python`, [`${current}/.venv/bin/gunicorn`, ...words], {
    cwd: root,
    env: { PATH: '/usr/bin:/bin', HOME: root, SECRET_KEY: 'only for tests' },
    extendEnv: false,
    reject: false,
    ...as,
    stdio: ['ignore', 'ignore', { file: `${root}/gunicorn.log`, append: true }],
  });
  await answering(
    address,
    () => server.exitCode !== null && server.exitCode !== undefined,
    `${root}/gunicorn.log`,
  );
  const stop = async () => {
    const noted = Number(await readFile(`${root}/g.pid`, 'utf8').catch(() => '0'));
    const pid = noted || (server.exitCode === null ? server.pid : undefined);
    if (pid && isAlive(pid)) process.kill(pid, 'SIGTERM');
    await server;
    while (pid && isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  return { address, pid: server.pid as number, stop };
}

async function answering(address: Address, dead: () => boolean, log: string): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (dead()) break;
    const answered = await get(address, '/version')
      .then(() => true)
      .catch(() => false);
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`Gunicorn does not answer:\n${await readFile(log, 'utf8').catch(() => '')}`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A TCP port that nothing listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
