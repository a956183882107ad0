import { once } from 'node:events';
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/lab.ts';
import { passwordServer } from '../support/password-server.ts';
import { sshAgent } from '../support/ssh-agent.ts';
import { type SshClient, sshClient } from '../support/ssh-client.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';
import { AM_ROOT } from '../support/user-world.ts';

let tmp: TmpFolder;
let user: string;
let key: string;
let locked: string;
/** Keys that no host knows, more than one has patience for. */
let strangers: readonly string[];
let strangerKey: string;
let server: Sshd;

beforeAll(async () => {
  tmp = await tmpFolder();
  await chmod(tmp.path, 0o755);
  user = (await ordinaryUser()).name;
  key = await makeKey(`${tmp.path}/key`);
  locked = await makeKey(`${tmp.path}/locked`, { passphrase: 'open sesame' });
  strangers = await Promise.all(
    Array.from({ length: 7 }, (_, index) => makeKey(`${tmp.path}/stranger ${index}`)),
  );
  strangerKey = await publicKey(strangers[0] as string);
  const authorized = (await Promise.all([key, locked].map(publicKey))).join('\n');
  server = await sshd(tmp.path, { authorized });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await tmp?.[Symbol.asyncDispose]();
});

/** A client whose one host is the server; `more` comes first, so that it wins. */
async function client(more = '', known = server.knownHosts, identity = key): Promise<SshClient> {
  const file = `${tmp.path}/known_hosts`;
  await writeFile(file, known);
  return sshClient(`${more}
Host web1
HostName 127.0.0.1
User ${user}
Port ${server.port}
UserKnownHostsFile "${file}"
GlobalKnownHostsFile /dev/null
IdentityFile "${identity}"
`);
}

/** What a refusal says. */
async function refused(from: SshClient, env: Readonly<Record<string, string>> = {}, host = 'web1') {
  const { in: isIn, said } = await from.ours(host, env);
  expect(isIn, said).toBe(false);
  return said;
}

interface Refusal {
  readonly name: string;
  readonly more?: () => string;
  readonly known?: () => string;
  /** Key file; none of the client's if not given. */
  readonly identity?: () => string;
  /** In the agent. */
  readonly held?: () => readonly string[];
  readonly cure: RegExp;
}

const REFUSALS: readonly Refusal[] = [
  {
    name: 'a wrong key',
    identity: () => strangers[0] as string,
    cure: /ssh-copy-id -p \d+ \S+@127/,
  },
  { name: 'no key', cure: /let the host know your key/ },
  {
    name: 'a wrong user',
    more: () => 'User nobody-of-this-name',
    identity: () => key,
    cure: /check the user/,
  },
  {
    name: 'an unknown host key',
    known: () => '',
    identity: () => key,
    cure: /if it is the same: echo /,
  },
  {
    name: 'a changed host key',
    known: () => server.knownHosts.replace(server.hostKey, strangerKey),
    identity: () => key,
    cure: /ask who runs the host; if its key did change: ssh-keygen -R/,
  },
  {
    name: 'a revoked host key',
    known: () => `@revoked * ${server.hostKey}\n${server.knownHosts}`,
    identity: () => key,
    cure: /do not connect: .* Ask who runs the host/,
  },
  {
    name: 'a port where nobody listens',
    more: () => 'Port 1',
    identity: () => key,
    cure: /check the port, and that sshd runs/,
  },
  {
    name: 'a name that nobody has',
    more: () => 'HostName no-such-host.invalid',
    identity: () => key,
    cure: /check host, or give web1 a HostName/,
  },
  { name: 'an agent whose key is refused', held: () => strangers.slice(0, 1), cure: /ssh-copy-id/ },
  { name: 'an agent with too many keys', held: () => strangers, cure: /IdentitiesOnly yes/ },
  {
    name: 'an encrypted key, in CI',
    identity: () => locked,
    cure: /set DEPLOYER_PASSPHRASE, or .* ssh-add /,
  },
];

