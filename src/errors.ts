/** What can go wrong, as a script tells it apart by the exit code. */
const EXIT_CODES = {
  failed: 1,
  usage: 2,
  config: 2,
  locked: 3,
  unreachable: 4,
  'not-undone': 5,
  partial: 6,
  unknown: 7,
  interrupted: 130,
  terminated: 143,
  'hung-up': 129,
} as const;

export type ErrorCode = keyof typeof EXIT_CODES;

/** The one error that is shown to people: what happened and where, and in `hint` what to do about it. */
export class DeployError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'DeployError';
    this.code = code;
    this.hint = options.hint;
  }

  get exitCode(): number {
    return EXIT_CODES[this.code];
  }
}

/** What was thrown, as people are shown it: what nobody foresaw is a fault of ours. */
export const asDeployError = (thrown: unknown): DeployError =>
  thrown instanceof DeployError
    ? thrown
    : new DeployError(
        'failed',
        `a fault of deployer itself, please report it:\n${(thrown as Error)?.stack ?? thrown}`,
        { cause: thrown },
      );

/** The process exit code of an error code. */
export const exitCodeOf = (code: ErrorCode): number => EXIT_CODES[code];
