import { spawn } from 'node:child_process';
import type { Ending, RemoteProcess, Runner } from './runner.ts';

/** This machine. */
export function localRunner(): Runner {
  return {
    target: 'local',
    start: async (argv) => startLocal(argv),
    [Symbol.asyncDispose]: async () => {},
  };
}

/** In a session of its own: the terminal's Ctrl-C and its hang-up are for us, and the process decides what they mean. */
function startLocal([command, ...words]: readonly string[]): RemoteProcess {
  const child = spawn(command as string, words, { stdio: 'pipe', detached: true });
  child.stdin.on('error', () => {});
  const ended = new Promise<Ending>((resolve) => {
    child.on('error', (error) => resolve({ how: 'unstarted', reason: error.message }));
    child.on('close', (code, signal) =>
      resolve(signal ? { how: 'signal', signal } : { how: 'exit', code: code ?? 0 }),
    );
  });
  return {
    write: (data) => void child.stdin.write(data),
    onOutput: (hear) => void child.stdout.on('data', hear),
    onErrors: (hear) => void child.stderr.on('data', hear),
    ended,
    release: () => {
      child.stdin.end();
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
    },
  };
}
