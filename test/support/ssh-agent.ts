import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { execa } from 'execa';

/** A real SSH agent. */
export interface SshAgent extends AsyncDisposable {
  readonly socket: string;
  /** From now on it holds these private keys, and no other. */
  hold(...files: readonly string[]): Promise<void>;
}

export async function sshAgent(socket: string): Promise<SshAgent> {
  const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(agent.stdout, 'data');
  const env = { SSH_AUTH_SOCK: socket };
  return {
    socket,
    hold: async (...files) => {
      await execa('ssh-add', ['-q', '-D'], { env });
      for (const file of files) await execa('ssh-add', ['-q', file], { env });
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(agent, 'close');
      agent.kill();
      await ended;
    },
  };
}
