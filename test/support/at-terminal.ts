import type { Writable } from 'node:stream';
import { execa } from 'execa';
import { Screen } from './screen.ts';

/** A program at a terminal of its own. */
export interface AtTerminal {
  readonly screen: Screen;
  /** All that it wrote. */
  readonly bytes: () => string;
  readonly type: (keys: string) => void;
  readonly resize: (columns: number, rows: number) => Promise<void>;
  /** Resolves to the screen as soon as it shows what is looked for; rejects when the program ends before. */
  readonly until: (shows: (lines: readonly string[]) => boolean) => Promise<readonly string[]>;
  /** Resolves to the exit code. */
  readonly ended: Promise<number | undefined>;
}

/** Keys come by stdin, sizes by fd 3. */
const PTY = `
import fcntl, os, pty, select, struct, sys, termios

def resize(terminal, columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))

pid, terminal = pty.fork()
if pid == 0:
    os.close(3)
    resize(0, sys.argv[1], sys.argv[2])
    os.execv(sys.argv[3], sys.argv[3:])
while True:
    for fd in select.select([0, 3, terminal], [], [])[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            sys.exit(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))
        if fd == 3:
            resize(terminal, *data.split())
        else:
            os.write(1 if fd == terminal else terminal, data)
`;

/** Starts it; `argv[0]` is a path. */
export function atTerminal(
  argv: readonly string[],
  options: {
    readonly cwd: string;
    readonly env: Readonly<Record<string, string>>;
    readonly columns: number;
    readonly rows: number;
  },
): AtTerminal {
  const { columns, rows, cwd, env } = options;
  const screen = new Screen(columns, rows, { newlines: false });
  const words = ['-c', PTY, String(columns), String(rows), ...argv];
  const program = execa('/usr/bin/python3', words, {
    ...{ cwd, env, extendEnv: false, reject: false, encoding: 'buffer' },
    stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
  });
  const heard: Buffer[] = [];
  program.stdout.on('data', (data: Buffer) => {
    heard.push(data);
    screen.write(data);
  });
  const ended = program.then(({ exitCode }) => exitCode);
  return {
    screen,
    ended,
    bytes: () => Buffer.concat(heard).toString(),
    type: (keys) => void program.stdin.write(keys),
    resize: async (newColumns, newRows) => {
      await screen.resize(newColumns, newRows);
      (program.stdio[3] as unknown as Writable).write(`${newColumns} ${newRows}`);
    },
    until: async (shows) => {
      let over = false;
      void ended.then(() => {
        over = true;
      });
      for (;;) {
        const last = over;
        const lines = await screen.lines();
        if (shows(lines)) return lines;
        if (last) throw new Error(`it ended without that:\n${lines.join('\n')}`);
        await Promise.race([ended, new Promise((resolve) => program.stdout.once('data', resolve))]);
      }
    },
  };
}
