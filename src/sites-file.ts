import { readFile } from 'node:fs/promises';
import type { NewSite } from './config/add.ts';
import type { ParseOptions } from './config/parse.ts';
import type { Site } from './config/site.ts';
import { DeployError } from './errors.ts';
import { rewriteFile } from './rewrite-file.ts';

/** Where the sites are: `--config`, else DEPLOYER_CONFIG, else `sites.yml` in the working directory. */
export function configPath(context: {
  readonly io: { readonly env: Readonly<Record<string, string | undefined>> };
  readonly globals: { readonly config: string | undefined };
}): string {
  return context.globals.config ?? (context.io.env.DEPLOYER_CONFIG || 'sites.yml');
}

/** The sites of a file. Throws a DeployError('config') where it cannot be read, or for all that is wrong in it. */
export async function readSites(path: string, options?: ParseOptions): Promise<readonly Site[]> {
  const text = await contentOf(path);
  if (text === undefined) {
    throw new DeployError('config', `there is no ${path}`, {
      hint: 'make it with the first site: deployer siteadd DOMAIN REPOSITORY; or name another file: --config FILE',
    });
  }
  const { parseSites } = await import('./config/parse.ts');
  return parseSites(text, path, options);
}

/**
 * Adds a site to a file, which is made if there is none. All or nothing, and of several at once each adds its own.
 * Throws the DeployError of `addSite`, or 'config' where the file cannot be read or written.
 */
export async function addToSitesFile(path: string, site: NewSite): Promise<void> {
  const { addSite } = await import('./config/add.ts');
  try {
    await rewriteFile(path, async (file) => addSite(await contentOf(file), site, path));
  } catch (error) {
    throw asConfigError(error, `cannot write ${path}`);
  }
}

/** The text of a file; undefined: there is none. */
async function contentOf(path: string): Promise<string | undefined> {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw asConfigError(error, `cannot read ${path}`);
  }
}

function asConfigError(error: unknown, what: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  const reason = code === undefined ? undefined : REASONS[code];
  return reason === undefined
    ? error
    : new DeployError('config', `${what}: ${reason}`, { cause: error });
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is no folder',
  ENOENT: 'there is no such folder',
  ELOOP: 'too many symbolic links',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'it is not UTF-8 text',
  ETIMEDOUT: 'another process has been writing it for 30 seconds',
};
