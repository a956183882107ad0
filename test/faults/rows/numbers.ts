import { mkdir, rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { expect } from 'vitest';
import { SITE } from '../../support/lab.ts';
import { lockFree } from '../../support/under-way.ts';
import { holdAt } from '../held.ts';
import type { Row } from '../row.ts';

const MANY = Array.from({ length: 10_000 }, (_, index) => `many/${index}.ini`);
const NAMES = ["it's a $HOME of ñandú's/local settings.ini", 'a -- b', 'n\u0303'];

/** Much of it, or with names that need care. */
export const numberRows: readonly Row[] = [
  {
    name: '10,000 shared files, of which one is missing',
    protection: 'shared files are looked for before anything is changed',
    settings: { shared_files: ['.env', ...MANY] },
    prepare: async ({ site }) => {
      await mkdir(`${site}/shared/many`, { recursive: true });
      for (const name of MANY) await writeFile(`${site}/shared/${name}`, '');
    },
    fault: async (world) => {
      await world.change();
      const one = `${world.site}/shared/${MANY[7777]}`;
      await rm(one);
      const ran = await world.deployer('deploy', SITE);
      expect(ran.exitCode, ran.stderr).toBe(1);
      expect(ran.stderr).toContain('deploy failed in check');
      expect(ran.stderr).toContain(`the shared file ${one} is missing`);
      await writeFile(one, '');
      expect(await world.state()).toEqual(world.before);
    },
  },
  {
    name: '5,000 old releases',
    protection: 'what is old goes',
    fault: async (world) => {
      await execa('/usr/bin/python3', ['-c', MAKE_RELEASES, world.site, '5000']);
      await world.change();
      return world.deployer('deploy', SITE);
    },
  },
  {
    name: 'names with spaces, apostrophes, $ and ñ',
    protection: 'every value is quoted',
    representative: true,
    folder: "a site of ñandú's; 1 & 2",
    settings: { shared_files: ['.env', ...NAMES], branch: "it's/$HOME-ñ" },
    prepare: async ({ site, root, lab }) => {
      for (const name of NAMES) {
        await mkdir(`${site}/shared/${name}`.replace(/\/[^/]*$/, ''), { recursive: true });
        await writeFile(`${site}/shared/${name}`, 'mine');
      }
      await execa('git', ['push', '--quiet', `${root}/git/repository.git`, "main:it's/$HOME-ñ"], {
        cwd: lab.project.path,
      });
    },
    fault: async (world) => {
      await world.change();
      const held = await holdAt(world, 'shared');
      held.client.kill('SIGKILL');
      await held.client;
      await lockFree(world.site);
      expect(await world.state(), 'undone').toEqual(world.before);
    },
  },
  {
    name: 'names that cannot be safe',
    protection: 'a branch is a name',
    fault: async (world) => {
      await world.configure({ branch: "$(touch 'owned')" });
      const { exitCode, stderr } = await world.deployer('deploy', SITE);
      expect(exitCode, stderr).toBe(2);
      expect(stderr).toContain('www.example.com.branch: holds one of: space');
      await world.configure({});
      expect(await world.state()).toEqual(world.before);
    },
  },
];

const MAKE_RELEASES = `
import os, sys
os.chdir(sys.argv[1])
for number in range(int(sys.argv[2])):
    id = "20210101_%06d_000" % number
    os.mkdir("releases/" + id)
    with open("releases/" + id + "/manage.py", "w"):
        pass
    with open(".deployer/history/" + id, "w") as file:
        file.write("begun 2021-01-01T00:00:00Z deploy\\ngood 2021-01-01T00:00:00Z\\n")
`;
