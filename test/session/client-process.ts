import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { DeployEvent } from '../../src/events.ts';
import type { Outcome } from '../../src/outcome.ts';
import type { SessionOptions } from '../../src/session.ts';
import { type EntryText, planOf } from '../support/plans.ts';
import { logOf } from './lab.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Compiles the sources into a folder: Node itself does not read TypeScript. */
export async function compileInto(folder: string): Promise<void> {
  const compiler = join(ROOT, 'node_modules/.bin/tsc');
  const words = ['-p', join(ROOT, 'tsconfig.build.json'), '--outDir', folder];
  await promisify(execFile)(compiler, words).catch(() => {}); // types are checked elsewhere
  await cp(join(ROOT, 'src/target'), join(folder, 'target'), { recursive: true });
  await writeFile(join(folder, 'package.json'), '{"type": "module"}');
}

export interface ClientProcess {
  readonly child: ChildProcess;
  readonly events: readonly DeployEvent[];
  /** Resolves when the text was in the output of a step; rejects when the client ends before. */
  said(text: string): Promise<void>;
  /** Undefined if it died before it knew. */
  readonly outcome: Promise<Outcome | undefined>;
}

/** A client in a process of its own. */
export async function clientProcess(
  sources: string,
  site: string,
  entries: readonly EntryText[],
  options: Partial<SessionOptions> = {},
): Promise<ClientProcess> {
  const job = join(sources, 'job.json');
  const all = { by: 'ana@laptop', command: 'deployer deploy', ...options };
  await writeFile(job, JSON.stringify({ plan: planOf(site, entries), options: all }));
  const script = fileURLToPath(new URL('client.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, sources, job], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const events: DeployEvent[] = [];
  const watchers = new Set<() => void>();
  let end: Outcome | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const value = JSON.parse(line);
    if (value.outcome) end = value.outcome;
    else events.push(value);
    for (const look of watchers) look();
  });
  const outcome = new Promise<Outcome | undefined>((resolve) =>
    child.on('close', () => resolve(end)),
  );
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (logOf(events).includes(text)) resolve();
      };
      watchers.add(look);
      child.on('close', () => reject(new Error(`the client ended: ${JSON.stringify(events)}`)));
      look();
    });
  return { child, events, said, outcome };
}
