import type { Context } from '../../src/commands/context.ts';

/** What a command is called with, and what it says. */
export function terminal(config: string, changes: Partial<Context['globals']> = {}, env = {}) {
  const said = { out: '', err: '' };
  const into = (stream: 'out' | 'err') => (text: string) => {
    said[stream] += text;
  };
  const context: Context = {
    io: {
      stdout: { write: into('out') },
      stderr: { write: into('err') },
      env,
    },
    globals: {
      config,
      json: false,
      verbose: false,
      quiet: false,
      color: false,
      yes: false,
      host: undefined,
      ...changes,
    },
    typed: 'deployer',
  };
  return { context, said };
}
