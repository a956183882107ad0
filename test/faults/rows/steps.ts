import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'vitest';
import { STEP_NAMES, type StepName } from '../../../src/step-names.ts';
import { type Ran, SITE } from '../../support/lab.ts';
import { lockFree, said } from '../../support/under-way.ts';
import { type Held, holdAt, killEverything } from '../held.ts';
import { expectSettled } from '../invariants.ts';
import type { Elsewhere } from '../other-machine.ts';
import { kill } from '../processes.ts';
import type { Protection } from '../protections.ts';
import type { Row } from '../row.ts';
import { currentVersion, type State, type World } from '../world.ts';

/** A way to cut a deploy short, whatever step it is in. */
export interface Cut {
  readonly protection: (step: StepName) => Protection;
  readonly representative: readonly StepName[];
  /** A step that may be cut does not end when it is asked to. */
  readonly stubborn?: boolean;
  readonly make: (world: World, step: StepName, held: Held) => ReturnType<Row['fault']>;
}

const KILLED: Readonly<Record<string, Cut>> = {
  'kill -9 of the client': {
    protection: (step) => protectionOfAll(step) ?? 'a client that is gone is noticed',
    representative: ['release', 'migrate', 'restart'],
    make: clientKilled,
  },
};

/** How a client meets its end. */
export const CLIENT_CUTS: Readonly<Record<string, Cut>> = {
  ...KILLED,
  'Ctrl-C': {
    protection: (step) => protectionOfCancel(step),
    representative: ['code', 'activate', 'cleanup'],
    make: (world, step, held) => signalled(world, step, held, 'SIGINT', 130),
  },
  'Ctrl-C twice': {
    protection: (step) => protectionOfAll(step) ?? 'an end that is asked for is heard',
    representative: ['shared'],
    stubborn: true,
    make: interruptedTwice,
  },
};

const OTHER_CUTS: Readonly<Record<string, Cut>> = {
  SIGTERM: {
    protection: (step) => protectionOfCancel(step),
    representative: ['dependencies'],
    make: (world, step, held) => signalled(world, step, held, 'SIGTERM', 143),
  },
  SIGHUP: {
    protection: (step) => protectionOfCancel(step),
    representative: [],
    make: (world, step, held) => signalled(world, step, held, 'SIGHUP', 129),
  },
  'kill -9 of the session': {
    protection: (step) => protectionOfDead(step, 'deploy'),
    representative: ['migrate', 'activate'],
    make: sessionKilled,
  },
  'kill -9 of everything': {
    protection: (step) => protectionOfDead(step, 'unlock'),
    representative: ['restart'],
    make: everythingKilled,
  },
};

/** Each of the steps, cut in each of the ways. */
export const cutRows = (
  steps: readonly StepName[],
  cuts: Readonly<Record<string, Cut>>,
): readonly Row[] =>
  steps.flatMap((step) =>
    Object.entries(cuts).map(([name, cut]) => ({
      name: `${step}: ${name}`,
      protection: cut.protection(step),
      representative: cut.representative.includes(step),
      fault: async (world: World): Promise<Ran | undefined> => {
        await world.change({ migrated: !SWITCHED.includes(step) });
        const held = await holdAt(world, step, cut.stubborn === true && !GOES_ON.includes(step));
        await expect(lockFree(world.site, 0), 'I3: the lock is held').rejects.toThrow();
        return (await cut.make(world, step, held)) ?? undefined;
      },
    })),
  );

function protectionOfCancel(step: StepName): Protection {
  if (step === 'restart') return 'nothing is undone after the proof';
  return protectionOfAll(step) ?? 'a cancel is heard';
}

/** What keeps a step that is cut from doing harm, whoever cuts it; undefined: it has done nothing yet. */
export function protectionOfAll(step: StepName): Protection | undefined {
  switch (step) {
    case 'writable':
    case 'migrate':
    case 'activate':
    case 'restart':
      return `${step} is not cut`;
    case 'cleanup':
      return 'a step that is over the proof is not stopped';
    case 'unlock':
      return 'the name of the lock is removed';
    case 'backup':
    case 'release':
    case 'shared':
    case 'dependencies':
    case 'validate':
    case 'static':
      return 'what was done is undone';
    case 'lock':
    case 'check':
    case 'code':
      return undefined; // nothing to undo
  }
}

/** The deploy after it would hide what was left undone, and `unlock` does not. */
function protectionOfDead(step: StepName, by: 'deploy' | 'unlock'): Protection {
  switch (step) {
    case 'lock':
      return 'what died before its plan is swept';
    case 'unlock':
      return 'the lock is in the kernel';
    case 'cleanup':
      return by === 'deploy' ? 'a dead run is found' : 'a dead run that was proven stays';
    case 'check':
    case 'code':
      return 'a dead run is found';
    default:
      return by === 'deploy' ? 'a dead run is found' : 'a dead run is undone';
  }
}

/** Steps that run to their end whatever happens; and those that no hook can hold. */
const GOES_ON: readonly StepName[] = [
  'lock',
  'writable',
  'migrate',
  'activate',
  'restart',
  'cleanup',
  'unlock',
];

/** From here on the release is proven, and stays. */
export const STAYS: readonly StepName[] = ['restart', 'cleanup', 'unlock'];

/** Held here and undone, a migration would stay: the release was live. */
const SWITCHED: readonly StepName[] = ['activate', 'restart'];

/** Opens the gate of a step that goes on; long after whoever would cut it would have done so. */
export async function letGo(step: StepName, held: Held): Promise<void> {
  if (!GOES_ON.includes(step)) return openLate(held);
  await pause(300);
  await held.open();
}

