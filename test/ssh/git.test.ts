import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { quote } from '../../src/shell.ts';
import { gitServer } from '../support/git-server.ts';
import { type Ran, SITE } from '../support/lab.ts';
import { passwordServer } from '../support/password-server.ts';
import { type SshAgent, sshAgent } from '../support/ssh-agent.ts';
import { sshClient } from '../support/ssh-client.ts';
import { type SshWorld, sshWorld } from '../support/ssh-world.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';

let world: SshWorld;
let target: Sshd;
/** It has the one repository, and shows it to one key, which only the client's agent has. */
let gitHost: Sshd;
let agent: SshAgent;
let knownThere: string;

beforeAll(async () => {
  world = await sshWorld();
  const { root, world: of } = world;
  const bin = await of.folder(`${root}/bin`);
  const authorized = await publicKey(world.key);
  const PATH = `SetEnv "PATH=${bin}:/usr/bin:/bin"`;
  target = await sshd(root, { authorized, config: [PATH] });
  await world.know(target.port, target.hostKey);
  await of.folder(`${root}/git`);
  await of.run(`${root}/git`, ['git', 'clone', '-q', '--bare', of.project.path, 'project.git']);
  const gitKey = await makeKey(`${root}/git_key`);
  gitHost = await sshd(root, {
    authorized: await publicKey(gitKey),
    config: [`ForceCommand exec git-upload-pack ${quote(`${root}/git/project.git`)}`],
  });
  knownThere = `${root}/known on the target`;
  await writeFile(`${root}/ssh_config`, `UserKnownHostsFile "${knownThere}"\n`);
  await writeFile(knownThere, gitHost.knownHosts);
  await writeFile(
    `${bin}/ssh`,
    `#!/bin/sh\nexec /usr/bin/ssh -F ${quote(`${root}/ssh_config`)} "$@"\n`,
    { mode: 0o755 },
  );
  agent = await sshAgent(`${root}/agent`);
  await agent.hold(gitKey);
});
afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await gitHost?.[Symbol.asyncDispose]();
  await target?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const repositoryOn = (port: number) =>
  `ssh://${world.world.user.name}@127.0.0.1:${port}/project.git`;

async function deploy(
  settings: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string>> = { SSH_AUTH_SOCK: agent.socket },
): Promise<Ran> {
  await world.configure({
    host: `${world.world.user.name}@127.0.0.1:${target.port}`,
    repository: repositoryOn(gitHost.port),
    ...settings,
  });
  const { exitCode, stdout, stderr } = await world.start(['deploy', SITE], env);
  return { exitCode, stdout: String(stdout), stderr: String(stderr) };
}

/** Before anything was changed; nothing waited for an answer. */
function expectRefused({ exitCode, stderr }: Ran, ...says: readonly string[]): void {
  expect(exitCode, stderr).toBe(1);
  expect(stderr).toContain('deploy failed in check: 1 problem, nothing was changed');
  for (const text of says) expect(stderr).toContain(text);
}

test('a private repository that only the agent here opens: forward_agent says whether', async () => {
  expectRefused(
    await deploy({}),
    `127.0.0.1:${gitHost.port} does not accept the target's SSH key`,
    'or set forward_agent: true',
  );
  const { exitCode, stderr } = await deploy({ forward_agent: true });
  expect(exitCode, stderr).toBe(0);
});

test('ForwardAgent of the SSH configuration is as good: yes, or another agent than the one that logs in', async () => {
  await using empty = await sshAgent(`${world.root}/an empty agent`);
  const cases = [
    ['yes', { SSH_AUTH_SOCK: agent.socket }],
    [`"${agent.socket}"`, {}],
    [`"${agent.socket}"`, { SSH_AUTH_SOCK: empty.socket }],
    ['$MY_AGENT', { SSH_AUTH_SOCK: empty.socket, MY_AGENT: agent.socket }],
  ] as const;
  for (const [says, env] of cases) {
    await using client = await sshClient(`Host 127.0.0.1\nForwardAgent ${says}\n`);
    const { exitCode, stderr } = await deploy({}, { ...client.env, ...env });
    expect(exitCode, says + stderr).toBe(0);
  }
  await using client = await sshClient('Host 127.0.0.1\nForwardAgent $MY_AGENT\n');
  expectRefused(
    await deploy({}, { ...client.env, SSH_AUTH_SOCK: agent.socket }),
    "does not accept the target's SSH key",
  );
});

test('no agent here, one without a key, or a host that forwards none: that is said', async () => {
  const settings = { forward_agent: true };
  expectRefused(
    await deploy(settings, {}),
    'forward_agent: there is no SSH agent here to forward',
    "does not accept the target's SSH key",
  );
  const config = ['AllowAgentForwarding no'];
  await using strict = await sshd(world.root, { authorized: await publicKey(world.key), config });
  await world.know(strict.port, strict.hostKey);
  const host = `${world.world.user.name}@127.0.0.1:${strict.port}`;
  const { stderr } = await deploy({ ...settings, host });
  expect(stderr).toContain('the host does not let us forward the SSH agent (AllowAgentForwarding)');
});

test('a Git server that is not known on the target', async () => {
  await writeFile(knownThere, '');
  const refused = await deploy({ forward_agent: true });
  await writeFile(knownThere, gitHost.knownHosts);
  expectRefused(
    refused,
    `the host key of 127.0.0.1:${gitHost.port} is not known on the target`,
    `ssh -T -p ${gitHost.port} ${world.world.user.name}@127.0.0.1`,
  );
});

test('a Git server that asks for a password, over SSH or HTTP', async () => {
  using asking = await passwordServer(world.root, ['password', 'keyboard-interactive']);
  await writeFile(knownThere, gitHost.knownHosts + asking.known);
  expectRefused(
    await deploy({ repository: repositoryOn(asking.port) }),
    `127.0.0.1:${asking.port} does not accept the target's SSH key`,
    'make a key on the target (ssh-keygen -t ed25519)',
  );
  const web = await world.world.folder(`${world.root}/web`);
  await using server = await world.change(({ path }) => gitServer(path, web, 'ci', 'a-password'));
  expectRefused(
    await deploy({ repository: `http://${server.place}` }),
    `${server.place.split('/')[0]} wants a user and a password`,
    'put a user and a token that may read it into the https URL',
  );
  const { exitCode, stderr } = await deploy({ repository: `http://ci:a-password@${server.place}` });
  expect(exitCode, stderr).toBe(0);
  expect(stderr).not.toContain('a-password');
});

test('a Git server that takes every connection and says nothing', async () => {
  await using silent = await silentServer();
  expectRefused(
    await deploy({ repository: repositoryOn(silent.port) }),
    `127.0.0.1:${silent.port} cannot be reached from the target, or does not answer`,
  );
  const http = await deploy({
    repository: `http://127.0.0.1:${silent.port}/project.git`,
    timeouts: { check: 4 },
  });
  expect(http.exitCode, http.stderr).toBe(1);
  expect(http.stderr).toContain('deploy failed in check: out of time');
});

async function silentServer() {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.on('error', () => {}).resume()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
