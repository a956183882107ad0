import { chmod, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { BIN, SITE } from '../support/lab.ts';
import { passwordServer } from '../support/password-server.ts';
import { type SshClient, sshClient } from '../support/ssh-client.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';

const TYPIST = fileURLToPath(new URL('../support/typist.py', import.meta.url));

let tmp: TmpFolder;
let server: Sshd;
let client: SshClient;
let key: string;
let knownHosts: string;

beforeAll(async () => {
  tmp = await tmpFolder();
  await chmod(tmp.path, 0o755);
  key = await makeKey(`${tmp.path}/key`, { passphrase: 'open sesame' });
  knownHosts = `${tmp.path}/known_hosts`;
  server = await sshd(tmp.path, { authorized: await publicKey(key) });
  const { name } = await ordinaryUser();
  client = await sshClient(`
Host web1
HostName 127.0.0.1
Port ${server.port}
User ${name}
UserKnownHostsFile "${knownHosts}"
GlobalKnownHostsFile /dev/null
IdentityFile "${key}"
`);
  const site = { repository: '/nowhere', host: 'web1', deploy_path: '/srv/none/site' };
  const also = { ...site, deploy_path: '/srv/none/also' };
  await writeFile(
    `${tmp.path}/sites.yml`,
    stringify({
      [SITE]: { ...site, backup_path: '/srv/none/backups' },
      'also.example.com': { ...also, backup_path: '/srv/none/backups' },
    }),
  );
});
afterAll(async () => {
  await client?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await tmp?.[Symbol.asyncDispose]();
});
beforeEach(() => writeFile(knownHosts, ''));

/** Runs a command at a terminal, where each answer is typed when its text appears. */
const atTerminal = (
  words: readonly string[],
  answers: readonly (readonly [string, string])[],
  env: Readonly<Record<string, string>> = {},
) =>
  execa('/usr/bin/python3', [TYPIST, process.execPath, BIN, ...words], {
    cwd: tmp.path,
    env: { ...client.env, ...env },
    extendEnv: false,
    reject: false,
    input: answers.map((answer) => answer.join('\t')).join('\n'),
  });

const KEY_QUESTION = 'yes, no, or the fingerprint';

test('an unknown host and an encrypted key are asked about once for all sites, and what is typed is not shown', async () => {
  const { exitCode, stdout } = await atTerminal(
    ['unlock_all', '--parallel-per-host=2'],
    [
      ['[y/N]', 'y\\n'],
      [KEY_QUESTION, 'yes\\n'],
      ['passphrase of', 'not this\\n'],
      ['passphrase of', 'open sesame\\n'],
    ],
  );
  expect(exitCode, stdout).toBe(0);
  expect(stdout.split(KEY_QUESTION)).toHaveLength(2);
  expect(stdout.split('passphrase of')).toHaveLength(3);
  expect(stdout).not.toMatch(/open sesame|not this/);
  expect(await readFile(knownHosts, 'utf8')).toContain(server.hostKey.split(' ')[1]);
});

test('the fingerprint is as good an answer; "no" is refused, and nothing is noted', async () => {
  const no = await atTerminal(['unlock', SITE], [[KEY_QUESTION, 'no\\n']]);
  expect(no.exitCode, no.stdout).toBe(4);
  expect(no.stdout).toContain('is not known here');
  expect(await readFile(knownHosts, 'utf8')).toBe('');
  const [, print = ''] = /(SHA256:\S+)/.exec(no.stdout) ?? [];
  const yes = await atTerminal(
    ['unlock', SITE],
    [
      [KEY_QUESTION, `${print}\\n`],
      ['passphrase of', 'open sesame\\n'],
    ],
  );
  expect(yes.exitCode, yes.stdout).toBe(0);
});

test('Ctrl-C at a question ends the command', async () => {
  const { exitCode, stdout } = await atTerminal(['unlock', SITE], [[KEY_QUESTION, '\\x03']]);
  expect(exitCode, stdout).toBe(130);
});

test('--yes asks nothing, and trusts nobody', async () => {
  const { exitCode, stdout } = await atTerminal(['unlock', SITE, '--yes'], []);
  expect(exitCode, stdout).toBe(4);
  expect(stdout).not.toContain(KEY_QUESTION);
});

test('a password is asked for where the host takes one, again where it is wrong, and is not shown', async () => {
  using host = await passwordServer(tmp.path, ['password']);
  await writeFile(knownHosts, host.known);
  const address = ['-H', `somebody@127.0.0.1:${host.port}`];
  const { stdout } = await atTerminal(
    ['unlock', SITE, ...address],
    [
      ["somebody@127.0.0.1's password", 'wrong word\\n'],
      ["somebody@127.0.0.1's password", 'the password\\n'],
    ],
    { DEPLOYER_KNOWN_HOSTS: knownHosts },
  );
  expect(stdout.split("'s password")).toHaveLength(3);
  expect(stdout).not.toMatch(/wrong word|the password/);
  expect(stdout).toContain('no session could be started');
});

test('Ctrl-C while a host does not answer ends the command at once', async () => {
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as { port: number };
  const { exitCode, stdout } = await atTerminal(
    ['unlock', SITE, '-H', `somebody@127.0.0.1:${port}`],
    [['unlock /srv', '\\x03']],
  );
  silent.close();
  expect(exitCode, stdout).toBe(130);
});
