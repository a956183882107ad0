import type { Duplex } from 'node:stream';
import { DeployError } from '../../errors.ts';
import type { Host } from '../ssh/host.ts';
import type { Endpoint } from './endpoint.ts';

/** The engine of a host, through the SSH connection that is there: no port is opened, and no other login made. */
export function remoteEndpoint(host: Host): Endpoint {
  let socket = USUAL;
  const opened = async () => {
    try {
      return asSocket(await host.socket(socket));
    } catch (error) {
      if (error instanceof DeployError) throw error;
      socket = await socketThere(host, socket);
      return asSocket(
        await host.socket(socket).catch(() => {
          throw notForwarded(host, socket);
        }),
      );
    }
  };
  return {
    where: `on ${host.name}`,
    open: (signal) => Promise.race([opened(), givenUp(signal)]),
  };
}

const givenUp = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const give = () => reject(new Error('no answer in time'));
    if (signal.aborted) give();
    signal.addEventListener('abort', give);
  });

const USUAL = '/var/run/docker.sock';

/** What an HTTP agent asks of a socket, and a channel of SSH has no use for. */
function asSocket(channel: Duplex): Duplex {
  const same = () => channel;
  return Object.assign(channel, {
    ...{ setKeepAlive: same, setNoDelay: same, setTimeout: same, ref: same, unref: same },
  });
}

/** sshd gives no reason: the host is asked which sockets there are. Throws where none of them can be used. */
async function socketThere(host: Host, tried: string): Promise<string> {
  const { open, closed, user } = await asked(host);
  const [another] = open;
  if (open.includes(tried)) throw notForwarded(host, tried);
  if (another !== undefined) return another;
  if (closed.length > 0) {
    throw new DeployError(
      'unreachable',
      `the Docker engine's socket ${closed[0]} on ${host.name} is not open to ${user}`,
      {
        hint: `on ${host.name}: sudo usermod -aG docker ${user} (who is in that group is root there)`,
      },
    );
  }
  throw new DeployError('unreachable', `no Docker engine runs on ${host.name}`, {
    hint: `start it there: sudo systemctl start docker`,
  });
}

const notForwarded = (host: Host, socket: string): DeployError =>
  new DeployError('unreachable', `sshd on ${host.name} does not lead to ${socket}`, {
    hint: `on ${host.name}: is the engine running (docker version)? Then sshd_config must allow it: AllowStreamLocalForwarding yes, no DisableForwarding`,
  });

/** The usual sockets that are there, in their order: those that the account may use, and the others. */
async function asked(host: Host) {
  const process = await host.start(['sh', '-c', WHICH_SOCKETS]);
  let said = '';
  process.onOutput((data) => {
    said += data.toString();
  });
  process.onErrors(() => {});
  await process.ended;
  const after = (word: string) =>
    said
      .split('\n')
      .filter((line) => line.startsWith(`${word} `))
      .map((line) => line.slice(word.length + 1));
  return { open: after('open'), closed: after('closed'), user: after('user')[0] ?? 'the account' };
}

const WHICH_SOCKETS = [
  'run=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}',
  `for socket in ${USUAL} "$run/docker.sock" "$run/podman/podman.sock" /run/podman/podman.sock`,
  'do if [ -w "$socket" ]; then echo "open $socket"; elif [ -S "$socket" ]; then echo "closed $socket"; fi',
  'done',
  'echo "user $(id -un)"',
].join('; ');
