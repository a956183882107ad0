import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** What is in a folder, by relative path: `folder 755`, `file 644 HASH` or `link TARGET`. No link is followed. */
export type Tree = Readonly<Record<string, string>>;

/** Reads a folder whole, but for the relative paths and for the names that `without` lists. */
export async function treeOf(folder: string, without: readonly string[] = []): Promise<Tree> {
  const tree: Record<string, string> = {};
  const walk = async (path: string): Promise<void> => {
    for (const name of (await readdir(join(folder, path))).sort()) {
      const inner = join(path, name);
      if (without.includes(inner) || without.includes(name)) continue;
      tree[inner] = await entry(join(folder, inner));
      if (tree[inner].startsWith('folder')) await walk(inner);
    }
  };
  await walk('');
  return tree;
}

async function entry(path: string): Promise<string> {
  const status = await lstat(path);
  const mode = (status.mode & 0o7777).toString(8);
  if (status.isDirectory()) return `folder ${mode}`;
  if (status.isSymbolicLink()) return `link ${await readlink(path)}`;
  if (!status.isFile()) return `other ${mode}`;
  return `file ${mode} ${createHash('sha256')
    .update(await readFile(path))
    .digest('hex')}`;
}
