import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type TmpFolder, tmpFolder } from './support/tmp.ts';

const HISTORY = fileURLToPath(new URL('../src/target/history.py', import.meta.url));

/** One folder in releases/, with what the history says of it and what else is true of it. */
interface Entry {
  readonly name: string;
  /** The events of its record, in order; none: there is no record. */
  readonly events: readonly string[];
  /** A process lives in it; or a run that died has still to be undone. */
  readonly busy: 'process' | 'plan' | undefined;
  /** A folder, as releases are; what else may have such a name. */
  readonly kind: 'folder' | 'file' | 'link';
}

const id = fc
  .integer({ min: 0, max: 40 })
  .map((number) => `20261122_2130${String(number).padStart(2, '0')}_000`);
const foreign = fc.constantFrom(
  'before',
  'v1.2',
  '20261122_213015_0000',
  '20261122_213015_000.old',
  'x20261122_213015_000',
  '20261122213015',
  '.hidden',
);
const states = fc.array(fc.constantFrom('good', 'good', 'good', 'failed', 'left', 'removed'), {
  maxLength: 3,
});
const events = fc.oneof(
  { weight: 6, arbitrary: states.map((each) => ['begun', ...each]) },
  { weight: 1, arbitrary: states },
);
const entry: fc.Arbitrary<Entry> = fc.record({
  name: fc.oneof({ weight: 8, arbitrary: id }, { weight: 1, arbitrary: foreign }),
  events,
  busy: fc.oneof(
    { weight: 8, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constantFrom('process' as const, 'plan' as const) },
  ),
  kind: fc.oneof(
    { weight: 12, arbitrary: fc.constant('folder' as const) },
    { weight: 1, arbitrary: fc.constantFrom('file' as const, 'link' as const) },
  ),
});
const site = fc.record({
  entries: fc.uniqueArray(entry, { selector: ({ name }) => name, minLength: 1, maxLength: 12 }),
  keep: fc.integer({ min: 1, max: 5 }),
  live: fc.nat(),
});

test('cleanup deletes what is ours, old and idle, and nothing else, whatever the history is', async () => {
  await fc.assert(
    fc.asyncProperty(site, async ({ entries, keep, live: at }) => {
      await using folder = await tmpFolder();
      const folders = entries.filter(({ kind }) => kind === 'folder');
      const live = folders[at % Math.max(1, folders.length)]?.name ?? '';
      const left = await prune(folder, entries, keep, live);
      const gone = entries.filter(({ name }) => !left.includes(name));

      for (const { name, busy, events, kind } of gone) {
        expect(name).toMatch(/^\d{8}_\d{6}_\d{3}$/);
        expect(name).not.toBe(live);
        expect(busy).toBeUndefined();
        expect(events).toContain('begun');
        expect(kind).toBe('folder');
        expect(newestGood(folders, keep)).not.toContain(name);
      }
      const stay = entries.filter((each) => mayStay(each, folders, keep, live));
      expect([...left].sort()).toEqual(stay.map(({ name }) => name).sort());
    }),
    { numRuns: 60 },
  );
});

const state = ({ events }: Entry) => events.findLast((event) => event !== 'begun') ?? '';

/** Releases of before our time are older than all of ours. */
const newestFirst = (a: Entry, b: Entry) => (age(a.name) < age(b.name) ? 1 : -1);
const age = (name: string) => `${/^\d{8}_\d{6}_\d{3}$/.test(name) ? 1 : 0}${name}`;

const newestGood = (folders: readonly Entry[], keep: number) =>
  folders
    .filter((each) => state(each) === 'good')
    .sort(newestFirst)
    .slice(0, keep)
    .map(({ name }) => name);

function mayStay(each: Entry, folders: readonly Entry[], keep: number, live: string): boolean {
  const kept = newestGood(folders, keep);
  const isOurs = /^\d{8}_\d{6}_\d{3}$/.test(each.name) && each.events.includes('begun');
  const isOld = each.kind === 'folder' && isOurs && state(each) !== 'removed';
  const leftSince = state(each) === 'left' && age(each.name) > age(kept.at(-1) ?? '');
  return (
    !isOld || each.name === live || each.busy !== undefined || kept.includes(each.name) || leftSince
  );
}

/** Makes the site on a disk and cleans it up. Resolves to the names that are left in releases/. */
async function prune(
  { path }: TmpFolder,
  entries: readonly Entry[],
  keep: number,
  live: string,
): Promise<readonly string[]> {
  const run = join(path, '.deployer/run/20261122_235959_000');
  for (const name of ['.deployer/history', run, 'releases', 'backups', 'elsewhere'])
    await mkdir(name.startsWith('/') ? name : join(path, name), { recursive: true });
  for (const each of entries) await make(path, each);
  if (live !== '') await symlink(`releases/${live}`, join(path, 'current'));
  const processes = await Promise.all(
    entries.filter(({ busy }) => busy === 'process').map((each) => livesIn(path, each)),
  );
  try {
    const words = ['--keep', String(keep), '--max-backups', '1', '--backup-path'];
    await promisify(execFile)(
      'python3',
      ['-ES', HISTORY, 'prune', ...words, join(path, 'backups'), '--site', 'www.example.com'],
      { cwd: path, env: { PATH: process.env.PATH, RELEASE: live, RUN: run } },
    );
    return await readdir(join(path, 'releases'));
  } finally {
    for (const each of processes) each.kill('SIGKILL');
  }
}

async function make(path: string, { name, events, busy, kind }: Entry): Promise<void> {
  const place = join(path, 'releases', name);
  if (kind === 'link') await symlink('../elsewhere', place);
  else if (kind === 'file') await writeFile(place, 'not ours');
  else {
    await mkdir(place);
    await writeFile(join(place, 'manage.py'), '');
  }
  if (events.length > 0) {
    const lines = events.map((event) => `${event} 2026-11-22T21:30:15Z\n`);
    await writeFile(join(path, '.deployer/history', name), lines.join(''));
  }
  if (busy === 'plan') await writeFile(join(path, `.deployer/run/${name}.plan`), '');
}

/** A process whose folder is the release, where that is a folder. */
async function livesIn(path: string, { name, kind }: Entry): Promise<ChildProcess> {
  const cwd = kind === 'folder' ? join(path, 'releases', name) : path;
  const child = spawn('sleep', ['60'], { cwd, stdio: 'ignore' });
  await new Promise((resolve) => child.once('spawn', resolve));
  return child;
}
