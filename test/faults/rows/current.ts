import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { expect } from 'vitest';
import { exists, type Ran, SITE } from '../../support/lab.ts';
import { expectSaid } from '../failing.ts';
import { expectSettled } from '../invariants.ts';
import type { Row } from '../row.ts';
import { watch } from '../watcher.ts';
import type { World } from '../world.ts';

const NOWHERE = 'a link to nowhere';

/** What `current` may be instead of a link to a release, and what is said of it. */
const INSTEAD: Readonly<
  Record<string, { readonly make: (world: World) => Promise<unknown>; readonly says: string }>
> = {
  'a folder': {
    make: ({ site }) => mkdir(`${site}/current`).then(() => mine(`${site}/current`)),
    says: 'current is a folder, where a deploy needs a link to a release',
  },
  [NOWHERE]: {
    make: ({ site }) => symlink('releases/20990101_000000_000', `${site}/current`),
    says: 'leads to releases/20990101_000000_000, which is no folder: nothing is live',
  },
  'an absolute link to another place': {
    make: async ({ root, site }) => {
      await mkdir(`${root}/elsewhere`);
      await mine(`${root}/elsewhere`);
      await symlink(`${root}/elsewhere`, `${site}/current`);
    },
    says: '/elsewhere, which is not in ',
  },
};

const mine = (folder: string) => writeFile(`${folder}/what is here`, 'mine');

/** Nobody touches it, and the line that is printed mends it, with nothing lost. */
export const currentRows: readonly Row[] = Object.entries(INSTEAD).map(
  ([what, { make, says }]): Row => ({
    name: `current is ${what}`,
    protection: 'what current is, is looked at before anything is changed',
    fault: async (world) => {
      await world.change({ migrated: false });
      // What follows is no doing of ours: a worker that boots now would die, and one that has booted imports through
      // `current` what it has not needed until now.
      expect(await world.deployer('restart', SITE)).toMatchObject({ exitCode: 0 });
      world.watcher.stop();
      await world.seen();
      await rm(`${world.site}/current`);
      await make(world);
      const before = await world.state();
      // A rollback leads a link to nowhere to a good release.
      const refused = what === NOWHERE ? ['deploy', 'restart'] : ['deploy', 'rollback', 'restart'];
      for (const command of refused) {
        const ran = await world.deployer(command, SITE);
        expect(ran, ran.stderr).toMatchObject({ exitCode: 1, stdout: '' });
        if (command === 'deploy') expectSaid(ran, { step: 'check', says: [says] });
        await expectSettled(world);
        expect(await world.state(), command).toEqual(before);
      }
      await execa('sh', ['-c', cureIn(await world.deployer('deploy', SITE))]);
      if (what !== NOWHERE) {
        const kept = `${world.site}/releases/before`;
        expect(await readFile(`${kept}/what is here`, 'utf8')).toBe('mine');
      }
      return deployed(world);
    },
  }),
);

/** The line below the problem. */
function cureIn({ stderr }: Ran): string {
  const [, cure = ''] = /- \S.*\/current .*\n +(.*)/.exec(stderr) ?? [];
  return cure;
}

/** Twice: what was there before the first one is no release, or none is there to be backed up. */
async function deployed(world: World): Promise<Ran> {
  const first = await world.deployer('deploy', SITE);
  expect(first.exitCode, first.stderr).toBe(0);
  const before = `${world.site}/releases/before`;
  if (await exists(before)) await rm(before, { recursive: true });
  await world.change({ migrated: false });
  const watcher = watch(world.root, world.site);
  const second = await world.deployer('deploy', SITE);
  watcher.stop();
  expect([...watcher.faults], 'I1, I3').toEqual([]);
  return second;
}
