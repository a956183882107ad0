import { quote } from '../shell.ts';

/** Where a command reads and writes; tests give their own. */
export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: NodeJS.ProcessEnv;
}

export interface Output {
  /** `written` is called when all that was given before is written. */
  write(text: string, written?: () => void): unknown;
  readonly isTTY?: boolean;
  /** Of a terminal, as it is now. */
  readonly columns?: number;
  readonly rows?: number;
  /** How much of what was given is not written yet, and whether that is too much. */
  readonly writableLength?: number;
  readonly writableNeedDrain?: boolean;
  on?(event: 'error', listener: () => void): unknown;
}

/** The options that every command takes. */
export interface Globals {
  readonly config: string | undefined;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly quiet: boolean;
  readonly color: boolean;
  readonly yes: boolean;
  /** `-H [USER@]HOST[:PORT]`. */
  readonly host: string | undefined;
}

export interface Context {
  readonly io: Io;
  readonly globals: Globals;
  /** The command as typed, for whoever finds the lock. */
  readonly typed: string;
}

/** The options by which a further command finds the same sites, as they are typed: ` --config 'my sites.yml'`, or nothing. */
export const sameOptions = ({ config, host }: Pick<Globals, 'config' | 'host'>): string =>
  [
    ...(config === undefined ? [] : ['--config', config]),
    ...(host === undefined ? [] : ['-H', host]),
  ]
    .map((word) => ` ${/^[\w./@:-]+$/.test(word) ? word : quote(word)}`)
    .join('');