test.each(REFUSALS)('$name: exit 4, and the cure', async (row) => {
  await using agent = await sshAgent(`${tmp.path}/agent of ${row.name}`);
  await agent.hold(...(row.held?.() ?? []));
  await using web1 = await client(
    row.more?.() ?? '',
    row.known?.() ?? server.knownHosts,
    row.identity?.() ?? '/nowhere',
  );
  const { exitCode, stdout, stderr } = await web1.status('web1', { SSH_AUTH_SOCK: agent.socket });
  expect(exitCode, stderr).toBe(4);
  expect(stdout).toContain('not known: exit 4');
  expect(/^ {2}to do: (.*)/ms.exec(stderr)?.[1]).toMatch(row.cure);
  expect(await web1.ssh('web1')).toMatchObject({ in: false });
});

test.each([
  ['ends', (socket: Socket) => socket.end()],
  ['resets', (socket: Socket) => socket.resetAndDestroy()],
])('a server that %s every connection at once is told as such', async (_, act) => {
  const closing = createServer((socket) => act(socket.on('error', () => {}))).listen(
    0,
    '127.0.0.1',
  );
  await once(closing, 'listening');
  const { port } = closing.address() as AddressInfo;
  await using web1 = await client(`Port ${port}\nConnectTimeout 30`);
  expect(await refused(web1)).toContain('it may be too busy (MaxStartups), have blocked you');
  closing.close();
});

test('an unknown key: its fingerprint, and the line that mends it', async () => {
  await using web1 = await client('', '');
  const said = await refused(web1);
  const [, shown = ''] = /shown: ED25519 (SHA256:\S+)/.exec(said) ?? [];
  const { stdout } = await execa('ssh-keygen', ['-lf', '-'], { input: server.hostKey });
  expect(stdout).toContain(shown);
  expect(said).toContain('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub');
  const [, line = ''] = /if it is the same: (.*)/.exec(said) ?? [];
  await execa('sh', ['-c', line]);
  expect(await web1.ours('web1')).toMatchObject({ in: true });
  expect(await web1.ssh('web1')).toMatchObject({ in: true });
});

