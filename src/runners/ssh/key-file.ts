import { readFile } from 'node:fs/promises';
import ssh2, { type ParsedKey } from 'ssh2';
import { keyType } from './known-hosts.ts';

/** What a file of `IdentityFile` holds. */
export interface KeyFile {
  readonly path: string;
  /** The public half, in SSH's wire format; undefined: it cannot be read without the passphrase. */
  readonly publicKey: Buffer | undefined;
  /** The private half; undefined: it is encrypted, or not here (an agent may have it). */
  readonly privateKey: ParsedKey | undefined;
  /** Only with a passphrase does it give the private half. */
  readonly encrypted: boolean;
  /** What of it cannot be used here, and why. */
  readonly note: string | undefined;
}

/** Reads a key file and its `.pub`. Undefined: neither is there. */
export async function readKeyFile(path: string): Promise<KeyFile | undefined> {
  const [own, pub, certificate] = await Promise.all(
    [path, `${path}.pub`, `${path}-cert.pub`].map(textOf),
  );
  if (own === undefined && pub === undefined) return undefined;
  const none = { path, publicKey: undefined, privateKey: undefined, encrypted: false };
  if (own instanceof Error) return { ...none, note: own.message };
  const shown = typeof pub === 'string' ? pub : '';
  const publicKey =
    publicKeysIn(shown)[0] ?? publicKeysIn(own ?? '')[0] ?? blobOfPrivate(own ?? '');
  const special = specialKind(publicKey) ?? (certificate && CERTIFICATE);
  if (own === undefined) return { ...none, publicKey, note: special };
  const key = parsed(own);
  if (key instanceof Error) {
    const encrypted = /encrypted/i.test(key.message) && special !== SECURITY_KEY;
    return {
      ...none,
      publicKey,
      encrypted,
      note: special ?? (encrypted ? undefined : key.message),
    };
  }
  const privateKey = key.isPrivateKey() ? key : undefined;
  return { ...none, publicKey: key.getPublicSSH(), privateKey, note: special };
}

/** Opens an encrypted key file; undefined: the passphrase is wrong. */
export async function decrypted(path: string, passphrase: string): Promise<ParsedKey | undefined> {
  const key = parsed(await readFile(path, 'utf8'), passphrase);
  return key instanceof Error ? undefined : key;
}

/** Why a public key cannot be used here, if it cannot. */
export function specialKind(publicKey: Buffer | undefined): string | undefined {
  const type = publicKey === undefined ? '' : keyType(publicKey);
  if (type.includes('-cert-')) return CERTIFICATE;
  return type.startsWith('sk-') ? SECURITY_KEY : undefined;
}

const CERTIFICATE = 'an SSH certificate, which deployer cannot show';
const SECURITY_KEY = 'a FIDO security key, which deployer cannot use';

/** The public keys in a text, in SSH's wire format: a `.pub` file, or what `ssh-add -L` says. */
export const publicKeysIn = (text: string): readonly Buffer[] =>
  [...text.matchAll(/^(?:ssh|ecdsa|sk)-\S+ (AAAA\S+)/gm)].map(([, blob = '']) =>
    Buffer.from(blob, 'base64'),
  );

async function textOf(path: string): Promise<string | undefined | Error> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? undefined : (error as Error);
  }
}

function parsed(text: string, passphrase?: string): ParsedKey | Error {
  const key: ParsedKey | readonly ParsedKey[] | Error = ssh2.utils.parseKey(text, passphrase);
  return Array.isArray(key) ? (key[0] as ParsedKey) : (key as ParsedKey | Error);
}

/** OpenSSH's own format keeps the public half in the clear: magic, cipher, kdf, its options, a count, the key. */
function blobOfPrivate(text: string): Buffer | undefined {
  const [, body] = /-----BEGIN OPENSSH PRIVATE KEY-----([^-]*)-----END/.exec(text) ?? [];
  if (body === undefined) return undefined;
  const data = Buffer.from(body, 'base64');
  let at = 'openssh-key-v1\0'.length;
  const next = () => {
    const length = data.readUInt32BE(at);
    at += 4 + length;
    return data.subarray(at - length, at);
  };
  try {
    for (let word = 0; word < 3; word++) next();
    at += 4;
    return next();
  } catch {
    return undefined;
  }
}
