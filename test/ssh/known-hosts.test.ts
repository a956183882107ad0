import { chmod, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sshClient } from '../support/ssh-client.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';

let tmp: TmpFolder;
let user: string;
let key: string;
let server: Sshd;
/** Another key of the server's, and keys of nobody's. */
const keys = { ecdsa: '', ed25519: '', otherEd25519: '', otherRsa: '' };

beforeAll(async () => {
  tmp = await tmpFolder();
  await chmod(tmp.path, 0o755);
  user = (await ordinaryUser()).name;
  key = await makeKey(`${tmp.path}/key`);
  const ecdsa = await makeKey(`${tmp.path}/ecdsa_host_key`, { type: 'ecdsa' });
  server = await sshd(tmp.path, {
    authorized: await publicKey(key),
    config: [`HostKey "${ecdsa}"`],
  });
  keys.ecdsa = await publicKey(ecdsa);
  keys.ed25519 = server.hostKey;
  keys.otherEd25519 = await publicKey(await makeKey(`${tmp.path}/other_ed25519`));
  keys.otherRsa = await publicKey(await makeKey(`${tmp.path}/other_rsa`, { type: 'rsa' }));
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await tmp?.[Symbol.asyncDispose]();
});

interface Row {
  readonly name: string;
  /** Lines of known_hosts; PORT is the server's. */
  readonly lines: () => readonly string[];
  readonly verdict: 'known' | 'unknown' | 'changed' | 'revoked';
  readonly config?: string;
  readonly hashed?: boolean;
  readonly host?: string;
}

const rows: readonly Row[] = [
  { name: 'nothing at all', lines: () => [], verdict: 'unknown' },
  { name: 'host and port', lines: () => [`[127.0.0.1]:PORT ${keys.ed25519}`], verdict: 'known' },
  { name: 'the bare name', lines: () => [`127.0.0.1 ${keys.ed25519}`], verdict: 'known' },
  {
    name: 'another key under the bare name',
    lines: () => [`127.0.0.1 ${keys.otherEd25519}`],
    verdict: 'unknown',
  },
  {
    name: 'another key of that type',
    lines: () => [`[127.0.0.1]:PORT ${keys.otherEd25519}`],
    verdict: 'changed',
  },
  {
    name: 'another key and the right one',
    lines: () => [`[127.0.0.1]:PORT ${keys.otherEd25519}`, `[127.0.0.1]:PORT ${keys.ed25519}`],
    verdict: 'known',
  },
  {
    name: 'another key for the port, the right one for the bare name',
    lines: () => [`[127.0.0.1]:PORT ${keys.otherEd25519}`, `127.0.0.1 ${keys.ed25519}`],
    verdict: 'changed',
  },
  {
    name: 'only the key that the server does not prefer',
    lines: () => [`[127.0.0.1]:PORT ${keys.ecdsa}`],
    verdict: 'known',
  },
  {
    name: 'only a key of a type that the server has not',
    lines: () => [`[127.0.0.1]:PORT ${keys.otherRsa}`],
    verdict: 'changed',
  },
  {
    name: 'hashed',
    lines: () => [`[127.0.0.1]:PORT ${keys.ed25519}`],
    hashed: true,
    verdict: 'known',
  },
  {
    name: 'hashed, another host',
    lines: () => [`[127.0.0.2]:PORT ${keys.ed25519}`],
    hashed: true,
    verdict: 'unknown',
  },
  { name: 'a wildcard', lines: () => [`[127.0.0.*]:PORT ${keys.ed25519}`], verdict: 'known' },
  { name: 'one character', lines: () => [`[127.?.0.1]:* ${keys.ed25519}`], verdict: 'known' },
  {
    name: 'a list',
    lines: () => [`web1,[127.0.0.1]:PORT,web2 ${keys.ed25519}`],
    verdict: 'known',
  },
  {
    name: 'a negation',
    lines: () => [`*,![127.0.0.1]:PORT,!127.0.0.1 ${keys.ed25519}`],
    verdict: 'unknown',
  },
  {
    name: 'a negation of another',
    lines: () => [`[127.0.0.*]:*,![127.0.0.2]:PORT ${keys.ed25519}`],
    verdict: 'known',
  },
  {
    name: 'revoked',
    lines: () => [`@revoked * ${keys.ed25519}`, `[127.0.0.1]:PORT ${keys.ed25519}`],
    verdict: 'revoked',
  },
  {
    name: 'revoked for another host',
    lines: () => [`@revoked web9 ${keys.ed25519}`, `[127.0.0.1]:PORT ${keys.ed25519}`],
    verdict: 'known',
  },
  {
    name: 'revoked and never known',
    lines: () => [`@revoked [127.0.0.1]:PORT ${keys.ed25519}`],
    verdict: 'revoked',
  },
  {
    name: 'only an authority',
    lines: () => [`@cert-authority * ${keys.otherEd25519}`],
    verdict: 'unknown',
  },
  {
    name: 'comments, garbage, tabs and upper case',
    lines: () => [
      '# web1',
      'nonsense',
      '[127.0.0.1]:1 ssh-ed25519 AAAA',
      `LOCALHOST,[LocalHost]:PORT\t${keys.ed25519.replace(' ', '\t')} comment`,
    ],
    host: 'LocalHost',
    verdict: 'known',
  },
  {
    name: 'HostKeyAlias',
    lines: () => [`the-alias ${keys.ed25519}`, `[127.0.0.1]:PORT ${keys.otherEd25519}`],
    config: 'HostKeyAlias The-Alias',
    verdict: 'known',
  },
  {
    name: 'HostKeyAlias that nobody knows',
    lines: () => [`[127.0.0.1]:PORT ${keys.ed25519}`],
    config: 'HostKeyAlias the-alias',
    verdict: 'unknown',
  },
];

test.each(rows)('known_hosts with $name: as ssh, $verdict', async (row) => {
  const file = `${tmp.path}/known_hosts ${rows.indexOf(row)}`;
  const text = row.lines().map((line) => `${line.replaceAll('PORT', String(server.port))}\n`);
  await writeFile(file, text.join(''));
  if (row.hashed) await execa('ssh-keygen', ['-q', '-H', '-f', file], { reject: false });
  await using client = await sshClient(
    `User ${user}
Port ${server.port}
IdentityFile "${key}"
IdentitiesOnly yes
UserKnownHostsFile "${file}"
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
UpdateHostKeys no
${row.config ?? ''}
`,
  );
  const host = row.host ?? '127.0.0.1';
  const theirs = await client.ssh(host);
  const ours = await client.ours(host);
  expect(verdictOf(theirs, THEIRS), theirs.said).toBe(row.verdict);
  expect(verdictOf(ours, OURS), ours.said).toBe(row.verdict);
});

const verdictOf = (
  verdict: { in: boolean; said: string },
  words: Readonly<Record<string, RegExp>>,
) => (verdict.in ? 'known' : Object.keys(words).find((name) => words[name]?.test(verdict.said)));

const THEIRS = {
  revoked: /marked as revoked|REVOKED HOST KEY/,
  changed: /IDENTIFICATION HAS CHANGED/,
  unknown: /host key is known for/,
};
const OURS = {
  revoked: /is revoked in/,
  changed: /shows another host key/,
  unknown: /is not known here/,
};
