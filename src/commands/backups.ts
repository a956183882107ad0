import { randomBytes } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, link, open, rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { selectSite } from '../config/select.ts';
import type { Site } from '../config/site.ts';
import { DeployError } from '../errors.ts';
import { listenForInterruption } from '../interruption.ts';
import { suggestion } from '../nearest.ts';
import { type Answer, ask } from '../question.ts';
import { visible } from '../secrets.ts';
import { codeOf, type Signal } from '../verdict.ts';
import { BACKUPS_PROGRAM, type Backup, listBackups } from './backup-list.ts';
import { connectionsFor, warnOn } from './connections.ts';
import { type Context, sameOptions } from './context.ts';
import { configuredSites } from './on-sites.ts';

/** Lists the backups of a site, the newest last, or brings one into the current folder. Resolves to the exit code. */
export async function backups(
  context: Context,
  name: string | undefined,
  wanted: string | undefined,
): Promise<number> {
  const [site] = (await configuredSites(context, (all) => [selectSite(all, name)])) as [Site];
  return wanted === undefined ? listBackups(context, site) : get(context, site, wanted);
}

async function get(context: Context, site: Site, name: string): Promise<number> {
  const { io, globals } = context;
  const list = `deployer backups ${site.name}${sameOptions(globals)}`;
  if (name.includes('/') || name === '')
    throw new DeployError('usage', `a backup is named without a folder: ${visible(name)}`, {
      hint: `${list} lists them; it is put into the current folder`,
    });
  const path = resolve(name);
  if (existsSync(path)) throw isThere(path);
  const part = `${path}.${randomBytes(4).toString('hex')}.part`;
  const stop = new AbortController();
  using interruption = listenForInterruption(() =>
    stop.abort(
      new DeployError(
        codeOf(interruption.signal as Signal),
        `stopped: ${name} was not brought here`,
      ),
    ),
  );
  await using connections = connectionsFor(context, stop.signal);
  await using runner = await connections.to(site, warnOn(context, site.name));
  const words = [site.backupPath, site.name, name];
  const answers = ask(runner, { program: BACKUPS_PROGRAM, words, cancel: stop.signal });
  try {
    await receive(answers, part, name, (words) => refused(site, name, words, list));
    await readThrough(part, name, stop.signal);
    await giveName(part, path);
  } finally {
    await rm(part, { force: true });
  }
  io.stdout.write(
    globals.json
      ? `${JSON.stringify({ type: 'backup', site: site.name, name, path })}\n`
      : `${path}\n`,
  );
  return 0;
}

/** Writes it through to the disk, as long as it was said to be. */
async function receive(
  answers: AsyncIterable<Answer>,
  part: string,
  name: string,
  refusal: (words: readonly string[]) => DeployError,
): Promise<void> {
  let file: FileHandle | undefined;
  let missing = 0;
  try {
    for await (const answer of answers) {
      if (answer.kind === 'refused') throw refusal(answer.words);
      if (answer.kind === 'answer') {
        missing = (answer.value as Pick<Backup, 'size'>).size;
        file = await open(part, 'wx', 0o600);
      } else {
        missing -= answer.data.length;
        await file?.writeFile(answer.data);
      }
    }
    await file?.sync();
  } catch (error) {
    throw error instanceof DeployError ? error : cannotWrite(name, error);
  } finally {
    await file?.close();
  }
  if (missing !== 0) throw notWhole(name, 'it changed while it was brought here');
}

function refused(
  site: Site,
  name: string,
  [why = '', ...names]: readonly string[],
  list: string,
): DeployError {
  if (why !== 'no such backup') return new DeployError('failed', why);
  const what = `${site.name} has no backup ${visible(name)}`;
  if (names.length === 0)
    return new DeployError('usage', `${what}, nor any other in ${visible(site.backupPath)}`);
  const holding = names.filter((each) => each.includes(name)); // a release names its backup
  const meant = holding.length === 1 ? `; did you mean ${holding[0]}?` : suggestion(name, names);
  return new DeployError('usage', `${what}${meant}`, { hint: `${list} lists them` });
}

/** Unpacks it to nowhere: every block of it must be sound. */
async function readThrough(path: string, name: string, signal: AbortSignal): Promise<void> {
  const { Parser } = await import('tar');
  let fault: string | undefined;
  let entries = 0;
  let ended = false;
  const parser = new Parser({
    strict: false,
    onwarn: (code, message) => {
      if (/^TAR_(BAD_ARCHIVE|ENTRY_INVALID|ABORT)$/.test(code)) fault ??= String(message);
    },
    onReadEntry: (entry) => {
      entries++;
      entry.resume();
    },
  });
  parser.on('eof', () => {
    ended = true;
  });
  try {
    await pipeline(createReadStream(path), parser as unknown as NodeJS.WritableStream, { signal });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    fault ??= (error as Error).message;
  }
  if (entries === 0) fault ??= 'there is nothing in it';
  if (!ended) fault ??= 'its end is missing';
  if (fault !== undefined) throw notWhole(name, fault);
}

/** A hard link never takes the place of a file; where there are none, a look and a rename must do. */
async function giveName(part: string, path: string): Promise<void> {
  try {
    await link(part, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' || existsSync(path)) throw isThere(path);
    await rename(part, path);
  }
}

const isThere = (path: string): DeployError =>
  new DeployError('usage', `${visible(path)} is there already: it is not overwritten`, {
    hint: 'move it away, or go to another folder',
  });

const notWhole = (name: string, why: string): DeployError =>
  new DeployError('failed', `${name} cannot be read through to its end: ${why}`, {
    hint: 'nothing was kept here; ask again, and if that ends the same way, take another backup',
  });

const cannotWrite = (name: string, error: unknown): DeployError =>
  new DeployError('failed', `${name} cannot be written here: ${(error as Error).message}`, {
    hint: 'go to a folder that can be written and has room',
  });
