import { mkdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { quote } from '../../src/shell.ts';
import { type GitServer, gitServer } from '../support/git-server.ts';
import type { Ran } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { type SshWorld, sshWorld } from '../support/ssh-world.ts';
import { publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { AM_ROOT } from '../support/user-world.ts';

let world: SshWorld;
let git: GitServer;
let dependencies: string;
const hosts = new Map<string, Sshd>();

beforeAll(async () => {
  world = await sshWorld();
  const { root, key } = world;
  await mkdir(`${root}/git`);
  git = await world.change(({ path }) => gitServer(path, `${root}/git`, 'ci', 'of-the-git-server'));
  dependencies = await readyEnvironment(`${root}/environment`, world.world.project);
  for (const name of ['a', 'b', 'c']) {
    const home = await world.world.folder(homeOf(name));
    await world.world.folder(diskOf(name));
    const host = await sshd(root, {
      authorized: await publicKey(key),
      config: [`ForceCommand HOME=${quote(home)} exec sh -c "$SSH_ORIGINAL_COMMAND"`],
      inside: AM_ROOT
        ? ['unshare', '--mount', 'sh', '-c', MOUNT, 'sh', diskOf(name), pathOn(name)]
        : [],
    });
    hosts.set(name, host);
    await world.know(host.port, host.hostKey);
  }
});
afterAll(async () => {
  for (const host of hosts.values()) await host[Symbol.asyncDispose]();
  await git?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

/**
 * What tells the hosts apart, which are all this machine: a HOME, an account, and (as root, who may mount) a disk of
 * their own, where one and the same deploy_path is another folder on each.
 */
const homeOf = (host: string) => `${world.root}/home of ${host}`;
const accountOf = (host: string) => (AM_ROOT && host === 'b' ? 'root' : world.world.user.name);
const diskOf = (host: string) => `${world.root}/disk of ${host}`;
const pathOn = (host: string) => (AM_ROOT ? `${world.root}/srv` : diskOf(host));
const MOUNT = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';

/** Each site, the host that it is for, and the last part of its deploy_path. */
const SITES = {
  'a1.example.com': { host: 'a', folder: 'one' },
  'a2.example.com': { host: 'a', folder: 'two' },
  'b1.example.com': { host: 'b', folder: 'one' },
  'c1.example.com': { host: 'c', folder: 'one' },
  'here.example.com': { host: undefined, folder: 'one' },
};
type Name = keyof typeof SITES;
const NAMES = Object.keys(SITES) as Name[];

/** Where a site is, as this machine sees it. */
function folderOf(name: Name): string {
  const { host, folder } = SITES[name];
  return `${host === undefined ? `${world.root}/srv` : diskOf(host)}/${folder}`;
}

const addressOf = (host: string) => `${accountOf(host)}@127.0.0.1:${hosts.get(host)?.port}`;

async function configure(names: readonly Name[]): Promise<void> {
  const entries = names.map((name) => {
    const { host, folder } = SITES[name];
    const path = `${host === undefined ? `${world.root}/srv` : pathOn(host)}/${folder}`;
    const settings = {
      repository: `http://ci:of-the-git-server@${git.place}`,
      branch: 'main',
      deploy_path: path,
      backup_path: `${path}/backups`,
      ...(host && { host: addressOf(host) }),
      python: '/usr/bin/python3',
      shared_dirs: ['data'],
      env: { SECRET_KEY: 'only for tests' },
      commands: { dependencies, static: ':' },
      hooks: { before_code: 'echo "$DEPLOYER_SITE in $HOME by $(id -un)" >> where' },
    };
    return [name, settings];
  });
  await writeFile(`${world.root}/sites.yml`, stringify(Object.fromEntries(entries)));
}

const connections = () =>
  [...hosts.values()].map((host) => host.log().match(/Accepted publickey/g)?.length ?? 0);

/** What every deploy on a site since the last look has left there. */
const looked = new Map<Name, number>();
async function newIn(name: Name): Promise<readonly string[]> {
  const lines = (await readFile(`${folderOf(name)}/where`, 'utf8')).trim().split('\n');
  const before = looked.get(name) ?? 0;
  looked.set(name, lines.length);
  return lines.slice(before);
}

/** One table, a row for each site in their order; each site is where it belongs, and nothing else is. */
async function expectEachInItsPlace({ exitCode, stdout, stderr }: Ran, order: readonly Name[]) {
  expect(exitCode, stderr).toBe(0);
  const rows = stdout.split('\n');
  expect(rows.map((row) => row.split(' ')[0])).toEqual(order);
  for (const [index, name] of order.entries()) {
    const { host } = SITES[name];
    const home = host ? homeOf(host) : world.root;
    const account = host ? accountOf(host) : AM_ROOT ? 'root' : world.world.user.name;
    expect(await newIn(name)).toEqual([`${name} in ${home} by ${account}`]);
    const live = await readlink(`${folderOf(name)}/current`);
    expect(rows[index]).toContain(live.replace('releases/', ''));
    if (account === world.world.user.name)
      expect(await stat(`${folderOf(name)}/current/manage.py`)).toMatchObject({
        uid: world.world.user.uid,
      });
  }
}

test.each([
  ['as they stand', NAMES, ['--parallel=4']],
  [
    'the other way round, all at once',
    NAMES.toReversed(),
    ['--parallel=4', '--parallel-per-host=4'],
  ],
  ['one by one', [...NAMES.slice(2), ...NAMES.slice(0, 2)], ['--parallel=1']],
])(
  'sites on three hosts and here, %s: each has its place, each host one connection',
  async (_, order, options) => {
    await configure(order);
    const before = connections();
    await expectEachInItsPlace(await world.deployer('deploy_all', ...options), order);
    expect(connections()).toEqual(before.map((count) => count + 1));
  },
);

test('in every order', { timeout: 600_000 }, async () => {
  const four = NAMES.filter((name) => name !== 'a2.example.com');
  for (const order of orders(four)) {
    await configure(order);
    await expectEachInItsPlace(await world.deployer('deploy_all', '--parallel=4'), order);
  }
});

const orders = <T>(items: readonly T[]): readonly (readonly T[])[] =>
  items.length < 2
    ? [items]
    : items.flatMap((item) =>
        orders(items.filter((each) => each !== item)).map((rest) => [item, ...rest]),
      );

test('one host is away: its sites fail with exit 4, the others are deployed, exit 6', async () => {
  await configure(NAMES);
  await hosts.get('b')?.[Symbol.asyncDispose]();
  const { exitCode, stdout } = await world.deployer('deploy_all');
  expect(exitCode).toBe(6);
  expect(stdout).toMatch(/^b1\.example\.com +exit 4 .*the connection is refused$/m);
  expect(stdout.match(/ ok /g)).toHaveLength(4);
});

test('-H sends a local site to a host, and says so', async () => {
  await configure(['here.example.com']);
  const { exitCode, stderr } = await world.deployer(
    'deploy',
    'here.example.com',
    ...['-H', addressOf('c')],
  );
  expect(exitCode, stderr).toBe(0);
  expect(stderr).toContain(`(ssh ${addressOf('c')})`);
  const there = `${AM_ROOT ? diskOf('c') : `${world.root}/srv`}/one/where`;
  const lines = (await readFile(there, 'utf8')).trim().split('\n');
  expect(lines.at(-1)).toMatch(`here.example.com in ${homeOf('c')} by `);
});
