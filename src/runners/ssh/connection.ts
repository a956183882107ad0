import type { Duplex } from 'node:stream';
import ssh2, { type Client, type ConnectConfig, type ServerHostKeyAlgorithm } from 'ssh2';
import { DeployError } from '../../errors.ts';
import type { Terminal } from '../../terminal.ts';
import { signAtOnce } from './at-once.ts';
import { Clock } from './clock.ts';
import { connectError } from './connect-error.ts';
import type { Destination } from './destination.ts';
import { type HostKeys, hostKeysOf, settle } from './host-key.ts';
import { identitiesFor } from './identities.ts';
import type { Judgement } from './known-hosts.ts';
import { type Ask, Login } from './login.ts';
import type { Passphrases } from './passphrases.ts';

/** What a login may need besides its destination. */
export interface Means {
  readonly terminal: Terminal | undefined;
  /** DEPLOYER_PASSWORD. */
  readonly password: string | undefined;
  readonly passphrases: Passphrases;
  /** Its abort ends an attempt to connect. */
  readonly cancel: AbortSignal;
}

/** A stream to the destination through another host; undefined: it is reached directly. */
export type Way = () => Promise<Duplex | undefined>;

/** Connects and logs in. Throws a DeployError('unreachable') that names the cure. */
export async function connectTo(to: Destination, means: Means, way: Way): Promise<Client> {
  const first = await attempt(to, means, way);
  if (!('key' in first)) return first;
  await settle(to, first.key, first.judgement, means.terminal);
  const second = await attempt(to, means, way, first.key);
  if (!('key' in second)) return second;
  throw new DeployError('unreachable', `${to.name} shows another host key each time`);
}

/** The attempt went no further than the host's key: a person who is asked about it may take longer than the host waits. */
interface Shown {
  readonly key: Buffer;
  readonly judgement: Judgement;
}

async function attempt(
  to: Destination,
  means: Means,
  way: Way,
  accepted?: Buffer,
): Promise<Client | Shown> {
  const clock = new Clock(to.timeout);
  const ask = askWhile(clock, means.terminal);
  const stopped = givenUp(clock, means.cancel);
  const [hostKeys, identities] = await Promise.race([
    Promise.all([hostKeysOf(to), identitiesFor(to, (path) => means.passphrases.open(path, ask))]),
    stopped,
  ]).catch((error) => {
    clock.stop();
    throw error instanceof DeployError ? error : keysUnknown(to, error as Error);
  });
  const login = new Login(to, identities, { password: means.password, ask });
  const client = new ssh2.Client();
  let shown: Shown | undefined;
  const hostVerifier = (key: Buffer): boolean => {
    const judgement: Judgement = accepted?.equals(key) ? { how: 'known' } : hostKeys.judge(key);
    if (judgement.how !== 'known') shown = { key, judgement };
    return shown === undefined;
  };
  try {
    const sock = await Promise.race([way(), stopped]);
    const config = { ...configOf(to, hostKeys), authHandler: login.handler, hostVerifier };
    const connected = ready(client, sock ? { ...config, sock } : config, clock);
    if (identities.open !== undefined) signAtOnce(client, identities.open);
    await Promise.race([connected, stopped]);
    return client;
  } catch (error) {
    client.destroy();
    if (shown !== undefined) return shown;
    throw error instanceof DeployError ? error : await connectError(to, error as Error, login);
  } finally {
    clock.stop();
  }
}

/** Rejects when the time is over, or a person wants to go: an agent or a jump host may never answer. */
function givenUp(clock: Clock, cancel: AbortSignal): Promise<never> {
  const stopped = new Promise<never>((_, reject) => {
    const abort = () => reject(new DeployError('interrupted', 'not begun: interrupted'));
    cancel.addEventListener('abort', abort, { once: true });
    if (cancel.aborted) abort();
    clock.expired.then(reject);
  });
  stopped.catch(() => {});
  return stopped;
}

const keysUnknown = (to: Destination, { message }: Error): DeployError =>
  new DeployError(
    'unreachable',
    `${to.host}: the keys to log in with could not be had: ${message}`,
    {
      hint: 'does the SSH agent answer? ssh-add -l',
    },
  );

/** The host must not be given up while a person types. */
function askWhile(clock: Clock, terminal: Terminal | undefined): Ask | undefined {
  return (
    terminal &&
    ((question, hidden) =>
      clock.held(() => (hidden ? terminal.askHidden(question) : terminal.ask(question))))
  );
}

function configOf(to: Destination, { algorithms }: HostKeys): ConnectConfig {
  const agent = to.forwards ?? to.agent; // to be forwarded: the login has keys of its own
  return {
    host: to.host,
    port: to.port,
    username: to.user,
    ...(agent !== undefined && { agent }),
    algorithms: { serverHostKey: algorithms as ServerHostKeyAlgorithm[] },
    keepaliveInterval: 10_000,
    keepaliveCountMax: 2,
    readyTimeout: 0, // the clock's
  };
}

function ready(client: Client, config: ConnectConfig, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    client
      .on('connect', () => client.setNoDelay(true)) // ssh2 leaves Nagle on: 40 ms for each small packet
      .on('handshake', () => clock.restart())
      .on('ready', resolve)
      .on('error', (error) => void (error.level !== 'agent' && reject(error)))
      .on('close', () => reject(new Error('the host closed the connection')))
      .connect(config);
  });
}
