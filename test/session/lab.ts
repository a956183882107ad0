import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import type { DeployEvent } from '../../src/events.ts';
import type { Outcome } from '../../src/outcome.ts';
import type { Plan } from '../../src/plan.ts';
import type { Ending, Runner } from '../../src/runners/runner.ts';
import { runSession, type SessionOptions } from '../../src/session.ts';
import { type EntryText, planOf } from '../support/plans.ts';
import { tmpFolder } from '../support/tmp.ts';

export interface Lab extends AsyncDisposable {
  /** An empty folder for the test. */
  readonly path: string;
  /** A `deploy_path` in it that is not there yet. */
  readonly site: string;
}

/** A place for a site; at its end every process that still lives in it is killed. */
export async function lab(): Promise<Lab> {
  const folder = await tmpFolder();
  return {
    path: folder.path,
    site: join(folder.path, "a $ite of ñandú's"),
    [Symbol.asyncDispose]: async () => {
      for (const pid of processesIn(folder.path)) process.kill(pid, 'SIGKILL');
      await folder[Symbol.asyncDispose]();
    },
  };
}

function processesIn(path: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${path}/`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

export interface Setting {
  readonly plan?: Partial<Plan>;
  readonly options?: Partial<SessionOptions>;
  readonly runner?: Runner;
}

export interface Running {
  readonly outcome: Promise<Outcome>;
  readonly events: readonly DeployEvent[];
  /** Resolves when the text was in the output of a step, or at once if it was. */
  said(text: string): Promise<void>;
  /** Resolves at the first such event, or at once. */
  saw(wanted: (event: DeployEvent) => boolean): Promise<void>;
}

/** Starts a session. */
export function begin(
  site: string,
  entries: readonly EntryText[],
  { plan, options, runner = spawning() }: Setting = {},
): Running {
  const events: DeployEvent[] = [];
  const watchers = new Set<() => void>();
  const report = (event: DeployEvent) => {
    events.push(event);
    for (const look of watchers) look();
  };
  const outcome = runSession(runner, planOf(site, entries, plan), {
    by: 'ana@laptop',
    command: 'deployer deploy www.example.com',
    ...options,
    report,
  });
  const saw = (wanted: (event: DeployEvent) => boolean) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!events.some(wanted)) return;
        watchers.delete(look);
        resolve();
      };
      watchers.add(look);
      outcome.then((end) =>
        reject(
          new Error(`it ended first: ${JSON.stringify(end)}\n${JSON.stringify(events, null, 1)}`),
        ),
      );
      look();
    });
  return { outcome, events, saw, said: (text) => saw(() => logOf(events).includes(text)) };
}

export interface Ran {
  readonly outcome: Outcome;
  readonly events: readonly DeployEvent[];
  /** All output. */
  readonly log: string;
}

/** Runs a session to its end. */
export async function run(
  site: string,
  entries: readonly EntryText[],
  setting: Setting = {},
): Promise<Ran> {
  const { outcome, events } = begin(site, entries, setting);
  return { outcome: await outcome, events, log: logOf(events) };
}

/** Takes the lock, settles what there is, and lets go. */
export const unlock = (site: string, options: Partial<SessionOptions> = {}): Promise<Ran> =>
  run(site, [], { plan: { kind: 'unlock' }, options });

export const logOf = (events: readonly DeployEvent[]): string =>
  events.map((event) => (event.type === 'log' ? event.text : '')).join('');

/** Events as short words: `done code`, `undoing code`, `recovered`. */
export const storyOf = (events: readonly DeployEvent[]): readonly string[] =>
  events
    .filter(({ type }) => type !== 'log')
    .map((event) => ('step' in event && event.step ? `${event.type} ${event.step}` : event.type));

export const warningsOf = (events: readonly DeployEvent[]): readonly string[] =>
  events.flatMap((event) => (event.type === 'warned' ? [event.message] : []));

export interface SpawningOptions {
  /** Words before `python3`. */
  readonly before?: readonly string[];
  readonly python?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Milliseconds between two reads of at most 64 KiB. */
  readonly slow?: number;
  /** Hears of the process. */
  readonly started?: (child: ChildProcess) => void;
  /** Of the first thing that the client sends the last byte is missing; then the connection is cut. */
  readonly cutShort?: boolean;
}

/** This machine, with a hand on the process. */
export function spawning(options: SpawningOptions = {}): Runner {
  return {
    target: 'test',
    start: async ([python = '', ...words]) => {
      const [command = '', ...rest] = [
        ...(options.before ?? []),
        options.python ?? python,
        ...words,
      ];
      const child = spawn(command, rest, {
        stdio: 'pipe',
        detached: true,
        ...(options.env ? { env: options.env } : {}),
      });
      child.stdin.on('error', () => {});
      options.started?.(child);
      const ended = new Promise<Ending>((resolve) => {
        child.on('error', (error) => resolve({ how: 'unstarted', reason: error.message }));
        child.on('close', (code, signal) =>
          resolve(signal ? { how: 'signal', signal } : { how: 'exit', code: code ?? 0 }),
        );
      });
      return {
        write: (data) => {
          if (options.cutShort) child.stdin.end(data.subarray(0, -1));
          else child.stdin.write(data);
        },
        onOutput: (hear) =>
          child.stdout.on('data', (data: Buffer) => {
            hear(data);
            if (options.slow === undefined) return;
            child.stdout.pause();
            setTimeout(() => child.stdout.resume(), options.slow);
          }),
        onErrors: (hear) => child.stderr.on('data', hear),
        ended,
        release: () => {
          child.stdin.end();
          child.stdout.destroy();
          child.stderr.destroy();
          child.unref();
        },
      };
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** What a client that is killed leaves of its connection: nothing. */
export function sever(child: ChildProcess): void {
  child.stdin?.destroy();
  child.stdout?.destroy();
  child.stderr?.destroy();
}

/** Resolves as soon as nobody holds the lock of the site. */
export async function lockFree(site: string): Promise<void> {
  await promisify(execFile)('flock', ['-w', '60', join(site, '.deployer/lock'), 'true']);
}

/** Asserts that nothing of a running session is left. */
export async function expectUnlocked(site: string): Promise<void> {
  await promisify(execFile)('flock', ['-n', join(site, '.deployer/lock'), 'true']);
  expect(await readdir(site)).not.toContain('.deploy.lock');
  const left = await readdir(join(site, '.deployer/run'));
  expect(left.filter((name) => !/^\d{8}_\d{6}_\d{3}\.(journal|log)$/.test(name))).toEqual([]);
}

/** A file in the site's folder; '' if there is none. */
export function textIn(site: string, name: string): string {
  try {
    return readFileSync(join(site, name), 'utf8');
  } catch {
    return '';
  }
}

/** The numbers in a file of the site's folder, one a line. */
export const numbersIn = (site: string, name: string): readonly number[] =>
  textIn(site, name).split('\n').filter(Boolean).map(Number);

/** Whether a process runs; a zombie does not. */
export function alive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** Shell: three children that a signal to the process group or to the parent does not reach, their pids in `children`. */
export const STUBBORN_CHILDREN = `
  sleep 1000 & echo $! >>children
  setsid sh -c 'echo $$ >>children; trap "" TERM; while :; do sleep 1000; done' &
  setsid sh -c '(sh -c "echo \\$\\$ >>children; exec sleep 1000" &)' &
  until [ "$(wc -l <children)" = 3 ]; do sleep 0.01; done
`;
