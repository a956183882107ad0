import { expect } from 'vitest';
import { type Ran, SITE } from '../../support/lab.ts';
import { lockFree, said } from '../../support/under-way.ts';
import { type Held, holdAt } from '../held.ts';
import { expectSettled } from '../invariants.ts';
import { kill } from '../processes.ts';
import type { Row } from '../row.ts';
import { currentVersion, type State, type World } from '../world.ts';

type Command = 'rollback' | 'restart';

/** A rollback and a restart, cut where they are not to be cut. */
const CUTS = [
  ['rollback', 'activate'],
  ['rollback', 'restart'],
  ['restart', 'restart'],
] as const;

export const wayBackRows: readonly Row[] = CUTS.flatMap(([command, step]): readonly Row[] => [
  {
    name: `${command}, ${step}: kill -9 of the client`,
    protection: `${step} is not cut`,
    fault: async (world) => {
      const { before, held } = await underWay(world, command, step);
      held.client.kill('SIGKILL');
      await held.client;
      await held.open();
      await lockFree(world.site);
      await expectSettled(world);
      expect(await held.wentOn(), `${step} ran to its end`).toBe(true);
      const wentBack = command === 'rollback' && step === 'restart'; // what is proven stays
      await expectServed(world, wentBack ? { ...before, live: world.first } : before);
    },
  },
  {
    name: `${command}, ${step}: kill -9 of the session`,
    protection: 'a dead run is found',
    fault: async (world) => {
      const { before, held } = await underWay(world, command, step);
      kill(held.session);
      const { exitCode, stderr } = await held.client;
      expect(exitCode, stderr).toBe(7);
      const unlock = world.start('unlock', SITE);
      await said(unlock, `died in ${step}: settling it first`);
      await held.open();
      const ended = await unlock;
      expect(ended.exitCode, String(ended.stderr)).toBe(0);
      expect(ended.stderr).toContain('it is undone');
      await expectSettled(world);
      await expectServed(world, before);
    },
  },
]);

/** After a second good deploy, of which a rollback goes back to the first. */
async function underWay(
  world: World,
  command: Command,
  step: 'activate' | 'restart',
): Promise<{ readonly before: State; readonly held: Held }> {
  await world.change({ migrated: false });
  expectWell(await world.deployer('deploy', SITE));
  const before = await world.state();
  return { before, held: await holdAt(world, step, false, command) };
}

const expectWell = ({ exitCode, stderr }: Ran) => expect(exitCode, stderr).toBe(0);

/** All is as it was, and what `current` leads to is what is served. */
async function expectServed(world: World, state: State): Promise<void> {
  expect(await world.state()).toEqual(state);
  expect(await world.served()).toEqual([await currentVersion(world)]);
}
