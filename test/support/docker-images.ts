import {
  chmod,
  chown,
  copyFile,
  mkdir,
  readlink,
  realpath,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename } from 'node:path';
import { execa } from 'execa';
import type { OrdinaryUser } from './tmp.ts';

/**
 * What a container of the tests is made of. No image can be had from elsewhere, and the engine copies each one whole for
 * every container: so an image is a skeleton, and what it needs of Debian is this machine's own, mounted read-only.
 */
export interface Image {
  /** Folders of this machine that lie at the same place in the container. */
  readonly mounts: readonly string[];
  /** Programs of this machine that are copied into it, besides BusyBox's; undefined: all, and no BusyBox. */
  readonly programs?: readonly string[];
  /** Applets that BusyBox does not have there. */
  readonly without?: readonly string[];
}

const LIBRARIES = ['/usr/lib', '/usr/lib64', '/usr/share'];

export const IMAGES = {
  debian: { mounts: ['/usr'] },
  busybox: { mounts: LIBRARIES, programs: ['python3', 'git'] },
  'without-python': { mounts: LIBRARIES, programs: ['git'] },
  'without-git': { mounts: LIBRARIES, programs: ['python3'], without: ['tar'] },
} as const satisfies Record<string, Image>;

/** The account in each container: `app`, with the ids of the ordinary user here. */
export const APP = 'app';

/** Lays out the files of an image in a new folder. */
export async function layOut(folder: string, image: Image, { uid, gid }: OrdinaryUser) {
  for (const name of ['etc', 'root', 'home', 'proc', 'sys', 'dev', 'run', 'usr', 'var'])
    await mkdir(`${folder}/${name}`, { recursive: true });
  for (const name of ['srv', 'tmp', 'var/tmp']) {
    await mkdir(`${folder}/${name}`);
    await chmod(`${folder}/${name}`, 0o1777);
  }
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    const to = await readlink(`/${name}`).catch(() => undefined); // there is no lib64 on ARM
    if (to !== undefined) await symlink(to, `${folder}/${name}`);
  }
  await writeFile(
    `${folder}/etc/passwd`,
    `root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n${APP}:x:${uid}:${gid}::/home/${APP}:/bin/sh\n`,
  );
  await writeFile(`${folder}/etc/group`, `root:x:0:\nwww-data:x:33:\n${APP}:x:${gid}:\n`);
  await mkdir(`${folder}/home/${APP}`);
  await chown(`${folder}/home/${APP}`, uid, gid);
  if (image.programs !== undefined) await addPrograms(`${folder}/usr/bin`, image);
}

async function addPrograms(folder: string, { programs = [], without = [] }: Image): Promise<void> {
  await mkdir(folder);
  const { stdout } = await execa('busybox', ['--list']);
  await copyFile(await realpath('/usr/bin/busybox'), `${folder}/busybox`);
  for (const applet of stdout.split('\n'))
    if (!without.includes(applet)) await symlink('busybox', `${folder}/${applet}`).catch(() => {});
  for (const program of programs) {
    const real = await realpath(`/usr/bin/${program}`);
    await copyFile(real, `${folder}/${basename(real)}`);
    if (basename(real) !== program) await symlink(basename(real), `${folder}/${program}`);
  }
}
