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
  return uid === 0 ? account('deployer-test') : { name: username, uid, gid, home: homedir };
}

/** One of the accounts that test/setup.sh makes when it runs as root. */
export async function account(name: 'deployer-test' | 'deployer-serves'): Promise<OrdinaryUser> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const found = lines.find(([each]) => each === name);
  if (!found) throw new Error(`there is no account ${name}: run test/setup.sh`);
  const [, , user, group, , home = ''] = found;
  return { name, uid: Number(user), gid: Number(group), home };
}
