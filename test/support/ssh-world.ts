import { appendFile, readdir, readlink, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { stringify } from 'yaml';
import type { Project } from './django-project.ts';
import { BIN, freePort, type Ran, type Served, SITE } from './lab.ts';
import { get } from './request-loop.ts';
import { makeKey, publicKey, type Sshd, sshd } from './sshd.ts';
import { type UserWorld, userWorld } from './user-world.ts';

/** A client here, and a target that it reaches over SSH only, as an ordinary user: a real sshd, Django project and Gunicorn. */
export interface SshWorld extends AsyncDisposable {
  readonly world: UserWorld;
  readonly root: string;
  readonly server: Sshd;
  /** What lets the client in: the private half, whose public half the server knows. */
  readonly key: string;
  readonly knownHosts: string;
  /** The deploy_path. */
  readonly site: string;
  /** What a CI job sets. */
  readonly env: Readonly<Record<string, string>>;
  /** The client knows this host key at this port; without one, the server's. */
  know(port: number, hostKey?: string): Promise<void>;
  /** Writes sites.yml: one site on the server, unless changed. */
  configure(changes: Record<string, unknown>): Promise<void>;
  change<T>(work: (project: Project) => Promise<T>): Promise<T>;
  deployer(...args: readonly string[]): Promise<Ran>;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): ReturnType<typeof client>;
  /** Starts Gunicorn as the README says, as the ordinary user. */
  serve(): Promise<Served>;
  live(): Promise<string>;
  releases(): Promise<readonly string[]>;
}

export async function sshWorld(): Promise<SshWorld> {
  const world = await userWorld({ install: false });
  const { root, user } = world;
  const key = await makeKey(`${root}/client_key`);
  const server = await sshd(root, { authorized: await publicKey(key) });
  const knownHosts = `${root}/known_hosts`;
  await writeFile(knownHosts, server.knownHosts);
  const site = `${await world.folder(`${root}/srv`)}/${SITE}`;
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: root,
    LANG: 'C.UTF-8',
    DEPLOYER_IDENTITY: key,
    DEPLOYER_KNOWN_HOSTS: knownHosts,
  };
  const stops: (() => Promise<void>)[] = [];
  const start: SshWorld['start'] = (args, more = {}) => client(root, args, { ...env, ...more });
  const configure: SshWorld['configure'] = (changes) =>
    writeFile(
      `${root}/sites.yml`,
      stringify({
        [SITE]: {
          repository: world.project.path,
          branch: 'main',
          deploy_path: site,
          backup_path: `${site}/backups`,
          host: `${user.name}@127.0.0.1:${server.port}`,
          python: '/usr/bin/python3',
          shared_dirs: ['data', 'media'],
          env: { SECRET_KEY: 'only for tests', PIP_NO_COMPILE: '1' },
          ...changes,
        },
      }),
    );
  await configure({});
  return {
    ...{ world, root, server, key, knownHosts, site, env, configure, start },
    know: (port, hostKey = server.hostKey) =>
      appendFile(knownHosts, `[127.0.0.1]:${port} ${hostKey}\n`),
    change: world.change,
    deployer: async (...args) => {
      const { exitCode, stdout, stderr } = await start(args);
      return { exitCode, stdout: String(stdout), stderr: String(stderr) };
    },
    serve: async () => {
      const served = await serve(world, site);
      stops.push(served.stop);
      return served;
    },
    live: async () => (await readlink(`${site}/current`).catch(() => '')).replace('releases/', ''),
    releases: async () => (await readdir(`${site}/releases`)).sort(),
    [Symbol.asyncDispose]: async () => {
      for (const stop of stops) await stop();
      await server[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

const client = (cwd: string, args: readonly string[], env: Readonly<Record<string, string>>) =>
  execa(process.execPath, [BIN, ...args], {
    cwd,
    env,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });

async function serve(world: UserWorld, site: string): Promise<Served> {
  const port = await freePort();
  const current = `${site}/current`;
  const server = world.run(world.root, [
    ...[`${current}/.venv/bin/python`, `${current}/.venv/bin/gunicorn`],
    ...['--chdir', current, '--bind', `127.0.0.1:${port}`, '--workers', '2'],
    ...['--no-control-socket', 'config.wsgi'],
  ]);
  const address = { port };
  for (let tries = 0; ; tries++) {
    if (
      await get(address, '/version').then(
        () => true,
        () => false,
      )
    )
      break;
    if (server.exitCode !== null && server.exitCode !== undefined)
      throw new Error(`Gunicorn does not start:\n${(await server).stderr}`);
    if (tries > 600) throw new Error('Gunicorn does not answer');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const stop = async () => {
    server.kill('SIGTERM');
    await server;
  };
  return { address, pid: server.pid as number, stop };
}
