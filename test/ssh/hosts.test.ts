import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DeployEvent } from '../../src/events.ts';
import type { Outcome } from '../../src/outcome.ts';
import { Hosts } from '../../src/runners/ssh/hosts.ts';
import { loginShellCommand } from '../../src/runners/ssh/login-shell.ts';
import { runSession } from '../../src/session.ts';
import { quote } from '../../src/shell.ts';
import { cableTo } from '../support/cable.ts';
import { planOf } from '../support/plans.ts';
import { sshAgent } from '../support/ssh-agent.ts';
import { makeKey, publicKey, type Sshd, type SshdOptions, sshd } from '../support/sshd.ts';
import { type OrdinaryUser, ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';

let tmp: TmpFolder;
let user: OrdinaryUser;
let key: string;

beforeAll(async () => {
  tmp = await tmpFolder();
  await chmod(tmp.path, 0o755);
  user = await ordinaryUser();
  key = await makeKey(`${tmp.path}/key`);
});
afterAll(() => tmp?.[Symbol.asyncDispose]());

const server = async (options: SshdOptions = {}) =>
  sshd(tmp.path, { authorized: await publicKey(key), ...options });

async function hostsFor(known: Sshd, env: Readonly<Record<string, string>> = {}) {
  const file = `${tmp.path}/known_hosts ${known.port}`;
  await writeFile(file, `[127.0.0.1]:${known.port} ${known.hostKey}\n`);
  return new Hosts({
    env: {
      PATH: process.env.PATH,
      DEPLOYER_IDENTITY: key,
      DEPLOYER_KNOWN_HOSTS: file,
      ...env,
    },
    terminal: undefined,
    cancel: new AbortController().signal,
  });
}

const address = ({ port }: Sshd) => ({ host: '127.0.0.1', user: user.name, port });

interface Ran {
  readonly outcome: Outcome;
  readonly log: string;
}

/** Runs a session of one step on the host, in a folder of the ordinary user. */
async function session(hosts: Hosts, on: Sshd, script: string, forwardAgent = false): Promise<Ran> {
  const folder = `${tmp.path}/sites-${++sites}`;
  await mkdir(folder);
  await chmod(folder, 0o777);
  const host = await hosts.host(address(on), forwardAgent, () => {});
  let log = '';
  const report = (event: DeployEvent) => {
    if (event.type === 'log') log += event.text;
  };
  const runner = {
    target: 'ssh',
    start: (argv: readonly string[]) => host.start(argv),
    [Symbol.asyncDispose]: async () => {},
  };
  const plan = planOf(`${folder}/site`, [{ run: script }]);
  const outcome = await runSession(runner, plan, { by: 'ana', command: 'deployer', report });
  return { outcome, log };
}
let sites = 0;

const connections = (on: Sshd) => on.log().match(/Accepted publickey/g)?.length ?? 0;

test.each([
  ['the usual ten sessions', []],
  ['two sessions', ['MaxSessions 2']],
  ['one session', ['MaxSessions 1']],
])('twelve sites of a host with %s share one connection', async (_, config) => {
  await using one = await server({ config });
  await using hosts = await hostsFor(one);
  const runs = await Promise.all(
    Array.from({ length: 12 }, (_, site) => session(hosts, one, `echo site ${site}`)),
  );
  for (const [site, { outcome, log }] of runs.entries()) {
    expect(outcome).toMatchObject({ how: 'done' });
    expect(log).toBe(`site ${site}\n`);
  }
  expect(connections(one)).toBe(1);
});

test('a host whose connection was lost is connected to again for the next site', async () => {
  await using one = await server();
  await using cable = await cableTo(one.port);
  await using hosts = await hostsFor({ ...one, port: cable.port });
  const there = { ...one, port: cable.port };
  expect((await session(hosts, there, 'echo a')).outcome).toMatchObject({ how: 'done' });
  const host = await hosts.host(address(there), false, () => {});
  cable.cut();
  await expect.poll(() => host.isLost).toBe(true);
  expect((await session(hosts, there, 'echo b')).outcome).toMatchObject({ how: 'done' });
  expect(connections(one)).toBe(2);
});

const SHELLS = ['sh', 'dash', 'bash', 'zsh', 'fish', 'tcsh'];

test.each(SHELLS)('%s as the login shell', async (shell) => {
  const { stdout: path } = await execa('sh', ['-c', `command -v ${shell}`]);
  await using one = await server({
    config: [`ForceCommand exec ${path} -c "$SSH_ORIGINAL_COMMAND"`],
  });
  await using hosts = await hostsFor(one);
  expect(await session(hosts, one, 'echo "$0 and $HOME"')).toMatchObject({
    outcome: { how: 'done' },
    log: expect.stringContaining(`and ${user.home}`),
  });
});

test('a .bashrc that prints, LANG=C, no HOME that can be written to', async () => {
  const home = `${tmp.path}/home of nobody`;
  await mkdir(home, { recursive: true });
  await writeFile(`${home}/rc`, 'echo welcome; printf "no end"; echo trouble >&2\n');
  const command = `LANG=C LC_ALL=C HOME=${quote(home)} exec bash --rcfile ${quote(`${home}/rc`)} -ic "$SSH_ORIGINAL_COMMAND"`;
  await using one = await server({ config: [`ForceCommand ${command}`] });
  await using hosts = await hostsFor(one);
  const { outcome, log } = await session(hosts, one, 'echo "ñ in $LANG at $HOME"');
  expect(outcome).toMatchObject({ how: 'done' });
  expect(log).toContain(`ñ in C`);
});

test('without python3 there, or with a shell that lets nobody in, that is what is said', async () => {
  await using one = await server({
    config: ['ForceCommand echo "This account is not available."; exit 1'],
  });
  await using hosts = await hostsFor(one);
  const { outcome } = await session(hosts, one, 'echo a');
  expect(outcome).toMatchObject({
    how: 'unreachable',
    message: expect.stringContaining('This account is not available.'),
  });
});

test('no secret of the environment reaches the target', async () => {
  await using one = await server({ config: ['AcceptEnv *'] });
  const secrets = { DEPLOYER_PASSWORD: 'pass-1234', DEPLOYER_PASSPHRASE: 'phrase-1234' };
  await using hosts = await hostsFor(one, secrets);
  const { log } = await session(hosts, one, 'env; tr "\\0" "\\n" < /proc/$PPID/environ');
  expect(log).toContain(`HOME=${user.home}`);
  expect(log).not.toMatch(/DEPLOYER_(PASS|IDENTITY|KNOWN)|-1234/);
});

test('the agent is forwarded to those who ask for it, and to nobody else', async () => {
  await using agent = await sshAgent(`${tmp.path}/agent`);
  await agent.hold(key);
  const env = { SSH_AUTH_SOCK: agent.socket };
  await using one = await server();
  await using hosts = await hostsFor(one, env);
  const listed = (await publicKey(key)).split(' ')[1] as string;
  const look = 'ssh-add -L 2>&1 || :';
  for (const forward of [true, true, false]) {
    const { outcome, log } = await session(hosts, one, look, forward);
    expect(outcome).toMatchObject({ how: 'done' });
    expect(log.includes(listed), log).toBe(forward);
  }
  await using two = await server({ config: ['AllowAgentForwarding no'] });
  await using others = await hostsFor(two, env);
  expect((await session(others, two, look, true)).outcome).toMatchObject({ how: 'done' });
});

test('a word that no quoting makes safe in every login shell is refused', () => {
  expect(loginShellCommand(['python3', '-c', 'print("a; b")'])).toBe(
    `exec python3 -c 'print("a; b")'`,
  );
  for (const word of ["it's", 'a\\b', 'a!b', 'a\nb']) {
    expect(() => loginShellCommand([word])).toThrow(TypeError);
  }
});
