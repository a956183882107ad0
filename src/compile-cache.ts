import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { Script } from 'node:vm';

/** Loads CommonJS files with what V8 compiled of them in earlier runs. */
export interface Loader {
  /** What a file exports. Those beside it that it asks for are loaded in the same way. */
  load(file: string): unknown;
  /** Keeps what was compiled until now, where that is clearly more than what was kept before. Never throws. */
  keep(): void;
}

interface Cache {
  readonly folder: string;
  readonly seal: ReturnType<typeof sealOf>;
}

interface Loaded {
  readonly script: Script;
  readonly seal: (data: Buffer) => Buffer;
  /** Where it is kept. */
  readonly path: string;
  /** How many bytes were kept before, and taken. */
  readonly bytes: number;
}

/**
 * Where: `$XDG_CACHE_HOME/deployer`, else `~/.cache/deployer`, if nobody else can change what lies there: it is run.
 * `NODE_DISABLE_COMPILE_CACHE` turns it off, as it does Node's own compile cache, which Node 20 lacks.
 */
export function loader(env: NodeJS.ProcessEnv): Loader {
  const cache = env.NODE_DISABLE_COMPILE_CACHE ? undefined : openCache(env);
  const modules = new Map<string, { exports: unknown }>();
  const loaded: Loaded[] = [];

  const compile = (file: string): Script => {
    const source = readFileSync(file);
    const code = `(function (exports, require, module, __filename, __dirname) {\n${source}\n})`;
    const options = { filename: file, lineOffset: -1 };
    if (cache === undefined) return new Script(code, options);
    const path = join(cache.folder, basename(file));
    const seal = (data: Buffer) => cache.seal(source, data);
    const cachedData = read(path, seal);
    const script = new Script(code, { ...options, cachedData });
    const bytes = script.cachedDataRejected ? 0 : (cachedData?.length ?? 0);
    loaded.push({ script, seal, path, bytes });
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
      for (const { script, seal, path, bytes } of loaded) {
        const data = script.createCachedData();
        if (data.length <= bytes * 1.05) continue;
        rmSync(path, { force: true });
        const content = Buffer.concat([seal(data), data]);
        writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
      }
    } catch {} // as with a full disk: the next start takes longer
  };
  return { load, keep };
}

/**
 * What stands before the data. V8 believes what it is given, even of another build of the same version, which then
 * crashes: so only what is whole, and of this source and that Node.
 */
export const sealOf = (node: string) => (source: Buffer, data: Buffer) =>
  createHash('sha256').update(node).update(source).update(data).digest();

const SEAL_BYTES = 32;

/** The one that runs: asked at the start, for it may be upgraded while we run. */
export function thisNode(): string {
  const { size, mtimeMs } = statSync(process.execPath);
  return JSON.stringify([process.version, process.arch, process.execPath, size, mtimeMs]);
}

function read(path: string, seal: (data: Buffer) => Buffer): Buffer | undefined {
  try {
    const found = lstatSync(path);
    if (!found.isFile() || !isOurs(found)) return undefined;
    const content = readFileSync(path);
    const data = content.subarray(SEAL_BYTES);
    return seal(data).equals(content.subarray(0, SEAL_BYTES)) ? data : undefined;
  } catch {
    return undefined; // nothing kept yet
  }
}

function openCache({ XDG_CACHE_HOME, HOME }: NodeJS.ProcessEnv): Cache | undefined {
  const caches = XDG_CACHE_HOME || (HOME && join(HOME, '.cache'));
  if (!caches || !isAbsolute(caches)) return undefined;
  try {
    const folder = made(join(made(caches), 'deployer'));
    const found = lstatSync(folder);
    if (!found.isDirectory() || !isOurs(found)) return undefined;
    return { folder, seal: sealOf(thisNode()) };
  } catch {
    return undefined; // as with a home that cannot be written, or a Node that was removed while we start
  }
}

/** The folder, made where it is missing. Throws where another account could put something else into its place. */
function made(folder: string): string {
  const parent = realpathSync(dirname(folder));
  for (let at = parent; ; at = dirname(at)) {
    if (!isSafe(lstatSync(at))) throw new Error(`others can change ${at}`);
    if (at === dirname(at)) break;
  }
  if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 });
  return join(parent, basename(folder));
}

const STICKY = 0o1000;

const isOurs = ({ uid, mode }: Stats): boolean =>
  uid === process.geteuid?.() && (mode & 0o022) === 0;

const isSafe = (found: Stats): boolean =>
  isOurs(found) || (found.uid === 0 && ((found.mode & 0o022) === 0 || (found.mode & STICKY) !== 0));
