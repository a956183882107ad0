import { chmod, chown, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { type Cable, cableTo } from '../support/cable.ts';
import { dockerEngine, type Engine } from '../support/docker.ts';
import { APP } from '../support/docker-images.ts';
import { makeKey, publicKey, sshd } from '../support/sshd.ts';
import { type OrdinaryUser, ordinaryUser } from '../support/tmp.ts';

/** Where a site is that is not on this machine: behind a real sshd and a cable, in a container of a real engine, or both. */
export type Elsewhere = 'ssh' | 'container' | 'container over ssh';

/** The machine of a site that is elsewhere, and an account of it that owns the site. */
export interface OtherMachine extends AsyncDisposable {
  readonly user: OrdinaryUser;
  /** What sites.yml says of it. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What was put there becomes the account's. */
  own(folder: string): Promise<unknown>;
  /** Only over SSH. */
  readonly cable: Cable | undefined;
  /** Only of a container: ends all that runs in it, and starts it again. */
  restart(): Promise<unknown>;
}

/** What a CI job sets to get there. */
export async function environmentOf(
  root: string,
  where: Elsewhere,
): Promise<Readonly<Record<string, string>>> {
  return {
    DEPLOYER_IDENTITY: `${root}/client_key`,
    DEPLOYER_KNOWN_HOSTS: `${root}/known_hosts`,
    ...(where === 'container' && { DOCKER_HOST: `unix://${(await engine()).socket}` }),
  };
}

/** `shims` come first on the PATH there. */
export async function otherMachine(
  root: string,
  shims: string,
  where: Elsewhere,
): Promise<OtherMachine> {
  const user = await ordinaryUser();
  await chmod(root, 0o755);
  await chown(root, user.uid, user.gid);
  const path = `PATH=${shims}:/usr/local/bin:/usr/bin:/bin`;
  const container = where === 'ssh' ? undefined : await newContainer(path);
  const way = where === 'container' ? undefined : await newWay(root, path);
  const cable = way?.cable;
  return {
    user,
    cable,
    settings: {
      ...(cable && { host: `${user.name}@127.0.0.1:${cable.port}` }),
      ...(container && { runner: 'docker', docker_container: container.name, docker_user: APP }),
    },
    own: (folder) => execa('chown', ['-R', `${user.uid}:${user.gid}`, folder]),
    restart: async () => container?.restart(),
    [Symbol.asyncDispose]: async () => {
      await way?.[Symbol.asyncDispose]();
      await container?.remove();
    },
  };
}

async function newWay(root: string, path: string) {
  const key = await makeKey(`${root}/client_key`);
  const sockets = shared === undefined ? [] : [`"XDG_RUNTIME_DIR=${(await shared).folder}"`];
  const server = await sshd(root, {
    authorized: await publicKey(key),
    config: [['SetEnv', `"${path}"`, ...sockets].join(' ')],
  });
  const cable = await cableTo(server.port);
  await writeFile(`${root}/known_hosts`, `[127.0.0.1]:${cable.port} ${server.hostKey}\n`);
  return {
    cable,
    [Symbol.asyncDispose]: async () => {
      await cable[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

let shared: Promise<Engine> | undefined;
let containers = 0;

/** One for all rows. */
const engine = (): Promise<Engine> => {
  shared ??= dockerEngine();
  return shared;
};

export const endEngine = async (): Promise<void> => (await shared)?.[Symbol.asyncDispose]();

/** It sees the processes of this machine: the server of the site and who lives in its releases outlive it. */
async function newContainer(path: string) {
  const { run, docker } = await engine();
  const name = `row-${++containers}`;
  await run(name, { mounts: ['/tmp'], options: ['--pid', 'host', '--env', path] });
  return {
    name,
    restart: () => docker('restart', '--time', '0', name),
    remove: () => docker('rm', '--force', name),
  };
}