test('accept-new takes an unknown key and notes it; "no" is not honoured', async () => {
  await using anyKey = await client('StrictHostKeyChecking no', '');
  expect(await refused(anyKey)).toContain('is not known here');
  await using first = await client('StrictHostKeyChecking accept-new\nHashKnownHosts yes', '# end');
  expect(await first.ours('web1')).toMatchObject({ in: true });
  const noted = await readFile(`${tmp.path}/known_hosts`, 'utf8');
  expect(noted).toMatch(/^# end\n\|1\|\S+ ssh-ed25519 \S+\n$/);
  await using strict = await client('StrictHostKeyChecking yes', noted);
  expect(await strict.ours('web1')).toMatchObject({ in: true });
  expect(await strict.ssh('web1')).toMatchObject({ in: true });
});

test('a changed key is refused whatever the configuration says, and the line that mends it does', async () => {
  const other = await publicKey(await makeKey(`${tmp.path}/other`));
  const known = `# one\n[127.0.0.1]:${server.port} ${other}\n`;
  await using web1 = await client('StrictHostKeyChecking accept-new', known);
  const said = await refused(web1);
  expect(said).toContain(`(${tmp.path}/known_hosts:2)`);
  const [, line = ''] = /if its key did change: (ssh-keygen .*), and then/.exec(said) ?? [];
  await execa('sh', ['-c', line]);
  expect(await web1.ours('web1')).toMatchObject({ in: true });
});

test('RevokedHostKeys: a key that stands there is refused, and so is every key if the file cannot be read', async () => {
  const file = `${tmp.path}/revoked`;
  await using web1 = await client(`RevokedHostKeys "${file}"`);
  const agree = async (isIn: boolean) => {
    const [ours, theirs] = [await web1.ours('web1'), await web1.ssh('web1')];
    expect([ours.in, theirs.in], ours.said + theirs.said).toEqual([isIn, isIn]);
    return ours.said;
  };
  const other = await publicKey(await makeKey(`${tmp.path}/of another host`));
  await writeFile(file, `# keys that were stolen\n\n${other} of web9\n`);
  await agree(true);
  await writeFile(file, `# keys that were stolen\n${other}\n${server.hostKey} of web1\n`);
  expect(await agree(false)).toContain(`shows a host key that is revoked in ${file}:3: SHA256:`);
  await rm(file);
  expect(await agree(false)).toMatch(/RevokedHostKeys cannot be read: .*no such file/);
  await writeFile(`${tmp.path}/stolen.pub`, `${server.hostKey}\n`);
  await execa('ssh-keygen', ['-q', '-k', '-f', file, `${tmp.path}/stolen.pub`]);
  expect(await agree(false)).toContain('is a binary list (KRL)');
});

test('only an authority is known: certificates are named', async () => {
  await using web1 = await client('', `@cert-authority * ${server.hostKey}\n`);
  expect(await refused(web1)).toContain('deployer cannot check host certificates');
});

test('DEPLOYER_KNOWN_HOSTS and DEPLOYER_IDENTITY are enough, and take the place of all others', async () => {
  await using bare = await client('IdentityFile /nowhere', '');
  const known = `${tmp.path}/known elsewhere`;
  await writeFile(known, server.knownHosts);
  const env = { DEPLOYER_KNOWN_HOSTS: known, DEPLOYER_IDENTITY: key };
  expect(await bare.ours('web1', env)).toMatchObject({ in: true });
  await using full = await client();
  const wrong = await makeKey(`${tmp.path}/wrong`);
  const said = await refused(full, { DEPLOYER_IDENTITY: wrong });
  expect(said).toContain(`offered: key ${wrong}\n`);
  expect(said).toContain('the host takes: publickey');
  expect(said).toContain(`ssh-copy-id -p ${server.port} ${user}@127.0.0.1`);
  await rm(known);
});

test('an encrypted key, and nobody to ask: DEPLOYER_PASSPHRASE opens it, or is what is missing', async () => {
  await using web1 = await client();
  const env = { DEPLOYER_IDENTITY: locked };
  const said = await refused(web1, env);
  expect(said).toContain(`${locked}: encrypted, and nobody is here to give its passphrase`);
  expect(said).toContain(
    `to do: set DEPLOYER_PASSPHRASE, or load the key into the SSH agent: ssh-add`,
  );
  const wrong = await refused(web1, { ...env, DEPLOYER_PASSPHRASE: 'not this one' });
  expect(wrong).toContain(`${locked}: encrypted, and not with DEPLOYER_PASSPHRASE`);
  expect(wrong).not.toContain('not this one');
  const right = { ...env, DEPLOYER_PASSPHRASE: 'open sesame' };
  expect(await web1.ours('web1', right)).toMatchObject({ in: true });
  await rm(`${locked}.pub`);
  expect(await web1.ours('web1', right)).toMatchObject({ in: true });
});

test.each([
  ['rsa', ['-t', 'rsa', '-m', 'PEM']],
  ['ecdsa', ['-t', 'ecdsa']],
])('an encrypted %s key', async (name, words) => {
  const file = `${tmp.path}/encrypted ${name}`;
  await execa('ssh-keygen', ['-q', ...words, '-N', 'open sesame', '-f', file]);
  await using other = await sshd(tmp.path, { authorized: await publicKey(file) });
  await using there = await client(`Host web1\nPort ${other.port}`, other.knownHosts);
  const env = { DEPLOYER_IDENTITY: file, DEPLOYER_PASSPHRASE: 'open sesame' };
  expect(await there.ours('web1', env)).toMatchObject({ in: true });
});

test('no key at all, a key that is none, and one that is not there', async () => {
  await using none = await client('IdentityFile /nowhere');
  const given = await none.ours('web1', { DEPLOYER_IDENTITY: '/nowhere/key' });
  expect(given.said).toContain('offered: nothing: there is no key here');
  await writeFile(`${tmp.path}/garbage`, 'no key\n');
  const garbage = await refused(none, { DEPLOYER_IDENTITY: `${tmp.path}/garbage` });
  expect(garbage).toContain(`${tmp.path}/garbage: Unsupported key format`);
});

test('a certificate and a FIDO key are named, where they are why nobody is let in', async () => {
  const file = await makeKey(`${tmp.path}/certified`);
  await execa('ssh-keygen', ['-q', '-s', key, '-I', 'me', '-n', user, `${file}.pub`]);
  await using web1 = await client();
  const said = await refused(web1, { DEPLOYER_IDENTITY: file });
  expect(said).toContain(`${file}: an SSH certificate, which deployer cannot show`);
  expect(said).toContain('to do: give deployer a plain key');
  const fido = `${tmp.path}/fido`;
  const blob = Buffer.concat(
    ['sk-ssh-ed25519@openssh.com', 'x'.repeat(32), 'ssh:'].map((text) => {
      const head = Buffer.alloc(4);
      head.writeUInt32BE(text.length);
      return Buffer.concat([head, Buffer.from(text)]);
    }),
  );
  await writeFile(`${fido}.pub`, `sk-ssh-ed25519@openssh.com ${blob.toString('base64')} me\n`);
  const key2 = await refused(web1, { DEPLOYER_IDENTITY: fido });
  expect(key2).toContain(`${fido}: a FIDO security key, which deployer cannot use`);
});

test('an agent that takes the question and says nothing ends the attempt in time', async () => {
  const agent = `${tmp.path}/mute agent`;
  await using mute = await listening(agent);
  await using web1 = await client('ConnectTimeout 1');
  const said = await refused(web1, { SSH_AUTH_SOCK: agent });
  expect(said).toContain('no answer for 1 s');
  expect(said).toContain('does the SSH agent answer?');
  expect(mute.asked()).toBe(true);
});

/** A socket that nobody speaks at. */
async function listening(path: string) {
  let asked = false;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => {
      asked = true;
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    asked: () => asked,
    [Symbol.asyncDispose]: async () => {
      server.close();
    },
  };
}

test('an agent that does not answer is named', async () => {
  await using web1 = await client('IdentityFile /nowhere');
  const said = await refused(web1, {
    SSH_AUTH_SOCK: `${tmp.path}/no agent`,
    DEPLOYER_IDENTITY: '/nowhere/key',
  });
  expect(said).toContain('the SSH agent does not answer');
});

test('nobody listens, nobody answers, or it is no SSH server', async () => {
  await using gone = await client(`Host web1\nPort ${await freePort()}`);
  expect(await refused(gone)).toContain('the connection is refused');

  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const port = (silent.address() as { port: number }).port;
  await using waiting = await client(`Host web1\nPort ${port}\nConnectTimeout 1`);
  expect(await refused(waiting)).toContain('no answer for 1 s');
  silent.close();

  const web = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  await using http = await client(`Host web1\nPort ${(web.address() as { port: number }).port}`);
  expect(await refused(http)).toMatch(/not be an SSH server|no algorithm/);
  web.close();
});

test('what the SSH configuration runs sees no secret', async () => {
  const relay = "sh -c 'env >> $HOME/seen; exec busybox nc %h %p'";
  await using web1 = await client(`Match exec "env >> $HOME/seen"\nProxyCommand ${relay}`);
  const secrets = { DEPLOYER_PASSWORD: 'pass-1234', DEPLOYER_PASSPHRASE: 'phrase-1234' };
  const known = { DEPLOYER_KNOWN_HOSTS: `${tmp.path}/known_hosts` };
  expect(await web1.ours('web1', { ...secrets, ...known })).toMatchObject({ in: true });
  const seen = await readFile(`${web1.env.HOME}/seen`, 'utf8');
  expect(seen.match(/^DEPLOYER_KNOWN_HOSTS=/gm)).toHaveLength(2);
  expect(seen).not.toContain('-1234');
});

test('a configuration that ssh cannot read is said', async () => {
  await using broken = await client('Nonsense yes');
  expect(await refused(broken)).toMatch(/Bad configuration option: nonsense/i);
});

test('without OpenSSH here, what sites.yml and the environment say is enough, and that is said', async () => {
  await using web1 = await client();
  const known = `${tmp.path}/known_hosts`;
  const env = { PATH: '/nowhere', DEPLOYER_KNOWN_HOSTS: known, DEPLOYER_IDENTITY: key };
  const { port } = server;
  expect(await web1.ours({ host: '127.0.0.1', user, port }, env)).toEqual({
    in: true,
    said: expect.stringContaining('ssh is not installed here'),
  });
});

test.skipIf(!AM_ROOT)('… and so are the default keys and known_hosts, or the agent', async () => {
  const home = `${tmp.path}/home`;
  await mkdir(`${home}/.ssh`, { recursive: true });
  await writeFile(`${home}/.ssh/known_hosts`, server.knownHosts);
  await using agent = await sshAgent(`${tmp.path}/agent of home`);
  await using web1 = await client();
  const host = `${user}@127.0.0.1:${server.port}`;
  const env = { PATH: '/nowhere', SSH_AUTH_SOCK: agent.socket };
  const status = () => web1.status(host, env, [...AT_HOME, home, userInfo().homedir]);
  expect(await status()).toMatchObject({ exitCode: 4 });
  await copyFile(key, `${home}/.ssh/id_ed25519`);
  expect(await status()).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('ssh is not installed here'),
  });
  await rm(`${home}/.ssh/id_ed25519`);
  await agent.hold(key);
  expect(await status()).toMatchObject({ exitCode: 0 });
});

