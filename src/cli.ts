import { readFileSync } from 'node:fs';
import { CommanderError } from 'commander';
import { commandLine } from './command-line.ts';
import type { Context, Io } from './commands/context.ts';
import { asDeployError } from './errors.ts';
import { ciOf } from './reporters/ci.ts';

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
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // --help, --version
    const failure = failureOf(error);
    await tell(failure, io, argv.includes('--json'));
    return failure.exit;
  }
}

interface CommandFailure {
  readonly exit: number;
  readonly reason: string;
  /** One line for each thing to know. */
  readonly lines: readonly string[];
  /** Commander has told it to people. */
  readonly told: boolean;
}

/** The one catch: what went wrong, and what to do. */
function failureOf(error: unknown): CommandFailure {
  if (error instanceof CommanderError) {
    const lines = error.message.replace(/^error: /, '').split('\n');
    return { exit: 2, reason: 'usage', lines, told: true };
  }
  const { message, hint, code, exitCode } = asDeployError(error);
  const advice = hint === undefined ? [] : [`to do: ${hint}`];
  return { exit: exitCode, reason: code, lines: [...message.split('\n'), ...advice], told: false };
}

/** On stderr; with --json on stdout too, as the result that a script waits for; in a CI service as its annotation. */
async function tell(failure: CommandFailure, io: Io, json: boolean): Promise<void> {
  const { exit, reason, lines, told } = failure;
  const [summary, ...details] = lines;
  const text = `deployer: ${lines.join('\n')}`;
  const ci = ciOf(io.env);
  if (ci !== undefined) io.stderr.write(ci.failure(ci.harmless(text)));
  else if (!told) io.stderr.write(`${text}\n`);
  if (!json) return;
  const { jsonLines } = await import('./reporters/json.ts');
  const { say } = jsonLines((line) => io.stdout.write(line));
  say({ type: 'result', exit, reason, summary, details });
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
