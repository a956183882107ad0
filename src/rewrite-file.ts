import { randomBytes } from 'node:crypto';
import {
  type FileHandle,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A claim of a process on another machine, or one whose pid was given away again, ends after this time. */
const STALE_AFTER = 60_000;
const PATIENCE = 30_000;

/**
 * Gives a file new content, made from what it holds: written beside it and renamed over it, so that a reader sees the
 * old or the new one, whole. Mode and owner are kept, a symbolic link is followed. `rewritten` is called with the
 * file's path while no other process is in here with the same file, and again should this process be held up so long
 * that it was taken for dead. Rejects with what `rewritten` throws, or with the system's error; ETIMEDOUT where others
 * are at it for 30 seconds.
 *
 * The file that is written beside is also the claim: each has a name of its own, so one that a dead process left can be
 * removed without harm to any other, and a rename fails if it was.
 */
export async function rewriteFile(
  path: string,
  rewritten: (file: string) => Promise<string>,
): Promise<void> {
  const file = await linkTarget(path);
  for (const end = Date.now() + PATIENCE; Date.now() < end; await sleep(2 + Math.random() * 40)) {
    if (await isClaimed(file)) continue;
    const mine = claimName(file);
    const handle = await open(mine, 'wx');
    try {
      if (await isClaimed(file, mine)) continue;
      await write(handle, file, await rewritten(file));
      await rename(mine, file);
      return await synced(dirname(file));
    } catch (error) {
      if (!(await isGone(mine, error))) throw error;
    } finally {
      await handle.close();
      await rm(mine, { force: true });
    }
  }
  throw Object.assign(new Error(`${file} is being written by others`), { code: 'ETIMEDOUT' });
}

async function linkTarget(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const link = await readlink(path).catch(() => undefined);
    return link === undefined ? resolve(path) : linkTarget(resolve(dirname(path), link));
  }
}

/** The name says who claims: what a file says could be read before it is written. */
const claimName = (file: string): string =>
  join(
    dirname(file),
    `${prefix(file)}${hostname()}.${process.pid}.${randomBytes(8).toString('hex')}`,
  );

const prefix = (file: string): string => `.${basename(file)}.new.`;

/** Another process is at it. What dead ones left is removed on the way. */
async function isClaimed(file: string, mine?: string): Promise<boolean> {
  const names = await readdir(dirname(file));
  const others = names
    .filter((name) => name.startsWith(prefix(file)))
    .map((name) => join(dirname(file), name))
    .filter((claim) => claim !== mine);
  for (const claim of others) {
    if (await isAlive(claim, file)) return true;
    await rm(claim, { force: true });
  }
  return false;
}

async function isAlive(claim: string, file: string): Promise<boolean> {
  const since = await stat(claim).catch(() => undefined);
  if (since === undefined || Date.now() - since.mtimeMs > STALE_AFTER) return false;
  const [, host, pid] =
    /^(.*)\.(\d+)\.[0-9a-f]+$/.exec(basename(claim).slice(prefix(file).length)) ?? [];
  return host !== hostname() || isRunning(Number(pid));
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function write(handle: FileHandle, file: string, content: string): Promise<void> {
  const before = await stat(file).catch(() => undefined);
  if (before !== undefined) {
    await handle.chown(before.uid, before.gid).catch(() => {});
    await handle.chmod(before.mode & 0o7777);
  }
  await handle.writeFile(content);
  await handle.sync();
}

async function synced(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}

/** The claim was removed by a process that took this one for dead. */
async function isGone(claim: string, error: unknown): Promise<boolean> {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return false;
  return (await stat(claim).catch(() => undefined)) === undefined;
}
