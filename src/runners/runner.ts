/** A place where processes run. The kinds differ in nothing else. */
export interface Runner extends AsyncDisposable {
  /** For people: `local`, `ssh deployer@web1:22`, `docker shop on web1`. */
  readonly target: string;
  /** Starts a process that outlives this one, if it must. Rejects with a DeployError where it cannot be started. */
  start(argv: readonly string[]): Promise<RemoteProcess>;
}

/** Bytes in, bytes out, and how it ended. */
export interface RemoteProcess {
  write(data: Uint8Array): void;
  onOutput(hear: (data: Buffer) => void): void;
  onErrors(hear: (data: Buffer) => void): void;
  /** Never rejects. */
  readonly ended: Promise<Ending>;
  /** Lets go of the process without ending it: it sees the end of its input, and nothing of it is heard any more. */
  release(): void;
}

/** Only exit 0 is success. `lost`: it may go on; `unstarted`: there was no process. */
export type Ending =
  | { readonly how: 'exit'; readonly code: number }
  | { readonly how: 'signal'; readonly signal: string }
  | { readonly how: 'lost'; readonly reason: string }
  | { readonly how: 'unstarted'; readonly reason: string };
