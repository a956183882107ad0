import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DeployError } from '../../errors.ts';
import { quote } from '../../shell.ts';
import type { Terminal } from '../../terminal.ts';
import type { Destination } from './destination.ts';
import {
  fingerprint,
  type Judgement,
  judge,
  type KnownHost,
  keyType,
  knownHostsLine,
  knownName,
  knownTypes,
  readKnownHosts,
} from './known-hosts.ts';

/** What is known of the keys of a host. */
export interface HostKeys {
  /** For ssh2: known types first. */
  readonly algorithms: readonly string[];
  judge(key: Buffer): Judgement;
}

/** Reads the known_hosts files of a destination, and its RevokedHostKeys; throws a DeployError if that cannot be read. */
export async function hostKeysOf(to: Destination): Promise<HostKeys> {
  const files = [...to.knownHosts, ...to.globalKnownHosts];
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')));
  const entries: readonly KnownHost[] = files.flatMap((file, index) =>
    readKnownHosts(file, texts[index] as string),
  );
  const revoked = await revokedIn(to);
  const name = nameOf(to);
  const types = new Set(knownTypes(entries, name));
  const isKnown = (algorithm: string) =>
    types.has(algorithm.startsWith('rsa-') ? 'ssh-rsa' : algorithm);
  return {
    algorithms: [
      ...ALGORITHMS.filter(isKnown),
      ...ALGORITHMS.filter((algorithm) => !isKnown(algorithm)),
    ],
    judge: (key) => judge([...revoked, ...entries], name, key),
  };
}

/** As OpenSSH has it: with a file that cannot be read, no host is to be trusted. */
async function revokedIn({
  name,
  revokedHostKeys: file,
}: Destination): Promise<readonly KnownHost[]> {
  if (file === undefined) return [];
  const text = await readFile(file, 'latin1').catch((error: Error) => error);
  if (text instanceof Error) throw unreadable(name, text.message, `make it readable`);
  if (text.startsWith('SSHKRL\n'))
    throw unreadable(
      name,
      `${file} is a binary list (KRL)`,
      'name a file with one public key a line',
    );
  return readKnownHosts(file, text.replace(/^(?=[^\s#])/gm, '@revoked * '));
}

const unreadable = (name: string, why: string, cure: string): DeployError =>
  new DeployError('unreachable', `${name}: RevokedHostKeys cannot be read: ${why}`, {
    hint: `${cure}, or change RevokedHostKeys in ~/.ssh/config: without it no host key is trusted`,
  });

/** Without ssh-rsa, which signs with SHA-1, and without certificates, which ssh2 does not know. */
const ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
];

/**
 * What becomes of a key that is not known: a person is asked, `accept-new` takes it and notes it. Resolves when it is
 * noted; throws a DeployError with the way out for every other.
 */
export async function settle(
  to: Destination,
  key: Buffer,
  judgement: Judgement,
  terminal: Terminal | undefined,
): Promise<void> {
  if (judgement.how === 'revoked' || judgement.how === 'changed')
    throw distrusted(to, key, judgement);
  const accepted =
    to.unknownKey === 'accept' ||
    (to.unknownKey === 'ask' && terminal !== undefined && (await isTrusted(to, key, terminal)));
  if (!accepted) throw unknown(to, key, judgement);
  const [file] = to.knownHosts;
  if (file === undefined) return;
  // Where it cannot be noted it is accepted for this run, as OpenSSH does.
  await note(file, knownHostsLine(nameOf(to), key, to.hashKnownHosts)).catch(() => {});
}

async function note(file: string, line: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const text = await readFile(file, 'utf8').catch(() => '');
  await appendFile(file, `${text === '' || text.endsWith('\n') ? '' : '\n'}${line}\n`, {
    mode: 0o600,
  });
}

async function isTrusted(to: Destination, key: Buffer, terminal: Terminal): Promise<boolean> {
  const answer = await terminal.ask(
    `The host ${shownName(to)} is not known here. It shows this ${shownType(key)} key:\n  ${fingerprint(key)}\nIs that its key (yes, no, or the fingerprint)? `,
  );
  return /^yes$/i.test(answer.trim()) || answer.trim() === fingerprint(key);
}

function distrusted(
  to: Destination,
  key: Buffer,
  judgement: Extract<Judgement, { by: KnownHost }>,
): DeployError {
  const { file, line, key: before } = judgement.by;
  if (judgement.how === 'revoked')
    return new DeployError(
      'unreachable',
      `${shownName(to)} shows a host key that is revoked in ${file}:${line}: ${fingerprint(key)}`,
      { hint: 'do not connect: whoever answers there may be somebody else. Ask who runs the host' },
    );
  return new DeployError(
    'unreachable',
    [
      `${shownName(to)} shows another host key than the one that is known: somebody may be listening in, or the host was set up anew`,
      `shown: ${shownType(key)} ${fingerprint(key)}`,
      `known: ${shownType(before)} ${fingerprint(before)} (${file}:${line})`,
    ].join('\n'),
    {
      hint: `ask who runs the host; if its key did change: ssh-keygen -R ${quote(knownName(nameOf(to)))} -f ${quote(file)}, and then connect again`,
    },
  );
}

function unknown(to: Destination, key: Buffer, { how }: Judgement): DeployError {
  const [file = '~/.ssh/known_hosts'] = to.knownHosts;
  const line = knownHostsLine(nameOf(to), key);
  const type = shownType(key).toLowerCase();
  return new DeployError(
    'unreachable',
    [
      `the host key of ${shownName(to)} is not known here${how === 'authority-only' ? ', only an authority for it: deployer cannot check host certificates' : ''}`,
      `shown: ${shownType(key)} ${fingerprint(key)}`,
    ].join('\n'),
    {
      hint: `compare it with what the host itself says: ssh-keygen -lf /etc/ssh/ssh_host_${type}_key.pub\n  if it is the same: echo ${quote(line)} >> ${file.startsWith('~') ? file : quote(file)}`,
    },
  );
}

const nameOf = ({ host, port, hostKeyAlias: alias }: Destination) => ({ host, port, alias });

const shownName = (to: Destination): string => {
  const name = knownName(nameOf(to));
  return to.name === name ? name : `${to.name} (${name})`;
};

/** `ED25519`, as OpenSSH says it. */
const shownType = (key: Buffer): string =>
  keyType(key)
    .replace(/^ssh-/, '')
    .replace(/^ecdsa-.*/, 'ecdsa')
    .toUpperCase();
