import { cp, mkdir, readdir, realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { execa } from 'execa';

/**
 * A Python of another minor version than Debian's, which every user may run: one on PATH, else a copy in `folder` of one
 * that pyenv has installed for whoever runs the tests. Resolves to its absolute path; rejects when there is none.
 */
export async function anotherPython(folder: string): Promise<string> {
  const system = await minorOf('/usr/bin/python3');
  for (const minor of ['3.13', '3.12', '3.10'].filter((each) => each !== system)) {
    const found = await execa('/usr/bin/env', [`python${minor}`, '-c', WHERE], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      extendEnv: false,
      reject: false,
    });
    if (found.exitCode === 0) return found.stdout;
    const copied = await copyOf(minor, folder);
    if (copied) return copied;
  }
  throw new Error(
    'the tests need a second Python: 3.13, 3.12 or 3.10, on PATH or in ~/.pyenv/versions',
  );
}

const WHERE = 'import sys, venv, ensurepip; print(sys.executable)';

export const minorOf = async (python: string): Promise<string> =>
  (await execa(python, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'])).stdout;

async function copyOf(minor: string, folder: string): Promise<string | undefined> {
  const versions = `${homedir()}/.pyenv/versions`;
  const names = await readdir(versions).catch(() => []);
  const name = names.find((each) => each.startsWith(`${minor}.`));
  if (name === undefined) return undefined;
  const from = await realpath(`${versions}/${name}`);
  await mkdir(folder, { recursive: true });
  const leaveOut = [
    `${from}/lib/python${minor}/test`,
    `${from}/lib/python${minor}/site-packages`,
    `${from}/share`,
  ];
  await cp(from, folder, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !leaveOut.includes(path) && !/\/__pycache__$|\.a$/.test(path),
  });
  const python = `${folder}/bin/python${minor}`;
  await execa('patchelf', ['--set-rpath', `${folder}/lib`, python]);
  return python;
}
