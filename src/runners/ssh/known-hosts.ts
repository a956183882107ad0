import { createHash, createHmac, randomBytes } from 'node:crypto';

/** One line of a known_hosts file. */
export interface KnownHost {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly marker: string | undefined;
  readonly names: string;
  readonly type: string;
  readonly key: Buffer;
}

/** How a host is called in known_hosts. */
export interface HostName {
  readonly host: string;
  readonly port: number;
  /** HostKeyAlias: takes the place of both. */
  readonly alias: string | undefined;
}

export type Judgement =
  | { readonly how: 'known' }
  | { readonly how: 'unknown' | 'authority-only' }
  | { readonly how: 'revoked' | 'changed'; readonly by: KnownHost };

/** The entries of a known_hosts file; lines that are none are passed over, as OpenSSH does. */
export function readKnownHosts(file: string, text: string): readonly KnownHost[] {
  return text.split('\n').flatMap((content, index) => {
    const words = content.trim().split(/\s+/);
    const marker = words[0]?.startsWith('@') ? words.shift() : undefined;
    const [names, type, key] = words;
    if (names === undefined || names.startsWith('#') || type === undefined || key === undefined)
      return [];
    const entry = { file, line: index + 1, marker, names, type, key: Buffer.from(key, 'base64') };
    return keyType(entry.key) === type ? [entry] : [];
  });
}

/** What OpenSSH would say to a key that a host shows. */
export function judge(entries: readonly KnownHost[], name: HostName, key: Buffer): Judgement {
  const judgement = judgeAs(entries, knownName(name), key);
  if (judgement.how !== 'unknown' || name.alias !== undefined || name.port === 22) return judgement;
  const bare = judgeAs(entries, name.host, key);
  return bare.how === 'known' || bare.how === 'revoked' ? bare : judgement;
}

/** The types of key that are known of a host, to be asked for first; without them another one might be shown. */
export function knownTypes(entries: readonly KnownHost[], name: HostName): readonly string[] {
  const found = entriesOf(entries, knownName(name));
  const own = found.length > 0 ? found : entriesOf(entries, name.host);
  return own.filter(({ marker }) => marker === undefined).map(({ type }) => type);
}

/** `web1`, `[web1]:2222`, or the alias. */
export const knownName = ({ host, port, alias }: HostName): string =>
  (alias ?? (port === 22 ? host : `[${host}]:${port}`)).toLowerCase();

/** A line for known_hosts; `hashed`: it does not tell which host it is for. */
export function knownHostsLine(name: HostName, key: Buffer, hashed = false): string {
  const salt = randomBytes(20);
  const plain = knownName(name);
  const named = hashed
    ? `|1|${salt.toString('base64')}|${hmac(salt, plain).toString('base64')}`
    : plain;
  return `${named} ${keyType(key)} ${key.toString('base64')}`;
}

/** `SHA256:…`, as OpenSSH shows it. */
export const fingerprint = (key: Buffer): string =>
  `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;

/** `ssh-ed25519`; empty for what is no key. */
export const keyType = (key: Buffer): string =>
  key.length < 4 ? '' : key.toString('latin1', 4, 4 + key.readUInt32BE(0));

function judgeAs(entries: readonly KnownHost[], name: string, key: Buffer): Judgement {
  const found = entriesOf(entries, name);
  const same = found.filter((entry) => entry.key.equals(key));
  const revoked = same.find(({ marker }) => marker === '@revoked');
  if (revoked !== undefined) return { how: 'revoked', by: revoked };
  if (same.some(({ marker }) => marker === undefined)) return { how: 'known' };
  const plain = found.filter(({ marker }) => marker === undefined);
  const other = plain.find(({ type }) => type === keyType(key)) ?? plain[0];
  if (other !== undefined) return { how: 'changed', by: other };
  const authority = found.some(({ marker }) => marker === '@cert-authority');
  return { how: authority ? 'authority-only' : 'unknown' };
}

const entriesOf = (entries: readonly KnownHost[], name: string): readonly KnownHost[] =>
  entries.filter(({ names }) => matches(names, name));

function matches(names: string, name: string): boolean {
  if (names.startsWith('|1|')) {
    const [, , salt = '', hash = ''] = names.split('|');
    return hmac(Buffer.from(salt, 'base64'), name).equals(Buffer.from(hash, 'base64'));
  }
  const patterns = names.split(',');
  const fits = (pattern: string) => wildcard(pattern).test(name);
  return (
    patterns.some(fits) &&
    !patterns.some((pattern) => pattern.startsWith('!') && fits(pattern.slice(1)))
  );
}

const hmac = (salt: Buffer, name: string): Buffer => createHmac('sha1', salt).update(name).digest();

const wildcard = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
    'i',
  );
