// What the benches share: a folder of their own, a project in Git, the middle of some numbers.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const BIN = join(ROOT, 'bin/deployer.cjs');
export const PYTHON = '/usr/bin/python3';

/** Runs a command to its end; resolves to its stdout. Throws when it fails. */
export function run(command, words, options = {}) {
  const result = spawnSync(command, words, { encoding: 'utf8', ...options });
  if (result.status !== 0)
    throw new Error(`${command} ${words.join(' ')}\n${result.stdout}${result.stderr}`);
  return result.stdout;
}

/** An empty folder, gone at the end of the process. */
export function lab() {
  const folder = mkdtempSync(join(tmpdir(), 'deployer-bench-'));
  chmodSync(folder, 0o755);
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Who deploys: not root where the account of the tests is there. */
export function account() {
  const { uid, gid, username } = userInfo();
  const line = /^(deployer-test):[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  if (uid !== 0 || line === null) return { uid, gid, name: username };
  return { uid: Number(line[2]), gid: Number(line[3]), name: line[1] };
}

/** A repository with these files, owned by an account; `commit(version)` changes one of them. */
export function repository(folder, fill, { uid, gid } = account()) {
  mkdirSync(folder);
  fill(folder);
  run('chown', ['-R', `${uid}:${gid}`, folder]);
  const who = ['-c', 'user.name=Bench', '-c', 'user.email=bench@example.com'];
  const git = (...words) =>
    run('git', ['-C', folder, ...who, ...words], { uid, gid, env: { PATH: process.env.PATH } });
  git('init', '--quiet', '--initial-branch=main');
  const commit = (version) => {
    writeFileSync(join(folder, 'VERSION'), `${version}\n`);
    git('add', '--all');
    git('commit', '--quiet', '--message', `Version ${version}`);
  };
  commit(0);
  return { path: folder, commit };
}

/** The Django project of the tests, with requirements that install without a network. */
export function djangoProject(folder) {
  return repository(folder, () => {
    cpSync(join(ROOT, 'test/support/project'), folder, { recursive: true });
    const found = run(PYTHON, [join(ROOT, 'test/support/wheelhouse.py')]).trim();
    const wheels = `${folder}.wheels`; // the account may not be able to enter the checkout
    cpSync(found, wheels, { recursive: true });
    const pins = readFileSync(join(folder, 'requirements.txt'), 'utf8');
    writeFileSync(
      join(folder, 'requirements.txt'),
      `--no-index\n--find-links "${wheels}"\n${pins}tinylib==1\n`,
    );
  });
}

/** A folder that belongs to the account. */
export function folderOf({ uid, gid }, path) {
  mkdirSync(path, { recursive: true });
  chownSync(path, uid, gid);
  return path;
}

export const median = (numbers) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Milliseconds that some work takes. */
export function timed(work) {
  const begun = performance.now();
  work();
  return performance.now() - begun;
}

/** Seconds per step of a deploy with `--json`. */
export const stepsOf = (json) =>
  json
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ type }) => type === 'done' || type === 'skipped')
    .map(({ step, seconds }) => [step, seconds]);
