import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { quote } from '../../src/shell.ts';
import { createProject, type Project } from '../support/django-project.ts';
import { type SshWorld, sshWorld } from '../support/ssh-world.ts';
import { publicKey, type Sshd, sshd } from '../support/sshd.ts';

let world: SshWorld;
let local: Project;
const hosts = new Map<string, Sshd>();

beforeAll(async () => {
  world = await sshWorld();
  local = await createProject(`${world.root}/local project`);
  for (const name of ['a', 'b', 'c']) {
    const home = await world.world.folder(homeOf(name));
    const config = [`ForceCommand HOME=${quote(home)} exec sh -c "$SSH_ORIGINAL_COMMAND"`];
    const host = await sshd(world.root, { authorized: await publicKey(world.key), config });
    hosts.set(name, host);
    await world.know(host.port, host.hostKey);
  }
});
afterAll(async () => {
  for (const host of hosts.values()) await host[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

/** What tells the hosts apart, which are all this machine: each has a HOME of its own. */
const homeOf = (host: string) => `${world.root}/home of ${host}`;
const connections = (host: string) =>
  hosts
    .get(host)
    ?.log()
    .match(/Accepted publickey/g)?.length ?? 0;
const pathOf = (site: string) => `${world.root}/srv/${site}`;

/** Each site, and the host that it is for; the client's HOME is `root`. */
const SITES = {
  'a1.example.com': 'a',
  'a2.example.com': 'a',
  'b1.example.com': 'b',
  'c1.example.com': 'c',
  'here.example.com': undefined,
};

async function configure(names: readonly string[]): Promise<void> {
  const entries = names.map((name) => {
    const host = SITES[name as keyof typeof SITES];
    const address = host && `${world.world.user.name}@127.0.0.1:${hosts.get(host)?.port}`;
    const settings = {
      repository: host ? world.world.project.path : local.path,
      branch: 'main',
      deploy_path: pathOf(name),
      backup_path: `${pathOf(name)}/backups`,
      ...(address && { host: address }),
      python: '/usr/bin/python3',
      shared_dirs: ['data'],
      env: { SECRET_KEY: 'only for tests', PIP_NO_COMPILE: '1' },
      hooks: { before_code: 'echo "$DEPLOYER_SITE in $HOME" >> where' },
    };
    return [name, settings];
  });
  await writeFile(`${world.root}/sites.yml`, stringify(Object.fromEntries(entries)));
}

const names = Object.keys(SITES);

test.each([
  ['as they stand', names, ['--parallel=4']],
  [
    'the other way round, all at once',
    names.toReversed(),
    ['--parallel=4', '--parallel-per-host=4'],
  ],
  ['one by one', [...names.slice(2), ...names.slice(0, 2)], ['--parallel=1']],
])(
  'sites on three hosts and here, %s: each host has its own and no other',
  async (_, order, options) => {
    await configure(order);
    const before = connections('a');
    const { exitCode, stdout, stderr } = await world.deployer('deploy_all', ...options);
    expect(exitCode, stderr).toBe(0);
    expect(stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(order);
    expect(connections('a') - before).toBe(1);
    for (const [name, host] of Object.entries(SITES)) {
      const where = (await readFile(`${pathOf(name)}/where`, 'utf8')).trim().split('\n');
      expect(new Set(where)).toEqual(new Set([`${name} in ${host ? homeOf(host) : world.root}`]));
    }
  },
);

test('one host is away: its sites fail with exit 4, the others are deployed, exit 6', async () => {
  await configure(names);
  await hosts.get('b')?.[Symbol.asyncDispose]();
  const { exitCode, stdout } = await world.deployer('deploy_all');
  expect(exitCode).toBe(6);
  expect(stdout).toMatch(/^b1\.example\.com +exit 4 .*the connection is refused$/m);
  expect(stdout.match(/ ok /g)).toHaveLength(4);
});

test('-H sends a local site to a host, and says so', async () => {
  await configure(['c1.example.com']);
  const address = `${world.world.user.name}@127.0.0.1:${hosts.get('a')?.port}`;
  const { exitCode, stderr } = await world.deployer('deploy', 'c1.example.com', '-H', address);
  expect(exitCode, stderr).toBe(0);
  expect(stderr).toContain(`(ssh ${address})`);
  const where = (await readFile(`${pathOf('c1.example.com')}/where`, 'utf8')).trim().split('\n');
  expect(where.at(-1)).toBe(`c1.example.com in ${homeOf('a')}`);
});