/** Runs a command where the first folder is in the place of the second. */
const AT_HOME = [
  ...['/usr/bin/unshare', '--mount', '/bin/sh', '-c'],
  ...['/bin/mount --bind "$1" "$2" && shift 2 && exec "$@"', 'sh'],
];

test.each([[['password']], [['keyboard-interactive']]])(
  'DEPLOYER_PASSWORD logs in where the host takes %s, and is never shown',
  async (methods) => {
    using host = await passwordServer(tmp.path, methods);
    await using web1 = await client(`Host web1\nPort ${host.port}`, host.known);
    expect(await web1.ours('web1', { DEPLOYER_PASSWORD: 'the password' })).toMatchObject({
      in: true,
    });
    const said = await refused(web1, { DEPLOYER_PASSWORD: 'another word' });
    expect(said).toContain(`the host takes: ${methods}`);
    expect(said).not.toContain('another word');
    const nobody = await refused(web1);
    expect(nobody).toContain(`the host takes: ${methods}`);
  },
);

test('DEPLOYER_PASSWORD is for the target: no jump host is offered it', async () => {
  using asking = await passwordServer(tmp.path, ['password', 'keyboard-interactive']);
  const hop = (port: number) =>
    `Host hop\nPort ${port}\nHost web1\nPort ${asking.port}\nProxyJump hop\nHost *\nHostName 127.0.0.1\nUserKnownHostsFile "${tmp.path}/known_hosts"\nUser ${user}\nIdentityFile "${key}"`;
  const env = { DEPLOYER_PASSWORD: 'the password' };
  await using curious = await client(hop(asking.port), asking.known);
  const said = await refused(curious, env);
  expect(asking.heard).toEqual([]);
  expect(said).toContain(`${user}@hop: permission denied; the host takes: password`);
  await using through = await client(hop(server.port), asking.known + server.knownHosts);
  expect(await through.ours('web1', env)).toMatchObject({ in: true });
  expect(asking.heard).toEqual(['the password']);
});
