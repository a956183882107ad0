import { spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import type { Client } from 'ssh2';
import type { Address } from '../../config/address.ts';
import { DeployError } from '../../errors.ts';
import type { Terminal } from '../../terminal.ts';
import type { Means } from './connection.ts';
import { type Destination, destinationOf, jumpAddress, withoutSecrets } from './destination.ts';
import { Host } from './host.ts';
import { Knock } from './knock.ts';
import { Passphrases } from './passphrases.ts';

/** What connections need besides an address. */
export interface SshOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Undefined: nobody can be asked. */
  readonly terminal: Terminal | undefined;
  /** Its abort ends an attempt to connect. */
  readonly cancel: AbortSignal;
}

export type Warn = (message: string) => void;

/** The connections of one run: one for each host and account. */
export class Hosts implements AsyncDisposable {
  readonly #env: SshOptions['env'];
  readonly #means: Means;
  readonly #hosts = new Map<string, Promise<Host>>();

  constructor({ env, terminal, cancel }: SshOptions) {
    this.#env = env;
    this.#means = {
      terminal,
      cancel,
      password: env.DEPLOYER_PASSWORD,
      passphrases: new Passphrases(env.DEPLOYER_PASSPHRASE),
    };
  }

  /**
   * Connects as `ssh` would, or gives the connection that is there. Agent forwarding is a connection's, not a site's:
   * who asks for it shares none with who does not. Throws a DeployError; the same for every site of that host.
   */
  async host(address: Address, forwardAgent: boolean, warn: Warn): Promise<Host> {
    const key = JSON.stringify([address.user, address.host, address.port, forwardAgent]);
    const before = this.#hosts.get(key);
    if (before === undefined) {
      const opening = this.#open(address, forwardAgent, warn);
      this.#hosts.set(key, opening);
      return opening;
    }
    const host = await before;
    if (!host.isLost) return host;
    if (this.#hosts.get(key) === before) {
      this.#hosts.delete(key);
      await host[Symbol.asyncDispose]();
    }
    return this.host(address, forwardAgent, warn);
  }

  async #open(address: Address, forwardAgent: boolean, warn: Warn): Promise<Host> {
    const { chain, to } = await this.#dial(address, warn);
    const [client, ...behind] = chain.toReversed() as [Client, ...Client[]];
    const forwards = to.forwards ?? (forwardAgent ? to.agent : undefined);
    if (forwardAgent && forwards === undefined)
      warn('forward_agent: there is no SSH agent here to forward (SSH_AUTH_SOCK is not set)');
    return new Host(to.name, client, {
      behind,
      forwardAgent: forwards !== undefined,
      warn,
    });
  }

  /** The connections that lead to an address, each through the one before; `jumps` take the place of its own ProxyJump. */
  async #dial(
    address: Address,
    warn: Warn,
    { jumps, depth = 0 }: { readonly jumps?: readonly string[]; readonly depth?: number } = {},
  ): Promise<{ readonly chain: readonly Client[]; readonly to: Destination }> {
    if (depth > 8)
      throw new DeployError('unreachable', `${address.host}: its ProxyJump leads in a circle`, {
        hint: 'set "ProxyJump none" for the jump host itself in ~/.ssh/config',
      });
    const means = depth === 0 ? this.#means : { ...this.#means, password: undefined }; // it is the target's
    const asked = destinationOf(address, this.#env, warn);
    const knocking = asked.then((to) => {
      const direct = (jumps ?? to.jumps).length === 0 && to.proxyCommand === undefined;
      return direct ? new Knock(to) : undefined;
    });
    const [to, reached, { connectTo }] = await Promise.all([
      asked,
      knocking,
      import('./connection.ts'),
    ]);
    using knock = reached;
    if (knock) return { chain: [await connectTo(to, means, knock.open)], to };
    const hops = jumps ?? to.jumps;
    const last = hops.at(-1);
    if (last === undefined) {
      const way = async () => streamOf(to.proxyCommand as string, this.#env);
      return { chain: [await connectTo(to, means, way)], to };
    }
    const rest = hops.slice(0, -1);
    const { chain } = await this.#dial(jumpAddress(last), warn, {
      depth: depth + 1,
      ...(rest.length > 0 && { jumps: rest }),
    });
    try {
      const way = () => through(chain.at(-1) as Client, jumpAddress(last).host, to);
      return { chain: [...chain, await connectTo(to, means, way)], to };
    } catch (error) {
      for (const client of chain.toReversed()) client.destroy();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const hosts = await Promise.allSettled(this.#hosts.values());
    await Promise.all(
      hosts.map((host) => host.status === 'fulfilled' && host.value[Symbol.asyncDispose]()),
    );
  }
}

function through(client: Client, jump: string, { name, host, port }: Destination): Promise<Duplex> {
  return new Promise((resolve, reject) =>
    client.forwardOut('127.0.0.1', 0, host, port, (error, stream) => {
      if (!error) return resolve(stream);
      reject(
        new DeployError(
          'unreachable',
          `${name}: the jump host ${jump} cannot reach ${host}:${port}: ${error.message}`,
          {
            hint: 'check the host and the port as the jump host sees them, and that it allows TCP forwarding',
          },
        ),
      );
    }),
  );
}

/** What a ProxyCommand makes of its input is the connection. In a session of its own: a Ctrl-C is not for it. */
function streamOf(command: string, env: SshOptions['env']): Duplex {
  const child = spawn('/bin/sh', ['-c', `exec ${command}`], {
    env: withoutSecrets(env),
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  const stream = Duplex.from({ readable: child.stdout, writable: child.stdin });
  stream.on('error', () => {}).on('close', () => child.kill());
  child.on('error', (error) => stream.destroy(error));
  return stream;
}
