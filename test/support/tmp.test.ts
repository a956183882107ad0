import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ordinaryUser, tmpFolder } from './tmp.ts';

test('a folder is there until the end of its block, and its name needs quoting', async () => {
  await using outside = await tmpFolder();
  let path: string;
  {
    await using folder = await tmpFolder('a ');
    path = folder.path;
    expect(path).toMatch(/\/it's a tmp a .{6}$/);
    await writeFile(join(outside.path, 'kept'), '');
    await symlink(outside.path, join(path, 'link'));
  }
  expect(existsSync(path)).toBe(false);
  expect(existsSync(join(outside.path, 'kept'))).toBe(true);
});

test('folders that nobody may write or enter do not outlive it, also for an ordinary user', async () => {
  const user = await ordinaryUser();
  if (process.geteuid?.() === 0) {
    process.seteuid?.(user.uid);
    onTestFinished(() => process.seteuid?.(0));
  }
  const folder = await tmpFolder();
  await mkdir(join(folder.path, 'closed', 'read-only'), { recursive: true });
  await writeFile(join(folder.path, 'closed', 'read-only', 'file'), '');
  await chmod(join(folder.path, 'closed', 'read-only'), 0o500);
  await chmod(join(folder.path, 'closed'), 0);

  await folder[Symbol.asyncDispose]();
  expect(existsSync(folder.path)).toBe(false);
});

test('the ordinary user is an account of this machine, and not root', async () => {
  const { name, uid, gid, home } = await ordinaryUser();
  const asked = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, name])));
  expect([uid, gid]).toEqual(asked);
  expect(uid).toBeGreaterThan(0);
  expect(existsSync(home)).toBe(true);
});
