import { type Connections, openConnections } from '../runners/connect.ts';
import { openTerminal } from '../terminal.ts';
import type { Context } from './context.ts';

/** The ways to the targets of this command. A person at a terminal may be asked, unless `--yes` says not to. */
export const connectionsFor = (
  { io, globals }: Context,
  cancel: AbortSignal = new AbortController().signal,
): Connections =>
  openConnections({
    env: io.env,
    terminal: globals.yes ? undefined : openTerminal(cancel),
    cancel,
  });

/** A warning of a connection, where no log is under way. */
export const warnOn =
  ({ io }: Context, site: string) =>
  (message: string): void =>
    void io.stderr.write(`${site}: warning: ${message}\n`);
