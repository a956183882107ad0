import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { SECRETS, type World } from './world.ts';

/** Greps all that every command of the row printed, and all that it wrote on the target but for `shared/`. */
export async function expectNoSecrets(world: World): Promise<void> {
  for (const { args, stdout, stderr } of world.said)
    expect(secretsIn(stdout + stderr), `printed by ${args.join(' ')}`).toEqual([]);
  for (const place of ['.deployer', 'releases', '.deploy.lock'])
    for (const path of await filesIn(join(world.site, place)))
      expect(await secretsInFile(path), path).toEqual([]);
}

const secretsIn = (text: string): readonly string[] =>
  Object.values(SECRETS).filter((secret) => text.includes(secret));

/** No link is followed: the virtualenv and `shared/` lie elsewhere. */
async function filesIn(path: string): Promise<readonly string[]> {
  const status = await lstat(path).catch(() => undefined);
  if (status?.isFile()) return [path];
  if (!status?.isDirectory()) return [];
  const inner = await Promise.all((await readdir(path)).map((name) => filesIn(join(path, name))));
  return inner.flat();
}

/** Piece by piece, a secret across two of them included: a log may be large. */
async function secretsInFile(path: string): Promise<readonly string[]> {
  const found = new Set<string>();
  let held = '';
  for await (const piece of createReadStream(path, 'latin1')) {
    for (const secret of secretsIn(held + piece)) found.add(secret);
    held = (held + piece).slice(-100);
  }
  return [...found];
}
