import { execFile } from 'node:child_process';
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface TmpFolder extends AsyncDisposable {
  /** Absolute, without links. */
  readonly path: string;
}

/** A new empty folder whose name needs quoting; it is gone at the end of `await using`, whatever was put into it. */
export async function tmpFolder(prefix = ''): Promise<TmpFolder> {
  const path = await mkdtemp(join(await realpath(tmpdir()), `it's a tmp ${prefix}`));
  return { path, [Symbol.asyncDispose]: () => remove(path) };
}

async function remove(path: string): Promise<void> {
  const gone = () => rm(path, { recursive: true, force: true, maxRetries: 5 });
  await gone().catch(async () => {
    await promisify(execFile)('chmod', ['-R', 'u+rwX', path]);
    await gone();
  });
}

export interface OrdinaryUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** The account for tests that must not run as root: the one that test/setup.sh makes, or who runs the tests if not root. */
export async function ordinaryUser(): Promise<OrdinaryUser> {
  const { username, uid, gid, homedir } = userInfo();
  if (uid !== 0) return { name: username, uid, gid, home: homedir };
  const line = /^(deployer-test):[^:]*:(\d+):(\d+):[^:]*:([^:]*)/m.exec(
    await readFile('/etc/passwd', 'utf8'),
  );
  if (!line) throw new Error('there is no account deployer-test: run test/setup.sh');
  const [, name = '', user, group, home = ''] = line;
  return { name, uid: Number(user), gid: Number(group), home };
}
