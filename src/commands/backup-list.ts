import type { Site } from '../config/site.ts';
import { DeployError } from '../errors.ts';
import { ask } from '../question.ts';
import { visible } from '../secrets.ts';
import { connectionsFor, warnOn } from './connections.ts';
import type { Context } from './context.ts';
import { table } from './table.ts';

/** What answers, given the backup_path, the site, and, for one backup whole, its name. */
export const BACKUPS_PROGRAM = [
  'question.py',
  'named_tuple.py',
  'retention.py',
  'records.py',
  'backups.py',
];

/** What `target/backups.py` tells of a backup. */
export interface Backup {
  readonly name: string;
  /** The deploy that made it; and what it found live, '' where that cannot be told. */
  readonly made_by: string;
  readonly holds: string;
  /** Bytes. */
  readonly size: number;
  readonly time: string;
}

/** Lists them, the newest last. Resolves to the exit code. */
export async function listBackups(context: Context, site: Site): Promise<number> {
  const { io, globals } = context;
  const found: Backup[] = [];
  await using connections = connectionsFor(context);
  await using runner = await connections.to(site, warnOn(context, site.name));
  const words = [site.backupPath, site.name];
  for await (const answer of ask(runner, { program: BACKUPS_PROGRAM, words })) {
    if (answer.kind === 'refused') throw new DeployError('failed', answer.words.join(' '));
    if (answer.kind === 'answer') found.push(answer.value as Backup);
  }
  if (globals.json) {
    for (const each of found)
      io.stdout.write(`${JSON.stringify({ type: 'backup', site: site.name, ...each })}\n`);
  } else {
    io.stdout.write(visible(table(found.map(cells))));
    if (found.length === 0 && !globals.quiet)
      io.stderr.write(`${site.name}: no backups in ${visible(site.backupPath)}\n`);
  }
  return 0;
}

const cells = ({ name, holds, size, time }: Backup): readonly string[] => [
  name,
  holds === '' ? '' : `holds ${holds}`,
  sizeText(size),
  time.replace('T', ' ').replace('Z', ' UTC'),
];

function sizeText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const power = Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(1)} ${['', 'kB', 'MB', 'GB', 'TB'][power]}`;
}
