import { readdir, readFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { STEP_NAMES, type StepName } from '../../../src/step-names.ts';
import { SITE } from '../../support/lab.ts';
import { lockFree } from '../../support/under-way.ts';
import type { Held } from '../held.ts';
import type { OtherMachine } from '../other-machine.ts';
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

/** The site is on another machine: the cable is pulled; and the client meets its end as it does before a local site. */
export const cableRows: readonly Row[] = [
  ...cutRows(STEP_NAMES, PULLS),
  ...cutRows(['code', 'migrate', 'activate', 'restart'], CLIENT_CUTS).map((row) => ({
    ...row,
    name: `${row.name}, over SSH`,
    representative: false,
  })),
].map((row) => ({ ...row, overSsh: true, quick: row.name.endsWith(' is silent') }));

async function pulled(
  world: World,
  step: StepName,
  held: Held,
  how: 'silence' | 'reset',
): Promise<void> {
  const { cable } = world.machine as OtherMachine;
  cable[how]();
  const { exitCode, stdout, stderr } = await held.client;
  cable.mend();
  expect(exitCode, stderr).toBe(7);
  expect(stdout).toBe('');
  const known = step === 'unlock' ? 'cleanup' : step; // that it is unlocked is said when it is
  expect(stderr).toContain(`outcome unknown: the connection was lost in ${known} (`);
  expect(stderr).toContain('the target goes on by itself');
  expect(await lastStepInLog(world), 'the log on the target').toBe(
    step === 'lock' ? undefined : known,
  );
  await letGo(step, held);
  await lockFree(world.site);
  await expectOutcome(world, step, held);
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
