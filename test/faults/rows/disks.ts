import { readdir, rm } from 'node:fs/promises';
import { execa } from 'execa';
import { expect } from 'vitest';
import { quote } from '../../../src/shell.ts';
import { SITE } from '../../support/lab.ts';
import { expectFailure } from '../failing.ts';
import { expectSettled } from '../invariants.ts';
import type { Row } from '../row.ts';
import { currentVersion, type World } from '../world.ts';

const rows: readonly Row[] = [
  {
    name: 'the disk has little room',
    protection: 'a disk with little room is refused',
    prepare: smallDisk,
    fault: async (world) => {
      await world.change();
      await sh(`head -c 120M /dev/zero >${filler(world)}`);
      await expectFailure(world, {
        step: 'check',
        says: [/the filesystem \/.*srv \(of .*\) has \d+ MB free; a deploy needs 100/, 'df -h'],
      });
      await empty(world);
    },
  },
  {
    name: 'the disk has room for few files',
    protection: 'a disk with room for few files is refused',
    prepare: smallDisk,
    fault: async (world) => {
      await world.change();
      await sh(fillInodes(world, 500));
      await expectFailure(world, {
        step: 'check',
        says: [/has room for \d+ more files; a deploy needs 1000/, 'df -i'],
      });
      await empty(world);
    },
  },
  {
    name: 'the disk is full at the start',
    protection: 'a run that cannot begin leaves nothing',
    prepare: smallDisk,
    fault: async (world) => {
      await world.change();
      await sh(fillDisk(world));
      const { exitCode, stderr } = await world.deployer('deploy', SITE);
      expect(exitCode, stderr).toBe(1);
      expect(stderr).toMatch(/not begun: .*No space left on device/);
      await expectSettled(world);
      expect(await world.state()).toEqual(world.before);
      await empty(world);
    },
  },
  ...(['backup', 'release', 'migrate', 'static'] as const).map(
    (step): Row => ({
      name: `the disk is full in ${step}`,
      protection: 'what was done is undone',
      prepare: smallDisk,
      fault: async (world) => {
        await world.change({ migrated: step === 'migrate' }); // to reverse one takes room
        await expectFailure(world, {
          step,
          says: [/No space left on device|database or disk is full|Out of diskspace/],
          settings: { hooks: { [`before_${step}`]: fillDisk(world) } },
        });
        await empty(world);
      },
    }),
  ),
  {
    name: 'the disk is full in activate, and the release is ill',
    protection: 'what was live is known before the switch',
    representative: true,
    prepare: smallDisk,
    fault: async (world) => {
      await world.change();
      await world.configure({
        hooks: { before_activate: fillDisk(world), before_restart: 'exit 1' },
      });
      const { exitCode, stderr } = await world.deployer('deploy', SITE);
      await world.configure({});
      expect(exitCode, stderr).not.toBe(0);
      expect(await world.lab.live()).toBe(world.before.live);
      await empty(world);
    },
  },
  ...(['restart', 'cleanup'] as const).map(
    (step): Row => ({
      name: `the disk is full in ${step}`,
      protection:
        step === 'restart'
          ? 'where Gunicorn listens is noted while there is room'
          : 'what is old goes',
      prepare: smallDisk,
      fault: async (world) => {
        await world.change();
        await world.configure({ hooks: { [`before_${step}`]: fillDisk(world) } });
        const { exitCode, stderr } = await world.deployer('deploy', SITE);
        await world.configure({});
        expect(exitCode, stderr).toBe(0);
        expect(await world.served()).toEqual([await currentVersion(world)]);
        await expectSettled(world);
        await empty(world);
      },
    }),
  ),
  ...(['backup', 'release', 'static'] as const).map(
    (step): Row => ({
      name: `no file can be made any more in ${step}`,
      protection:
        step === 'backup' ? 'a backup that fails fails the deploy' : 'what was done is undone',
      prepare: smallDisk,
      fault: async (world) => {
        await world.change({ migrated: false }); // to reverse a migration takes room
        await expectFailure(world, {
          step,
          says: [/No space left on device|Out of diskspace/],
          settings: { hooks: { [`before_${step}`]: fillInodes(world, 0) } },
        });
        await empty(world);
      },
    }),
  ),
  {
    name: 'the disk is read-only at the start',
    protection: 'what cannot begin is refused',
    prepare: smallDisk,
    fault: async (world) => {
      await world.change();
      await sh(`mount -o remount,ro ${disk(world)}`);
      const { exitCode, stderr } = await world.deployer('deploy', SITE);
      expect(exitCode, stderr).toBe(1);
      expect(stderr).toMatch(/not begun: .*Read-only file system/);
      await sh(`mount -o remount,rw ${disk(world)}`);
      await expectSettled(world);
      expect(await world.state()).toEqual(world.before);
    },
  },
  {
    name: 'the disk of the backups becomes read-only',
    protection: 'a backup that fails fails the deploy',
    prepare: async (world) => {
      await execa('mkdir', [`${world.root}/srv/backups`]);
      await mount(world, `${world.root}/srv/backups`, 'size=150m');
    },
    fault: async (world) => {
      await world.change();
      const place = quote(world.backups);
      await expectFailure(world, {
        step: 'backup',
        says: ['Read-only file system'],
        settings: { hooks: { before_backup: `mount -o remount,ro ${place}` } },
      });
      await sh(`mount -o remount,rw ${place}`);
    },
  },
];

/** The site and its backups on a small filesystem of their own, which becomes full, or read-only. */
export const diskRows: readonly Row[] = rows.map((row) => ({ ...row, needsRoot: true }));

export async function smallDisk(world: World): Promise<void> {
  await mount(world, `${world.root}/srv`, 'size=200m,nr_inodes=3000');
}

async function mount(world: World, place: string, options: string): Promise<void> {
  await execa('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', place]);
  world.atEnd(() => execa('umount', ['-l', place]));
}

const disk = (world: World): string => quote(`${world.root}/srv`);
const filler = (world: World): string => quote(`${world.root}/srv/filler`);

export const fillDisk = (world: World): string =>
  `head -c 300M /dev/zero >${filler(world)} 2>/dev/null || :`;

/** Makes files until there is room for no more than `left`. */
const fillInodes = (world: World, left: number): string =>
  `/usr/bin/python3 -c ${quote(FILL_INODES)} ${quote(`${world.root}/srv/filler-`)} ${left}`;

const FILL_INODES = `
import os, sys
at = 0
while os.statvfs(os.path.dirname(sys.argv[1])).f_favail > int(sys.argv[2]):
    open(sys.argv[1] + str(at), "w").close()
    at += 1
`;

export async function empty(world: World): Promise<void> {
  const names = await readdir(`${world.root}/srv`);
  for (const name of names.filter((each) => each.startsWith('filler')))
    await rm(`${world.root}/srv/${name}`);
}

export const sh = (command: string) => execa('sh', ['-c', command]);
