import { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Client, ClientChannel, ExecOptions } from 'ssh2';
import { DeployError } from '../../errors.ts';
import type { Ending, RemoteProcess } from '../runner.ts';
import { type Asked, askFor } from './at-once.ts';
import { loginShellCommand } from './login-shell.ts';

/** Channels of one connection at a time: below OpenSSH's MaxSessions of 10. */
const CHANNELS = 8;

export interface HostOptions {
  /** The connections that lead there, the outermost last. */
  readonly behind: readonly Client[];
  readonly forwardAgent: boolean;
  readonly warn: (message: string) => void;
}

/** One connection to a host, for all the sites that live there. */
export class Host implements AsyncDisposable {
  readonly #name: string;
  readonly #client: Client;
  readonly #behind: readonly Client[];
  readonly #waiting: (() => void)[] = [];
  readonly #warn: HostOptions['warn'];
  #forwardsAgent: boolean;
  #open = 0;
  #hadChannels = false;
  #limit = CHANNELS;
  /** Why the connection ended; undefined: it has not. */
  #lost: string | undefined;

  constructor(name: string, client: Client, { behind, forwardAgent, warn }: HostOptions) {
    this.#name = name;
    this.#client = client;
    this.#behind = behind;
    this.#forwardsAgent = forwardAgent;
    this.#warn = warn;
    client.on('error', (error) => {
      this.#lost ??= error.message;
    });
    client.on('close', () => {
      this.#lost ??= 'it was closed';
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** As it was asked for: `web1`. */
  get name(): string {
    return this.#name;
  }

  /** A stream to a Unix socket of the host. Rejects with what sshd says, which names no reason. */
  async socket(path: string): Promise<ClientChannel> {
    if (this.#lost !== undefined) throw this.#refusal(new Error(this.#lost));
    return new Promise((resolve, reject) => {
      this.#client.openssh_forwardOutStreamLocal(path, (error, channel) =>
        error ? reject(error) : resolve(channel),
      );
    });
  }

  /** Starts a process when a channel is free. Throws a DeployError where the host does not let us. */
  async start(argv: readonly string[]): Promise<RemoteProcess> {
    const command = loginShellCommand(argv);
    for (let tries = 1; ; ) {
      while (this.#open >= this.#limit && !this.isLost)
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#open++;
      try {
        const asked = await this.#ask(command);
        this.#hadChannels = true;
        asked.channel.then(
          (channel) => channel.on('close', () => this.#freed()),
          () => this.#freed(),
        );
        return processOf(asked, (error) => this.#endingOf(error));
      } catch (error) {
        this.#freed();
        if (/agent forwarding/.test((error as Error).message) && !this.isLost) {
          this.#forwardsAgent = false;
          this.#warn('the host does not let us forward the SSH agent (AllowAgentForwarding)');
          continue;
        }
        const full = !this.isLost && /open failed/i.test((error as Error).message);
        if (full && this.#open > 0) {
          this.#limit = this.#open; // MaxSessions is lower there
        } else if (full && this.#hadChannels && tries++ < 20) {
          await pause(50); // sshd still counts a channel that has just ended
        } else throw this.#refusal(error as Error);
      }
    }
  }

  #freed(): void {
    this.#open--;
    this.#waiting.shift()?.();
  }

  #ask(command: string): Promise<Asked> {
    const options = { agentForward: this.#forwardsAgent } as ExecOptions; // its types do not know it
    return askFor(this.#client, command, options);
  }

  /** Of a process that did not say how it ended; the error: it was not granted. */
  #endingOf(error: Error | undefined): Ending {
    if (error === undefined || this.isLost)
      return { how: 'lost', reason: this.#lost ?? 'the connection was closed' };
    return { how: 'unstarted', reason: this.#refusal(error).message };
  }

  #refusal({ message }: Error): DeployError {
    return new DeployError(
      'unreachable',
      `${this.#name}: no process could be started: ${this.#lost ?? message}`,
      { hint: `see what this says: ssh ${this.#name} true` },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isLost) await ended(this.#client);
    for (const client of this.#behind) await ended(client);
  }
}

/** An orderly end, for which TCP needs no answer; elsewhere one that does not come is let go of after a second. */
function ended(client: Client): Promise<void> {
  return new Promise((resolve) => {
    const give = setTimeout(() => {
      client.destroy();
      resolve();
    }, 1000);
    client.once('close', () => {
      clearTimeout(give);
      resolve();
    });
    client.end();
    const { _sock } = client as unknown as { readonly _sock?: unknown };
    if (_sock instanceof Socket) _sock.once('finish', () => _sock.destroy());
  });
}

function processOf(
  { channel, write }: Asked,
  endingOf: (error: Error | undefined) => Ending,
): RemoteProcess {
  const granted = channel.catch(() => undefined);
  granted.then((each) => {
    each?.on('error', () => {});
    each?.stderr.on('error', () => {});
  });
  const ended = channel.then(
    (each) =>
      new Promise<Ending>((resolve) => {
        each.on('close', (code: number | null | undefined, signal: string | undefined) => {
          if (signal) resolve({ how: 'signal', signal });
          else if (typeof code === 'number') resolve({ how: 'exit', code });
          else resolve(endingOf(undefined));
        });
      }),
    endingOf,
  );
  return {
    write,
    onOutput: (hear) => void granted.then((each) => each?.on('data', hear)),
    onErrors: (hear) => void granted.then((each) => each?.stderr.on('data', hear)),
    ended,
    release: () =>
      void granted.then((each) => {
        each?.end();
        for (const stream of each ? [each, each.stderr] : [])
          stream.removeAllListeners('data').resume(); // unread, it would never close
      }),
  };
}
