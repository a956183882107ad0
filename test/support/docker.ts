import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { execa } from 'execa';
import { IMAGES, layOut } from './docker-images.ts';
import { ordinaryUser } from './tmp.ts';
import { AM_ROOT } from './user-world.ts';

/** A real Docker engine that touches no other one, with the images of the tests. It and its containers end at the end. */
export interface Engine extends AsyncDisposable {
  /** Its socket; open to the ordinary user. */
  readonly socket: string;
  /** A folder with the socket as `docker.sock`, as XDG_RUNTIME_DIR is with a rootless engine. */
  readonly folder: string;
  /** Starts a container. */
  run(name: string, options?: ContainerOptions): Promise<void>;
  /** The `docker` command; rejects when it fails. Resolves to what it says. */
  docker(...words: readonly string[]): Promise<string>;
}

export interface ContainerOptions {
  readonly image?: keyof typeof IMAGES;
  /** Folders of this machine that lie at the same place in the container, and may be written there. */
  readonly mounts?: readonly string[];
  /** Its pid 1: something that does nothing, unless given. */
  readonly command?: readonly string[];
  /** More of `docker run`. */
  readonly options?: readonly string[];
}

/** Needs root. The network of its containers is this machine's. */
export async function dockerEngine(): Promise<Engine> {
  if (!AM_ROOT) throw new Error('a Docker engine of our own needs root: run these tests as root');
  const folder = await mkdtemp('/tmp/deployer-docker-'); // an engine does not bear every name
  const socket = `${folder}/docker.sock`;
  const words = [
    ...['--storage-driver=vfs', '--iptables=false', '--ip6tables=false', '--bridge=none'],
    ...[`--data-root=${folder}/data`, `--exec-root=${folder}/exec`, `--pidfile=${folder}/pid`],
    ...['--host', `unix://${socket}`],
  ];
  const daemon = spawn('setpriv', ['--pdeathsig', 'TERM', '/usr/sbin/dockerd', ...words], {
    stdio: ['ignore', 'ignore', 'pipe'], // it ends with the tests, however they end
  });
  let log = '';
  await new Promise<void>((resolve, reject) => {
    daemon.stderr.on('data', (data) => {
      log += data;
      if (log.includes('API listen on')) resolve();
    });
    daemon.once('error', reject);
    daemon.once('close', () => reject(new Error(`dockerd did not start:\n${log}`)));
  });
  const user = await ordinaryUser();
  await chown(socket, 0, user.gid);
  await chmod(folder, 0o755);
  const docker: Engine['docker'] = async (...given) =>
    (await execa('docker', ['--host', `unix://${socket}`, ...given])).stdout;

  const made = new Map<string, Promise<string>>();
  const image = (name: keyof typeof IMAGES): Promise<string> => {
    const making = made.get(name) ?? makeImage(name);
    made.set(name, making);
    return making;
  };
  const makeImage = async (name: keyof typeof IMAGES) => {
    const place = `${folder}/image of ${name}`;
    await mkdir(place);
    await layOut(place, IMAGES[name], user);
    const tar = `${folder}/${name}.tar`;
    await execa('tar', ['-cf', tar, '-C', place, '.']);
    await docker('import', tar, `deployer/${name}`);
    return `deployer/${name}`;
  };
  return {
    socket,
    folder,
    docker,
    run: async (name, { image: wanted = 'debian', mounts = [], command, options = [] } = {}) => {
      const binds = [
        ...IMAGES[wanted].mounts.map((path) => mount(path, ',readonly')),
        ...mounts.map((path) => mount(path)),
      ];
      await docker(
        ...['run', '--detach', '--name', name, '--network', 'host', ...binds, ...options],
        ...[await image(wanted), ...(command ?? ['sleep', '100000'])],
      );
    },
    [Symbol.asyncDispose]: async () => {
      const all = (await docker('ps', '--all', '--quiet')).split('\n').filter(Boolean);
      if (all.length > 0) await docker('rm', '--force', ...all);
      const ended = new Promise((resolve) => daemon.once('close', resolve));
      daemon.kill('SIGTERM');
      await ended;
      await execa('umount', [`${folder}/exec/netns/default`], { reject: false }); // dockerd leaves it
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** In the form that bears a colon in a path. */
const mount = (path: string, more = '') => `--mount=type=bind,source=${path},target=${path}${more}`;
