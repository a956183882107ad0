import { readFileSync } from 'node:fs';
import { CommanderError } from 'commander';
import { commandLine } from './command-line.ts';
import type { Context, Io } from './commands/context.ts';
import { DeployError } from './errors.ts';

/** Runs the command line. Resolves to the exit code; every failure has been told by then. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  for (const stream of [io.stdout, io.stderr]) stream.on?.('error', () => {}); // a reader that left is no reason to stop
  let exit = 0;
  try {
    const program = await commandLine(argv, version(), async (work, flags, words) => {
      exit = await work(contextOf(io, flags, argv), flags, words);
    });
    for (const each of [program, ...program.commands]) {
      each.exitOverride().configureOutput({
        writeOut: (text) => io.stdout.write(text),
        writeErr: (text) => io.stderr.write(text),
      });
    }
    await program.parseAsync(argv as string[]);
    return exit;
  } catch (error) {
    return told(error, io);
  }
}

/** The one catch: what went wrong and what to do, to stderr. */
function told(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof DeployError) {
    io.stderr.write(`deployer: ${error.message}\n`);
    if (error.hint !== undefined) io.stderr.write(`to do: ${error.hint}\n`);
    return error.exitCode;
  }
  const trace = (error as Error)?.stack ?? error;
  io.stderr.write(`deployer: a fault of deployer itself, please report it:\n${trace}\n`);
  return 1;
}

function contextOf(
  io: Io,
  { config, json, verbose, quiet, color, yes, H }: Readonly<Record<string, unknown>>,
  argv: readonly string[],
): Context {
  return {
    io,
    typed: ['deployer', ...argv.slice(2)].join(' '),
    globals: {
      config: config as string | undefined,
      json: json === true,
      verbose: verbose === true,
      quiet: quiet === true,
      color:
        color !== false && !io.env.NO_COLOR && io.stderr.isTTY === true && io.env.TERM !== 'dumb',
      yes: yes === true,
      host: H as string | undefined,
    },
  };
}

const version = (): string =>
  (
    JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    }
  ).version;
