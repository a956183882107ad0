import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SshAgent, sshAgent } from '../support/ssh-agent.ts';
import { sshClient } from '../support/ssh-client.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';

let tmp: TmpFolder;
let user: string;
/** `good` is let in everywhere, `jump` only by the jump host, `bad` nowhere. */
let keys: { good: string; jump: string; bad: string };
let target: Sshd;
let jump: Sshd;
let agent: SshAgent;
let knownHosts: string;

beforeAll(async () => {
  tmp = await tmpFolder();
  await chmod(tmp.path, 0o755);
  user = (await ordinaryUser()).name;
  const made = await Promise.all(
    ['good', 'jump', 'bad'].map((name) => makeKey(`${tmp.path}/${name}`)),
  );
  const [good, hop, bad] = made as [string, string, string];
  keys = { good, jump: hop, bad };
  target = await sshd(tmp.path, { authorized: await publicKey(good) });
  const both = await Promise.all([good, hop].map(publicKey));
  jump = await sshd(tmp.path, { authorized: both.join('\n') });
  knownHosts = `${tmp.path}/known_hosts`;
  await writeFile(knownHosts, `${target.knownHosts}${jump.knownHosts}an-alias ${target.hostKey}\n`);
  agent = await sshAgent(`${tmp.path}/agent`);
});
afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await target?.[Symbol.asyncDispose]();
  await jump?.[Symbol.asyncDispose]();
  await tmp?.[Symbol.asyncDispose]();
});

interface Row {
  readonly name: string;
  readonly in: boolean;
  /** GOOD, JUMP, BAD: key files; TARGET, HOP: ports. */
  readonly config: string;
  readonly host?: string;
  readonly agent?: () => readonly string[];
  /** What was reached besides the target. */
  readonly through?: true;
}

const rows: readonly Row[] = [
  { name: 'an alias', in: true, config: 'Host web1\nPort TARGET\nIdentityFile GOOD' },
  {
    name: 'a port where nobody listens',
    in: false,
    config: 'Host web1\nPort 1\nIdentityFile GOOD',
  },
  {
    name: 'a key that is not let in',
    in: false,
    config: 'Host web1\nPort TARGET\nIdentityFile BAD',
  },
  {
    name: 'several keys, the right one last',
    in: true,
    config: 'Host web1\nPort TARGET\nIdentityFile BAD\nIdentityFile JUMP\nIdentityFile GOOD',
  },
  {
    name: 'another user',
    in: false,
    config: 'Host web1\nPort TARGET\nUser nobody-of-this-name\nIdentityFile GOOD',
  },
  { name: 'Include', in: true, config: 'Include INCLUDED' },
  {
    name: 'Match host, after HostName',
    in: true,
    config: 'Host web1\nHostName 127.0.0.1\nMatch host 127.0.0.1\nPort TARGET\nIdentityFile GOOD',
  },
  {
    name: 'Match exec that says no',
    in: false,
    config: 'Host web1\nPort TARGET\nMatch exec "false"\nIdentityFile GOOD',
  },
  {
    name: 'Match exec that says yes',
    in: true,
    config: 'Host web1\nPort TARGET\nMatch exec "test %n = web1"\nIdentityFile GOOD',
  },
  {
    name: 'HostKeyAlias',
    in: true,
    config: 'Host web1\nPort TARGET\nIdentityFile GOOD\nHostKeyAlias an-alias',
  },
  {
    name: 'HostKeyAlias that is not known',
    in: false,
    config: 'Host web1\nPort TARGET\nIdentityFile GOOD\nHostKeyAlias another-alias',
  },
  {
    name: 'a token in a file name',
    in: true,
    config: 'Host good\nPort TARGET\nIdentityFile FOLDER/%n',
    host: 'good',
  },
  {
    name: 'a key that only the agent has, named by its public half',
    in: true,
    config: 'Host web1\nPort TARGET\nIdentityFile PUBLIC\nIdentitiesOnly yes',
    agent: () => [keys.bad, keys.good],
  },
  {
    name: 'a key of the agent that IdentitiesOnly leaves out',
    in: false,
    config: 'Host web1\nPort TARGET\nIdentityFile BAD\nIdentitiesOnly yes',
    agent: () => [keys.good],
  },
  {
    name: 'a key of the agent',
    in: true,
    config: 'Host web1\nPort TARGET\nIdentityFile /nowhere',
    agent: () => [keys.jump, keys.good],
  },
  {
    name: 'IdentityAgent none',
    in: false,
    config: 'Host web1\nPort TARGET\nIdentityFile /nowhere\nIdentityAgent none',
    agent: () => [keys.good],
  },
  {
    name: 'more keys in the agent than the host has patience for, the right one named',
    in: true,
    config: 'Host web1\nPort TARGET\nIdentityFile GOOD',
    agent: () => [...many(), keys.good],
  },
  {
    name: 'more keys in the agent than the host has patience for',
    in: false,
    config: 'Host web1\nPort TARGET\nIdentityFile GOOD',
    agent: many,
  },
  {
    name: 'a jump host with a key of its own',
    in: true,
    through: true,
    config:
      'Host web1\nPort TARGET\nIdentityFile GOOD\nProxyJump hop\nHost hop\nPort HOP\nIdentityFile JUMP',
  },
  {
    name: 'a jump host by its address',
    in: true,
    through: true,
    config: 'IdentityFile GOOD\nHost web1\nPort TARGET\nProxyJump USER@127.0.0.1:HOP',
  },
  {
    name: 'two jump hosts',
    in: true,
    through: true,
    config:
      'IdentityFile GOOD\nHost web1\nPort TARGET\nProxyJump hop,again\nHost hop again\nPort HOP',
  },
  {
    name: 'a jump host behind a jump host',
    in: true,
    through: true,
    config:
      'IdentityFile GOOD\nHost web1\nPort TARGET\nProxyJump hop\nHost hop\nPort HOP\nProxyJump again\nHost again\nPort HOP',
  },
  {
    name: 'a jump host that lets nobody in',
    in: false,
    config:
      'Host web1\nPort TARGET\nIdentityFile GOOD\nProxyJump hop\nHost hop\nPort HOP\nIdentityFile BAD',
  },
  {
    name: 'a jump host whose key is not known',
    in: false,
    config:
      'IdentityFile GOOD\nHost web1\nPort TARGET\nProxyJump hop\nHost hop\nPort HOP\nHostKeyAlias stranger',
  },
  {
    name: 'a jump host that cannot reach the target',
    in: false,
    through: true,
    config: 'IdentityFile GOOD\nHost web1\nPort 1\nProxyJump hop\nHost hop\nPort HOP',
  },
  {
    name: 'ProxyCommand',
    in: true,
    config: `Host web1\nPort TARGET\nIdentityFile GOOD\nProxyCommand busybox nc %h %p`,
  },
  {
    name: 'a ProxyCommand that fails',
    in: false,
    config: 'Host web1\nPort TARGET\nIdentityFile GOOD\nProxyCommand false',
  },
  {
    name: 'ProxyJump none',
    in: true,
    config: 'Host web1\nPort TARGET\nIdentityFile GOOD\nProxyJump none\nHost *\nProxyJump hop',
  },
];

