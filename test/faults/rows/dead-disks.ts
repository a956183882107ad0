import { expect } from 'vitest';
import { SITE } from '../../support/lab.ts';
import { holdAt, killEverything } from '../held.ts';
import { expectSettled } from '../invariants.ts';
import type { Row } from '../row.ts';
import { currentVersion } from '../world.ts';
import { empty, fillDisk, sh, smallDisk } from './disks.ts';

/** The disk is full, and then everything of the run is killed: there is no room to say what is undone. */
export const deadDiskRows: readonly Row[] = (
  ['release', 'static', 'activate', 'restart'] as const
).map(
  (step): Row => ({
    name: `the disk is full in ${step}, and everything is killed`,
    protection: 'a dead run is found',
    needsRoot: true,
    prepare: smallDisk,
    fault: async (world) => {
      await world.change({ migrated: false });
      const held = await holdAt(world, step);
      await sh(fillDisk(world));
      killEverything(world, held);
      await held.client;
      const { exitCode, stderr } = await world.deployer('deploy', SITE);
      expect(exitCode, stderr).not.toBe(0);
      expect(await world.served(), 'it is served all the time').toEqual(['1']);

      await empty(world);
      const unlock = world.start('unlock', SITE);
      const { exitCode: code, stderr: text } = await unlock;
      expect(code, String(text)).toBe(0);
      await expectSettled(world);
      expect(await world.state(), 'undone').toEqual(world.before);
      expect(await world.served()).toEqual([await currentVersion(world)]);
    },
  }),
);
