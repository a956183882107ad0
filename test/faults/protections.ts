import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * What keeps a fault from doing harm, and how it is taken away: in a copy of what was built, the text `find`, which must
 * be there exactly once, becomes `replace`.
 */
const PROTECTIONS = {
  'a client that is gone is noticed': {
    file: 'target/session.py',
    find: 'self.gone or self.cancelled\n\n    def say',
    replace: 'self.cancelled\n\n    def say',
  },
  'a cancel is heard': {
    file: 'target/session.py',
    find: 'elif kind == b"C":',
    replace: 'elif kind == b"-":',
  },
  'what was done is undone': {
    file: 'target/session.py',
    find: 'if why:\n        run.backward(client)',
    replace: 'if why:\n        pass',
  },
  'a dead run is undone': {
    file: 'target/session.py',
    find: 'if not run.committed:\n            run.backward(client)',
    replace: 'if not run.committed:\n            pass',
  },
  'a dead run is found': {
    file: 'target/session.py',
    find: 'return sorted(name[: -len(b".plan")] for name in names if name.endswith(b".plan"))',
    replace: 'return []',
  },
  'a dead run that was proven stays': {
    file: 'target/session.py',
    find: 'if not run.committed:\n            run.backward(client)',
    replace: 'run.backward(client)',
  },
  'the lock is in the kernel': {
    file: 'target/session.py',
    find: 'end = now() + 2.0\n    while not locked(lock):',
    replace: 'end = now() + 2.0\n    while not locked(lock) or holder():',
  },
  'one at a time': {
    file: 'target/session.py',
    find: 'fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)',
    replace: 'pass',
  },
  'what died before its plan is swept': {
    file: 'target/session.py',
    find: 'os.unlink, ".deploy.lock")\n    sweep_up()',
    replace: 'os.unlink, ".deploy.lock")',
  },
  'the name of the lock is removed': {
    file: 'target/session.py',
    find: 'self.sweep(b".plan")\n        attempt(os.unlink, ".deploy.lock")',
    replace: 'self.sweep(b".plan")',
  },
  'nothing is undone after the proof': {
    file: 'target/session.py',
    find: 'if not self.committed and client.lost():\n                return b"lost", client.lost(), self.entries[max(0, index - 1)].name',
    replace: 'if client.lost():\n                return b"lost", client.lost(), self.entries[max(0, index - 1)].name',
  },
  'a step that is over the proof is not stopped': {
    file: 'target/session.py',
    find: 'entry.killable() and not undo and not self.committed',
    replace: 'entry.killable() and not undo',
  },
  'writable is not cut': { file: 'steps/writable.js', find: "orphan: 'finish'", replace: "orphan: 'kill'" },
  'migrate is not cut': { file: 'steps/migrate.js', find: "orphan: 'never'", replace: "orphan: 'kill'" },
  'activate is not cut': { file: 'steps/activate.js', find: "orphan: 'finish'", replace: "orphan: 'kill'" },
  'restart is not cut': { file: 'steps/restart.js', find: "orphan: 'finish'", replace: "orphan: 'kill'" },
} as const satisfies Readonly<Record<string, Change>>;

export type Protection = keyof typeof PROTECTIONS;

interface Change {
  /** In dist/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Makes a copy of the tool without the protection in a new folder. Resolves to its command line. */
export async function copyWithout(protection: Protection, folder: string): Promise<string> {
  const { file, find, replace } = PROTECTIONS[protection];
  await mkdir(folder, { recursive: true });
  for (const name of ['bin', 'dist', 'package.json'])
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const path = join(folder, 'dist', file);
  const [before, after, ...more] = (await readFile(path, 'utf8')).split(find);
  if (after === undefined || more.length > 0)
    throw new Error(`"${protection}" is not exactly once in ${file}: ${find}`);
  await writeFile(path, before + replace + after);
  return join(folder, 'bin/deployer.js');
}

/** All of them, for a test that each can be taken away. */
export const ALL_PROTECTIONS = Object.keys(PROTECTIONS) as readonly Protection[];
