import type { ScriptedStep } from '../step-names.ts';

/** One site of sites.yml, validated, with every default filled in. Nothing in it is a placeholder. */
export interface Site {
  /** The domain: the key in sites.yml. */
  readonly name: string;
  /** As written, credentials included: `repository.ts` of the steps takes them apart. */
  readonly repository: string;
  readonly branch: string;
  /** Absolute and normalised, no trailing slash. */
  readonly deployPath: string;
  readonly venv: string;
  readonly runner: 'local' | 'ssh' | 'docker';
  readonly host: string | undefined;
  readonly user: string | undefined;
  readonly port: number | undefined;
  readonly forwardAgent: boolean;
  readonly dockerContainer: string | undefined;
  readonly dockerUser: string | undefined;
  /** Absolute and normalised, no trailing slash. */
  readonly backupPath: string;
  readonly maxBackups: number;
  readonly maxReleases: number;
  /** Relative, normalised, no `..`. */
  readonly sharedFiles: readonly string[];
  readonly sharedDirs: readonly string[];
  readonly writableDirs: readonly string[];
  /** Octal digits without a leading zero: `775`. */
  readonly writableChmodMode: string;
  readonly writableRecursive: boolean;
  readonly writableUseSudo: boolean;
  /** Relative to the release; undefined: found on the target. */
  readonly projectPath: string | undefined;
  /** Relative to the repository's root; undefined: `requirements.txt` if it is there. */
  readonly requirements: readonly string[] | undefined;
  readonly python: string;
  readonly env: Readonly<Record<string, string>>;
  readonly envFile: string | undefined;
  readonly wsgi: string | undefined;
  /** At least one. */
  readonly restart: readonly Restart[];
  readonly healthCheck: HealthCheck | undefined;
  readonly hooks: Readonly<Partial<Record<HookName, readonly string[]>>>;
  readonly commands: Readonly<Partial<Record<'backup' | 'dependencies' | 'static', string>>>;
  /** Seconds. */
  readonly timeouts: Readonly<Partial<Record<ScriptedStep, number>>>;
}

export type HookName = `before_${ScriptedStep}` | `after_${ScriptedStep}`;

/** How the services of a site take up a release. */
export type Restart =
  | { readonly kind: 'auto' }
  | { readonly kind: 'none' }
  /** A pid file or a Unix socket, absolute; undefined: found like `auto`. */
  | { readonly kind: 'gunicorn'; readonly path: string | undefined }
  | { readonly kind: 'systemd'; readonly unit: string }
  | { readonly kind: 'supervisor'; readonly program: string }
  | { readonly kind: 'touch'; readonly file: string }
  | { readonly kind: 'command'; readonly command: string };

/** A request that the served site must answer. */
export interface HealthCheck {
  /** Path and query, beginning with `/`. */
  readonly path: string;
  /** Where to ask: `http://…` or `https://…` without path; undefined with `socket` undefined: the Gunicorn that is found. */
  readonly origin: string | undefined;
  /** Absolute path of a Unix socket. */
  readonly socket: string | undefined;
  /** The Host header; the site's name unless it is given. */
  readonly host: string;
  /** Inclusive: `[200, 399]`. */
  readonly status: readonly [number, number];
  /** Seconds for one request. */
  readonly timeout: number;
  readonly retries: number;
  /** Seconds between two tries. */
  readonly interval: number;
}
