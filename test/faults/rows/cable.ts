import { readdir, readFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { STEP_NAMES, type StepName } from '../../../src/step-names.ts';
import type { Cable } from '../../support/cable.ts';
import { SITE } from '../../support/lab.ts';
import type { Held } from '../held.ts';
import type { Row } from '../row.ts';
import type { World } from '../world.ts';
import {
  CLIENT_CUTS,
  type Cut,
  cutRows,
  expectOutcome,
  letGo,
  protectionOfAll,
  STAYS,
} from './steps.ts';

/** The cable between client and target, pulled in every step of a deploy. */
const PULLS: Readonly<Record<string, Cut>> = {
  'the cable is silent': {
    protection: (step) => protectionOfAll(step) ?? 'a silent client is noticed',
    representative: ['migrate'],
    make: (world, step, held) => pulled(world, step, held, 'silence'),
  },
  'the cable is reset': {
    protection: (step) => protectionOfAll(step) ?? 'a client that is gone is noticed',
    representative: ['activate'],
    make: (world, step, held) => pulled(world, step, held, 'reset'),
  },
};

const OTHER_ENDS: Readonly<Record<string, Cut>> = {
  'the cable is cut': {
    protection: (step) => protectionOfAll(step) ?? 'a client that is gone is noticed',
    representative: [],
    make: (world, step, held) => pulled(world, step, held, 'cut'),
  },
  'the laptop is closed': {
    protection: (step) => protectionOfAll(step) ?? 'a silent client is noticed',
    representative: [],
    make: asleep,
  },
};

/** The site is on another machine: the cable is pulled; and the client meets its end as it does before a local site. */
export const cableRows: readonly Row[] = [
  ...cutRows(STEP_NAMES, PULLS),
  ...cutRows(['code', 'migrate', 'activate', 'restart'], { ...OTHER_ENDS, ...CLIENT_CUTS }),
].map((row) => ({
  ...row,
  name: `${row.name}, over SSH`,
  where: 'ssh' as const,
  quick: /silent|laptop/.test(row.name),
  representative: row.representative === true && row.name.includes('cable'),
}));

async function pulled(
  world: World,
  step: StepName,
  held: Held,
  how: 'silence' | 'reset' | 'cut',
): Promise<void> {
  const cable = world.machine?.cable as Cable;
  cable[how]();
  await expectUnknown(step, held);
  cable.mend();
  expect(await lastStepInLog(world), 'the log on the target').toBe(
    step === 'lock' ? undefined : lastSaid(step),
  );
  await letGo(step, held);
  await expectOutcome(world, step, held);
  await expectStatus(world, step);
}

/** It says nothing for longer than the target waits, and then goes on as if nothing had happened. */
async function asleep(world: World, step: StepName, held: Held): Promise<void> {
  held.client.kill('SIGSTOP');
  const gone = async () => (await world.deployer('status', SITE)).stdout;
  await expect
    .poll(gone, { timeout: 30_000 })
    .toMatch(/\(its client is gone: silent\)|its client was gone \(silent\)/);
  await letGo(step, held);
  await expectOutcome(world, step, held);
  held.client.kill('SIGCONT');
  await expectUnknown(step, held);
  await expectStatus(world, step);
}

/** That it is unlocked is said when it is. */
const lastSaid = (step: StepName): StepName => (step === 'unlock' ? 'cleanup' : step);

async function expectUnknown(step: StepName, { client }: Held): Promise<void> {
  const { exitCode, stdout, stderr } = await client;
  expect(exitCode, stderr).toBe(7);
  expect(stdout).toBe('');
  expect(stderr).toContain(`outcome unknown: the connection was lost in ${lastSaid(step)} (`);
  expect(stderr).toContain('the target goes on by itself');
}

async function expectStatus(world: World, step: StepName): Promise<void> {
  const status = await world.deployer('status', SITE);
  expect(status.stdout).toMatch(
    STAYS.includes(step)
      ? /last run +deploy by .*: ok/
      : new RegExp(
          `last run +deploy by .*: stopped, since its client was gone .* in ${step === 'lock' ? 'check' : step}, `,
        ),
  );
}

/** The step that the newest run was in, as its log on the target has it. */
async function lastStepInLog({ site }: World): Promise<string | undefined> {
  const logs = (await readdir(`${site}/.deployer/run`)).filter((name) => name.endsWith('.log'));
  const text = await readFile(`${site}/.deployer/run/${logs.sort().at(-1)}`, 'utf8');
  return [...text.matchAll(/^== (?!undo )(\S+)$/gm)].at(-1)?.[1];
}
