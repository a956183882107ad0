import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { homedir, userInfo } from 'node:os';
import type { Duplex } from 'node:stream';
import { connect as connectSecurely } from 'node:tls';
import { DeployError } from '../../errors.ts';
import { mask } from '../../secrets.ts';

/** The way to an engine. */
export interface Endpoint {
  /** For people, behind "the Docker engine": `here`, `on web1`. */
  readonly where: string;
  /** Another connection; the signal ends an attempt. Throws a DeployError that names the cure. */
  open(signal: AbortSignal): Promise<Duplex>;
}

type Env = Readonly<Record<string, string | undefined>>;

/** The engine that `docker` would use: DOCKER_HOST, else the context, else the first of the usual sockets that answers. */
export function localEndpoint(env: Env): Endpoint {
  let way: Promise<Way> | undefined;
  return {
    where: 'here',
    open: async (signal) => {
      way ??= wayTo(env, signal);
      return (await way)(signal);
    },
  };
}

type Way = (signal: AbortSignal) => Promise<Duplex>;

async function wayTo(env: Env, signal: AbortSignal): Promise<Way> {
  const named = await namedEngine(env);
  if (named !== undefined) return wayToAddress(named, env);
  const sockets = usualSockets(env);
  let refused: { readonly path: string; readonly error: NodeJS.ErrnoException } | undefined;
  for (const path of sockets) {
    try {
      (await opened({ path }, signal)).destroy();
      return (later) => toSocket(path, later);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        refused ??= { path, error: error as Error };
    }
  }
  if (refused !== undefined) throw socketError(refused.path, refused.error);
  throw new DeployError('unreachable', 'no Docker engine runs here', {
    hint: `start it, or say with DOCKER_HOST or "docker context use" where it is; looked for: ${sockets.join(', ')}`,
  });
}

/** Docker's own, Docker Desktop's, rootless Docker's, then Podman's. */
function usualSockets(env: Env): readonly string[] {
  const home = env.HOME ?? homedir();
  const run = env.XDG_RUNTIME_DIR ?? `/run/user/${process.getuid?.()}`;
  return [
    ...['/var/run/docker.sock', `${home}/.docker/run/docker.sock`, `${run}/docker.sock`],
    ...[`${run}/podman/podman.sock`, '/run/podman/podman.sock'],
  ];
}

/** An engine that somebody has chosen. */
interface Named {
  /** `unix:///run/docker.sock`, `tcp://10.0.0.7:2376`. */
  readonly address: string;
  /** `DOCKER_HOST`, `the Docker context work`. */
  readonly by: string;
  /** The folder of ca.pem, cert.pem and key.pem; undefined: not encrypted. */
  readonly certificates: string | undefined;
}

async function namedEngine(env: Env): Promise<Named | undefined> {
  const folder = env.DOCKER_CONFIG || `${env.HOME ?? homedir()}/.docker`;
  if (env.DOCKER_HOST) {
    const certificates = env.DOCKER_TLS_VERIFY ? env.DOCKER_CERT_PATH || folder : undefined;
    return { address: env.DOCKER_HOST, by: 'DOCKER_HOST', certificates };
  }
  const config = await json(`${folder}/config.json`);
  const context = env.DOCKER_CONTEXT || config?.currentContext;
  if (typeof context !== 'string' || context === 'default' || context === '') return undefined;
  const id = createHash('sha256').update(context).digest('hex');
  const meta = await json(`${folder}/contexts/meta/${id}/meta.json`);
  const address = (meta as Meta | undefined)?.Endpoints?.docker?.Host;
  if (address === undefined)
    throw new DeployError('config', `there is no Docker context ${context}`, {
      hint: 'docker context ls lists them: choose one with "docker context use", or correct DOCKER_CONTEXT',
    });
  const tls = `${folder}/contexts/tls/${id}/docker`;
  const certificates = (await readFile(`${tls}/ca.pem`).catch(() => undefined)) && tls;
  return { address, by: `the Docker context ${context}`, certificates };
}

