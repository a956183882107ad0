import { execFile } from 'node:child_process';
import ssh2, {
  type BaseAgent,
  type IdentityCallback,
  type ParsedKey,
  type SignCallback,
  type SigningRequestOptions,
} from 'ssh2';
import type { Destination } from './destination.ts';
import { type KeyFile, publicKeysIn, readKeyFile, specialKind } from './key-file.ts';

/** Opens an encrypted key file; a text: why not. */
export type OpenKey = (path: string) => Promise<ParsedKey | string>;

/** The keys that are offered to a host. */
export interface Identities {
  readonly agent: BaseAgent;
  /** For people: `key /home/ana/.ssh/id_ed25519`, in the order in which they are offered. */
  readonly offered: readonly string[];
  /** The private half of the one that is offered first, where it needs neither agent nor passphrase. */
  readonly open: ParsedKey | undefined;
  /** Why others are not, and what went wrong with these. */
  explain(): Promise<readonly string[]>;
}

/**
 * The keys of the agent and of the key files, in OpenSSH's order: what both have, what else the agent has (unless
 * IdentitiesOnly), the rest of the files. An encrypted file is opened only when the host accepts its key.
 */
export async function identitiesFor(
  { identityFiles, identitiesOnly, agent: socket }: Destination,
  openKey: OpenKey,
): Promise<Identities> {
  const notes: string[] = [];
  const files = (await Promise.all(identityFiles.map(readKeyFile))).filter((file) => !!file);
  for (const { path, note } of files) if (note) notes.push(`${path}: ${note}`);
  const agent = socket === undefined ? undefined : ssh2.createAgent(socket);
  const held = agent === undefined ? [] : await keysOf(agent, notes);

  const inAgent = (key: Buffer | undefined) =>
    held.find((each) => key !== undefined && each.getPublicSSH().equals(key));
  const both = files.flatMap(({ publicKey }) => inAgent(publicKey) ?? []);
  const others = identitiesOnly ? [] : held.filter((key) => !both.includes(key));
  const rest = files.filter(
    ({ publicKey, privateKey, encrypted }) =>
      (privateKey !== undefined || encrypted) && inAgent(publicKey) === undefined,
  );
  const keys: Key[] = [
    ...[...new Set([...both, ...others])].map((key) => agentKey(agent as BaseAgent, key)),
    ...(await Promise.all(rest.map((file) => fileKey(file, openKey, notes)))).flat(),
  ];
  return {
    agent: new Keys(keys),
    offered: keys.map(({ name }) => name),
    open: keys[0]?.open,
    explain: async () => [...new Set([...notes, ...(await specialKeys(socket))])],
  };
}

interface Key {
  readonly name: string;
  /** The private half, where it is at hand. */
  readonly open?: ParsedKey | undefined;
  readonly publicKey: ParsedKey;
  sign(data: Buffer, options: SigningRequestOptions): Promise<Buffer>;
}

/** All of them behind the interface of an agent. */
class Keys extends ssh2.BaseAgent<ParsedKey> {
  readonly #keys: readonly Key[];

  constructor(keys: readonly Key[]) {
    super();
    this.#keys = keys;
  }

  getIdentities(done: IdentityCallback<ParsedKey>): void {
    done(
      undefined,
      this.#keys.map(({ publicKey }) => publicKey),
    );
  }

  sign(
    publicKey: ParsedKey,
    data: Buffer,
    options: SigningRequestOptions | SignCallback,
    done?: SignCallback,
  ): void {
    const key = this.#keys.find((each) => each.publicKey.equals(publicKey)) as Key;
    const [how, then] = typeof options === 'function' ? [{}, options] : [options, done];
    key.sign(data, how).then(
      (signature) => then?.(undefined, signature),
      (error: Error) => then?.(error),
    );
  }
}

const agentKey = (agent: BaseAgent, key: ParsedKey): Key => ({
  name: `agent key ${key.comment || key.type}`,
  publicKey: key,
  sign: (data, options) =>
    new Promise((resolve, reject) =>
      agent.sign(key, data, options, (error, signature) =>
        error || signature === undefined ? reject(error) : resolve(signature),
      ),
    ),
});

async function fileKey(
  { path, publicKey, privateKey }: KeyFile,
  openKey: OpenKey,
  notes: string[],
): Promise<readonly Key[]> {
  const open = async () => {
    const key = privateKey ?? (await openKey(path));
    if (typeof key !== 'string') return key;
    notes.push(`${path}: ${key}`);
    return undefined;
  };
  const known = publicKey ? asKey(publicKey) : await open();
  if (known === undefined) return [];
  return [
    {
      name: `key ${path}`,
      publicKey: known,
      open: privateKey,
      sign: async (data, { hash }) => {
        const key = await open();
        if (key === undefined) throw new Error(`${path} is encrypted`);
        const signature: Buffer | Error = key.sign(data, hash);
        if (signature instanceof Error) throw signature;
        return signature;
      },
    },
  ];
}

function keysOf(agent: BaseAgent, notes: string[]): Promise<readonly ParsedKey[]> {
  return new Promise((resolve) =>
    agent.getIdentities((error, keys) => {
      if (error) notes.push(`the SSH agent does not answer: ${error.message}`);
      resolve((keys ?? []).flatMap((key) => asKey(key as ParsedKey | Buffer) ?? []));
    }),
  );
}

/** Undefined for what ssh2 does not know. */
function asKey(key: ParsedKey | Buffer): ParsedKey | undefined {
  const parsed: ParsedKey | Error | readonly ParsedKey[] = ssh2.utils.parseKey(key);
  if (parsed instanceof Error) return undefined;
  return Array.isArray(parsed) ? parsed[0] : (parsed as ParsedKey);
}

/** What the agent holds and ssh2 passes over. */
function specialKeys(socket: string | undefined): Promise<readonly string[]> {
  if (socket === undefined) return Promise.resolve([]);
  const options = { env: { ...process.env, SSH_AUTH_SOCK: socket }, timeout: 5000 };
  return new Promise((resolve) =>
    execFile('ssh-add', ['-L'], options, (_error, output) => {
      const kinds = publicKeysIn(output).flatMap((key) => specialKind(key) ?? []);
      resolve(kinds.map((kind) => `the SSH agent: ${kind}`));
    }),
  );
}
