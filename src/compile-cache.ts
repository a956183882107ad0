import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { constants, Script } from 'node:vm';

/** Loads CommonJS files with what V8 compiled of them in earlier runs. */
export interface Loader {
  /** What a file exports. Those beside it that it asks for are loaded in the same way. */
  load(file: string): unknown;
  /** Keeps what was compiled until now, where that is clearly more than what was kept before. Never throws. */
  keep(): void;
}

interface Loaded {
  readonly script: Script;
  readonly source: Buffer;
  /** Where it is kept. */
  readonly path: string;
  /** How many bytes were kept before, and taken. */
  readonly bytes: number;
}

/**
 * Where: `$XDG_CACHE_HOME/deployer`, else `~/.cache/deployer`, if that folder is ours alone: what lies there is run.
 * `NODE_DISABLE_COMPILE_CACHE` turns it off, as it does Node's own compile cache, which Node 20 lacks.
 */
export function loader(env: NodeJS.ProcessEnv): Loader {
  const folder = env.NODE_DISABLE_COMPILE_CACHE ? undefined : cacheFolder(env);
  const modules = new Map<string, { exports: unknown }>();
  const loaded: Loaded[] = [];

  const compile = (file: string): Script => {
    const source = readFileSync(file);
    const code = `(function (exports, require, module, __filename, __dirname) {${source}\n})`;
    const importModuleDynamically = constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
    if (folder === undefined) return new Script(code, { filename: file, importModuleDynamically });
    const path = join(folder, basename(file));
    const cachedData = read(path, source);
    const script = new Script(code, { filename: file, importModuleDynamically, cachedData });
    const bytes = script.cachedDataRejected ? 0 : (cachedData?.length ?? 0);
    loaded.push({ script, source, path, bytes });
    return script;
  };

  const load = (file: string): unknown => {
    const known = modules.get(file);
    if (known !== undefined) return known.exports;
    const module = { exports: {} };
    modules.set(file, module);
    const folder = dirname(file);
    const external = createRequire(file);
    const require = (id: string) => (id.startsWith('./') ? load(join(folder, id)) : external(id));
    compile(file).runInThisContext()(module.exports, require, module, file, folder);
    return module.exports;
  };

  const keep = () => {
    try {
      for (const { script, source, path, bytes } of loaded) {
        const data = script.createCachedData();
        if (data.length <= bytes * 1.05) continue;
        writeFileSync(path, Buffer.concat([digest(source, data), data]), { mode: 0o600 });
      }
    } catch {} // as with a full disk: the next start takes longer
  };
  return { load, keep };
}

/** V8 believes what it is given: so only what belongs to this very source, and is whole. */
const digest = (source: Buffer, data: Buffer) =>
  createHash('sha256').update(source).update(data).digest();

const DIGEST_BYTES = 32;

function read(path: string, source: Buffer): Buffer | undefined {
  try {
    if (!isOurs(lstatSync(path))) return undefined;
    const content = readFileSync(path);
    const data = content.subarray(DIGEST_BYTES);
    const isWhole = digest(source, data).equals(content.subarray(0, DIGEST_BYTES));
    return isWhole ? data : undefined;
  } catch {
    return undefined; // nothing kept yet
  }
}

function cacheFolder({ XDG_CACHE_HOME, HOME = '' }: NodeJS.ProcessEnv): string | undefined {
  const caches = XDG_CACHE_HOME || join(HOME, '.cache');
  const folder = join(caches, 'deployer');
  if (!isAbsolute(folder)) return undefined;
  try {
    if (!existsSync(caches)) mkdirSync(caches, { mode: 0o700 }); // not recursive, which in some file systems never ends
    if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 });
    const found = lstatSync(folder);
    return found.isDirectory() && isOurs(found) ? folder : undefined;
  } catch {
    return undefined; // as with a home that cannot be written
  }
}

const isOurs = ({ uid, mode }: { uid: number; mode: number }) =>
  uid === process.geteuid?.() && (mode & 0o022) === 0;