interface Meta {
  readonly Endpoints?: { readonly docker?: { readonly Host?: string } };
}

async function json(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DeployError('config', `${path}: ${(error as Error).message}`, {
      hint: 'correct it, or set DOCKER_HOST',
    });
  }
}

async function wayToAddress(named: Named, env: Env): Promise<Way> {
  const { address, by, certificates } = named;
  const [, kind, rest = ''] = /^(\w+):\/\/(.*)$/.exec(address) ?? [];
  if (kind === 'unix' && rest.startsWith('/')) return (signal) => toSocket(rest, signal);
  const url = kind === 'tcp' && URL.canParse(address) ? new URL(address) : undefined;
  if (url?.hostname) {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(url.port || (certificates ? 2376 : 2375));
    return (signal) => toHost({ host, port }, named, signal);
  }
  const usual = env.DOCKER_HOST ? 'unset it' : 'or "docker context use default"';
  throw new DeployError('config', `${by} is ${mask(address, [])}, which is not used`, {
    hint:
      kind === 'ssh'
        ? `give the site "host: ${rest.replace(/:[^@]*@/, '@')}" instead (or -H), whose host key is verified; ${usual} for containers here`
        : `unix:///PATH and tcp://HOST:PORT can be; ${usual}`,
  });
}

const toSocket = (path: string, signal: AbortSignal): Promise<Duplex> =>
  opened({ path }, signal).catch((error) => {
    throw socketError(path, error);
  });

function socketError(path: string, { code, message }: NodeJS.ErrnoException): DeployError {
  if (code === 'EACCES' || code === 'EPERM')
    return new DeployError('unreachable', `the Docker engine's socket ${path} is not open to us`, {
      hint: `sudo usermod -aG docker ${userInfo().username}, then log in anew (who is in that group is root there)`,
    });
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return new DeployError('unreachable', `no Docker engine answers at ${path}`, {
      hint: 'start it: sudo systemctl start docker',
    });
  return new DeployError('unreachable', `${path}: ${message}`, {
    hint: 'see what "docker version" says',
  });
}

async function toHost(
  { host, port }: { readonly host: string; readonly port: number },
  { by, certificates: folder }: Named,
  signal: AbortSignal,
): Promise<Duplex> {
  const [ca, cert, key] = folder === undefined ? [] : await certificatesIn(folder, by);
  try {
    if (folder === undefined) return await opened({ host, port }, signal);
    const socket = connectSecurely({ host, port, ca, cert, key });
    return await ready(socket, 'secureConnect', signal);
  } catch (error) {
    throw new DeployError(
      'unreachable',
      `the Docker engine at ${host}:${port}: ${(error as Error).message}`,
      {
        hint: `${by} names it: see what "docker version" says`,
      },
    );
  }
}

const certificatesIn = (folder: string, by: string): Promise<readonly Buffer[]> =>
  Promise.all(['ca.pem', 'cert.pem', 'key.pem'].map((name) => readFile(`${folder}/${name}`))).catch(
    (error: Error) => {
      throw new DeployError('config', `the certificates for ${by}: ${error.message}`, {
        hint: `correct DOCKER_CERT_PATH, or make the Docker context anew`,
      });
    },
  );

const opened = (to: NetConnectOpts, signal: AbortSignal): Promise<Socket> =>
  ready(connect(to), 'connect', signal);

function ready(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<Socket> {
  const give = () => socket.destroy(new Error('no answer in time'));
  if (signal.aborted) give();
  signal.addEventListener('abort', give);
  return new Promise<Socket>((resolve, reject) => {
    socket.once('error', reject);
    socket.once(event, () => {
      socket.off('error', reject);
      resolve(socket);
    });
  }).finally(() => signal.removeEventListener('abort', give));
}
