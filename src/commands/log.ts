import { ciOf } from '../reporters/ci.ts';
import { linesLog } from '../reporters/lines.ts';
import type { Log } from '../reporters/log.ts';
import type { Context, Output } from './context.ts';

/**
 * The log that suits who reads it: a live view at a terminal, groups in a CI service that has them, else plain lines.
 * With several sites there are no groups: those of sites side by side would mix, and to hold a step's output back until
 * its end would show nothing of a long one.
 */
export async function logOf({ io, globals }: Context, several: boolean): Promise<Log> {
  const { verbose, quiet, color } = globals;
  const ci = ciOf(io.env);
  const write = (text: string) => void io.stderr.write(text);
  if (!several && !quiet && ci !== undefined) {
    return (await import('../reporters/groups.ts')).groupsLog({ write, ci, color });
  }
  if (!quiet && !io.env.CI && io.stderr.isTTY && (io.env.TERM || 'dumb') !== 'dumb') {
    const { terminalLog } = await import('../reporters/terminal.ts');
    const unicode = isUnicode(io.env);
    neverWait(io.stderr);
    return terminalLog({ terminal: io.stderr, prefix: several, unicode, verbose, quiet, color });
  }
  const harmless = ci?.harmless ?? ((text: string) => text);
  return {
    ...linesLog({
      write: (text) => write(harmless(text)),
      prefix: several,
      verbose,
      quiet,
      color,
    }),
    fail: (text) => write(ci ? ci.failure(harmless(text)) : `${text}\n`),
  };
}

/**
 * Node waits for a terminal until it has written; one that was stopped with Ctrl-S would so keep us from the target, which
 * takes a client that is silent for gone, and undoes its deploy. What cannot be written yet is kept.
 */
function neverWait(terminal: Output & { readonly _handle?: TerminalHandle }): void {
  terminal._handle?.setBlocking?.(false);
}

/** Undocumented in Node, and in use for as long as there are command lines written for it. */
interface TerminalHandle {
  readonly setBlocking?: (blocking: boolean) => void;
}

/** The console of Linux has no font for the marks. */
const isUnicode = ({ LC_ALL, LC_CTYPE, LANG, TERM }: NodeJS.ProcessEnv): boolean =>
  /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '') && TERM !== 'linux';
