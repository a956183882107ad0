import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { expect } from 'vitest';
import { quote } from '../../../src/shell.ts';
import { SITE } from '../../support/lab.ts';
import { get } from '../../support/request-loop.ts';
import { endProcessesOf } from '../processes.ts';
import type { Row } from '../row.ts';
import type { World } from '../world.ts';
import { sh } from './disks.ts';

/** The kernel finds the disk of the site ill while a step runs: nothing can be written any more, to no open file either. */
export const readOnlyRows: readonly Row[] = (['release', 'static', 'activate'] as const).map(
  (step): Row => ({
    name: `the disk becomes read-only in ${step}`,
    protection: 'a dead run is found',
    needsRoot: true,
    prepare: diskOfItsOwn,
    fault: async (world) => {
      await world.change({ migrated: false });
      await world.configure({ hooks: { [`before_${step}`]: FALLS_ILL(world) } });
      const { exitCode, stdout, stderr } = await world.deployer('deploy', SITE);
      await world.configure({});
      expect(exitCode, stderr).not.toBe(0);
      expect(stdout).toBe('');
      expect(stderr).toContain('Read-only file system');
      expect(await world.lab.live()).toBe(world.before.live);
      expect(await world.served(), 'it is served all the time').toEqual(['1']);
      expect((await world.seen()).failures).toEqual([]);

      await startMachineAgain(world);
      const next = await world.deployer('deploy', SITE);
      expect(next.stderr).toMatch(/died in \w+: settling it first/);
      return next;
    },
  }),
);

async function diskOfItsOwn(world: World): Promise<void> {
  const image = `${world.root}/disk.img`;
  await sh(`truncate -s 400M ${quote(image)} && mkfs.ext4 -q -O ^has_journal ${quote(image)}`);
  await mount(world);
  world.atEnd(() => execa('umount', ['-l', `${world.root}/srv`]));
}

const mount = ({ root }: World) =>
  execa('mount', ['-o', 'loop,errors=remount-ro', `${root}/disk.img`, `${root}/srv`]);

/** What was written until now is on the disk: this is no power failure. */
const FALLS_ILL = ({ root }: World): string =>
  `sync; echo ill >/sys/fs/ext4/"$(basename "$(findmnt -n -o SOURCE ${quote(`${root}/srv`)})")"/trigger_fs_error`;

/** Nothing less makes such a disk writable. What runs on it is started again as it was. */
async function startMachineAgain(world: World): Promise<void> {
  const pid = Number(await readFile(`${world.root}/g.pid`, 'utf8'));
  const [program = '', ...words] = (await readFile(`/proc/${pid}/cmdline`, 'utf8'))
    .split('\0')
    .slice(0, -1);
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(words.join(' '))?.[1]);
  world.watcher.stop();
  endProcessesOf(`${world.root}/srv`);
  await sh(`until umount ${quote(`${world.root}/srv`)} 2>/dev/null; do sleep 0.1; done`);
  await sh(`fsck.ext4 -fy ${quote(`${world.root}/disk.img`)} >/dev/null 2>&1; [ $? -lt 4 ]`);
  await mount(world);
  const env = { PATH: '/usr/bin:/bin', HOME: world.root, SECRET_KEY: 'only for tests' };
  const server = spawn(program, words, { cwd: world.root, env, stdio: 'ignore' });
  const cwd = `${world.site}/releases/${world.first}`;
  const resident = spawn('sleep', ['600'], { cwd, stdio: 'ignore' });
  world.atEnd(async () => [server.kill(), resident.kill()]);
  for (let tries = 0; tries < 300; tries++) {
    const up = await get({ port }, '/version').catch(() => undefined);
    if (up) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('Gunicorn does not answer');
}