const common = `
Host *
HostName 127.0.0.1
User USER
UserKnownHostsFile "KNOWN" /nowhere/known_hosts
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
UpdateHostKeys no
IdentitiesOnly no
`;

function many(): readonly string[] {
  return Array.from({ length: 7 }, (_, index) => `${tmp.path}/many/${index}`);
}

test.each(rows)('$name: ssh and deployer status agree, in: $in', async (row) => {
  await mkdir(`${tmp.path}/many`, { recursive: true });
  if (row.agent?.().some((file) => file.includes('/many/')))
    for (const file of many()) await publicKey(file).catch(() => makeKey(file));
  await agent.hold(...(row.agent?.() ?? []));
  const included = `${tmp.path}/included`;
  const values: Readonly<Record<string, string>> = {
    GOOD: `"${keys.good}"`,
    PUBLIC: `"${keys.good}.pub"`,
    JUMP: `"${keys.jump}"`,
    BAD: `"${keys.bad}"`,
    TARGET: String(target.port),
    HOP: String(jump.port),
    USER: user,
    KNOWN: knownHosts,
    INCLUDED: `"${included}"`,
  };
  const fill = (text: string) =>
    text
      .replace(/FOLDER\/(\S+)/g, `"${tmp.path}/$1"`)
      .replace(/\b[A-Z]{3,}\b/g, (word) => values[word] ?? word);
  await writeFile(included, fill('Host web1\nPort TARGET\nIdentityFile GOOD\n'));
  await using client = await sshClient(fill(`${row.config}\n${common}`), {
    SSH_AUTH_SOCK: agent.socket,
  });
  const hops = () => jump.log().match(/Accepted publickey/g)?.length ?? 0;
  const before = hops();
  const host = row.host ?? 'web1';
  const ours = await client.status(host);
  expect(hops() > before).toBe(row.through === true);
  const theirs = await client.ssh(host);
  expect(theirs.in, theirs.said).toBe(row.in);
  expect(ours, ours.said).toMatchObject({ in: row.in, exitCode: row.in ? 0 : 4 });
});