/** A step that is not cut although it should be would be held for ever. */
function openLate(held: Held): void {
  setTimeout(() => held.open().catch(() => {}), 10_000).unref();
}

async function clientKilled(world: World, step: StepName, held: Held): Promise<void> {
  held.client.kill('SIGKILL');
  await held.client;
  await letGo(step, held);
  await expectOutcome(world, step, held);
}

async function signalled(
  world: World,
  step: StepName,
  held: Held,
  signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP',
  code: number,
): Promise<void> {
  held.client.kill(signal);
  await said(held.client, 'stopping: ');
  await letGo(step, held);
  const { exitCode, stdout, stderr } = await held.client;
  if (STAYS.includes(step)) {
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toContain(await world.lab.live());
  } else {
    expect(exitCode, stderr).toBe(code);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/deploy stopped in \w+, (nothing was changed|and undone)/);
    expect(stderr).toContain(`live now: ${world.before.live}, as before`);
  }
  await expectOutcome(world, step, held);
}

async function interruptedTwice(world: World, step: StepName, held: Held): Promise<void> {
  held.client.kill('SIGINT');
  await said(held.client, 'stopping: ');
  held.client.kill('SIGINT');
  const { exitCode, stderr } = await held.client;
  expect(exitCode).toBe(130);
  expect(stderr).toContain('left while in ');
  expect(stderr).toContain('undoes the rest, and frees the lock');
  await pause(300);
  await held.open();
  await expectOutcome(world, step, held);
}

/** What the target makes of it alone: undone as if it had never been, or live and served. */
export async function expectOutcome(world: World, step: StepName, held: Held): Promise<void> {
  await lockFree(world.site);
  await expectSettled(world);
  if (GOES_ON.includes(step)) expect(await held.wentOn(), `${step} ran to its end`).toBe(true);
  const state = await world.state();
  if (STAYS.includes(step)) await expectLive(world, state);
  else expect(state, 'undone').toEqual(world.before);
}

async function expectLive(world: World, state: State): Promise<void> {
  expect(state.live > world.before.live, 'the new release is live').toBe(true);
  expect(await world.served()).toEqual([await currentVersion(world)]);
}

function sessionKilled(world: World, step: StepName, held: Held): Promise<Ran> {
  kill(held.session);
  return lost(world, step, held);
}

/** Nothing that could go on does. */
async function lost(world: World, step: StepName, held: Held): Promise<Ran> {
  const { exitCode, stderr } = await held.client;
  expect(exitCode, stderr).toBe(7);
  expect(stderr).toContain('outcome unknown: the connection was lost in ');
  return settledByNext(world, step, held);
}

/** The next deploy says what it found and what became of it, and works. */
async function settledByNext(world: World, step: StepName, held: Held): Promise<Ran> {
  const next = world.start('deploy', SITE);
  if (leavesARun(step)) await said(next, `died in ${step}: settling it first`);
  await held.open();
  const { exitCode, stdout, stderr } = await next;
  if (leavesARun(step)) expect(stderr).toContain(became(step));
  return { exitCode, stdout: String(stdout), stderr: String(stderr) };
}

/** So does `unlock`, and goes no further. */
async function everythingKilled(world: World, step: StepName, held: Held): Promise<void> {
  killEverything(world, held);
  await held.client;
  const { exitCode, stderr } = await world.deployer('unlock', SITE);
  expect(exitCode, stderr).toBe(0);
  if (leavesARun(step)) {
    expect(stderr).toContain(`died in ${step}: settling it first`);
    expect(stderr).toContain(became(step));
  }
  expect(stderr).toMatch(step === 'lock' ? 'nothing is locked' : /it was held by:\n.*\n +Command:/);
  await expectSettled(world);
  const state = await world.state();
  if (step === 'cleanup' || step === 'unlock') await expectLive(world, state);
  else expect(state, 'undone').toEqual(world.before);
}

/** Before its plan is on the disk nothing has begun; without it nothing is left to do. */
const leavesARun = (step: StepName): boolean => step !== 'lock' && step !== 'unlock';
const became = (step: StepName): string => (step === 'cleanup' ? 'it stays' : 'it is undone');

/** Every step of a deploy, cut in every way. */
export const stepRows: readonly Row[] = cutRows(STEP_NAMES, { ...CLIENT_CUTS, ...OTHER_CUTS });

const DECISIVE: readonly StepName[] = ['code', 'migrate', 'activate', 'restart'];

const CONTAINER_CUTS: Readonly<Record<string, Cut>> = {
  'the container is restarted': {
    protection: (step) => protectionOfDead(step, 'deploy'),
    representative: [],
    make: async (world, step, held) => {
      await world.machine?.restart();
      return lost(world, step, held);
    },
  },
};

const within = (rows: readonly Row[], where: Elsewhere): readonly Row[] =>
  rows.map((row) => ({
    ...row,
    name: `${row.name}, ${where}`,
    representative: false,
    needsRoot: true,
    where,
  }));

/** The same where the site is in a container; test/docker/lost.test.ts does it in every step, with less to see. */
export const containerRows: readonly Row[] = [
  ...within(cutRows(DECISIVE, KILLED), 'container'),
  ...within(cutRows(DECISIVE, KILLED), 'container over ssh'),
  ...within(cutRows(['lock', ...DECISIVE, 'unlock'], CONTAINER_CUTS), 'container').map((row) => ({
    ...row,
    quick: true,
  })),
];
