import { appendFile, readdir, readlink, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { stringify } from 'yaml';
import type { Project } from './django-project.ts';
import { type ContainerOptions, dockerEngine, type Engine } from './docker.ts';
import { APP } from './docker-images.ts';
import { BIN, freePort, type Ran, SITE } from './lab.ts';
import { type Address, get } from './request-loop.ts';
import { makeKey, publicKey, type Sshd, sshd } from './sshd.ts';
import { type UserWorld, userWorld } from './user-world.ts';

/**
 * A client, and an engine with a container, which it reaches directly or over SSH: a real dockerd, sshd, Django project
 * and Gunicorn. `root` lies at the same place inside and outside.
 */
export interface DockerWorld extends AsyncDisposable {
  readonly world: UserWorld;
  readonly root: string;
  readonly engine: Engine;
  readonly server: Sshd;
  /** `user@127.0.0.1:port` of the host that the containers are on. */
  readonly host: string;
  /** The deploy_path. */
  readonly site: string;
  readonly env: Readonly<Record<string, string>>;
  /** The client knows the host also at this port. */
  know(port: number): Promise<void>;
  /** Starts another container that sees `root`. */
  run(name: string, options?: ContainerOptions): Promise<void>;
  /** Writes sites.yml: one site in the container `web`, unless changed. */
  configure(changes: Readonly<Record<string, unknown>>): Promise<void>;
  change<T>(work: (project: Project) => Promise<T>): Promise<T>;
  deployer(...args: readonly string[]): Promise<Ran>;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): ReturnType<typeof client>;
  /** Starts Gunicorn in a container as the README says. */
  serve(container?: string, site?: string): Promise<Address>;
  live(): Promise<string>;
  releases(): Promise<readonly string[]>;
}

export async function dockerWorld(): Promise<DockerWorld> {
  const world = await userWorld({ install: false });
  const engine = await dockerEngine();
  const { root, user } = world;
  const key = await makeKey(`${root}/client_key`);
  const server = await sshd(root, {
    authorized: await publicKey(key),
    config: [`SetEnv XDG_RUNTIME_DIR=${engine.folder}`],
  });
  await writeFile(`${root}/known_hosts`, server.knownHosts);
  const site = `${await world.folder(`${root}/srv`)}/${SITE}`;
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: root,
    LANG: 'C.UTF-8',
    DOCKER_HOST: `unix://${engine.socket}`,
    DEPLOYER_IDENTITY: key,
    DEPLOYER_KNOWN_HOSTS: `${root}/known_hosts`,
  };
  const start: DockerWorld['start'] = (args, more = {}) => client(root, args, { ...env, ...more });
  const made: DockerWorld = {
    ...{ world, root, engine, server, site, env, start, change: world.change },
    host: `${user.name}@127.0.0.1:${server.port}`,
    know: (port) => appendFile(`${root}/known_hosts`, `[127.0.0.1]:${port} ${server.hostKey}\n`),
    run: (name, { mounts = [], ...options } = {}) =>
      engine.run(name, { mounts: [root, ...mounts], ...options }),
    configure: (changes) =>
      writeFile(
        `${root}/sites.yml`,
        stringify({
          [SITE]: {
            repository: world.project.path,
            branch: 'main',
            deploy_path: site,
            backup_path: `${site}/backups`,
            runner: 'docker',
            docker_container: 'web',
            docker_user: APP,
            shared_dirs: ['data', 'media'],
            env: { SECRET_KEY: 'only for tests', PIP_NO_COMPILE: '1' },
            ...changes,
          },
        }),
      ),
    deployer: async (...args) => {
      const { exitCode, stdout, stderr } = await start(args);
      return { exitCode, stdout: String(stdout), stderr: String(stderr) };
    },
    serve: async (container = 'web', folder = site) => {
      const port = await freePort();
      const { command, environment } = gunicorn(folder, port);
      await engine.docker('exec', '-d', '-u', APP, ...environment, container, ...command);
      await answering({ port });
      return { port };
    },
    live: async () => (await readlink(`${site}/current`).catch(() => '')).replace('releases/', ''),
    releases: async () => (await readdir(`${site}/releases`)).sort(),
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
  await made.run('web');
  await made.configure({});
  return made;
}

const client = (cwd: string, args: readonly string[], env: Readonly<Record<string, string>>) =>
  execa(process.execPath, [BIN, ...args], {
    cwd,
    env,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });

/** Gunicorn as the README says. */
export function gunicorn(site: string, port: number) {
  const current = `${site}/current`;
  return {
    command: [
      ...[`${current}/.venv/bin/python`, `${current}/.venv/bin/gunicorn`, '--chdir', current],
      ...['--bind', `127.0.0.1:${port}`, '--workers', '2', '--no-control-socket', 'config.wsgi'],
    ],
    environment: ['--env', 'SECRET_KEY=only for tests'],
  };
}

export async function answering(address: Address): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const answered = await get(address, '/version').then(
      () => true,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('Gunicorn does not answer');
}
