import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir, hostname, userInfo } from 'node:os';
import { resolve as absolute } from 'node:path';
import type { Address } from '../../config/address.ts';
import { DeployError } from '../../errors.ts';

/** Where a connection goes, and what the user's SSH configuration says about it. */
export interface Destination {
  /** As it was given: a name, or an alias of the SSH configuration. */
  readonly name: string;
  readonly host: string;
  readonly user: string;
  readonly port: number;
  /** `[USER@]HOST[:PORT]` each, the first one first; empty: reached directly. */
  readonly jumps: readonly string[];
  /** A shell command whose standard input and output lead there. */
  readonly proxyCommand: string | undefined;
  /** Absolute paths, whether they are there or not, in the order in which they are tried. */
  readonly identityFiles: readonly string[];
  /** Nothing of the agent is offered but these. */
  readonly identitiesOnly: boolean;
  /** Socket of the SSH agent. */
  readonly agent: string | undefined;
  /** Socket of the agent that the configuration forwards. */
  readonly forwards: string | undefined;
  /** Absolute paths; new keys go into the first. */
  readonly knownHosts: readonly string[];
  readonly globalKnownHosts: readonly string[];
  /** Absolute path of a file of keys that no host may show. */
  readonly revokedHostKeys: string | undefined;
  readonly hashKnownHosts: boolean;
  /** The name under which the host key is looked for, without a port. */
  readonly hostKeyAlias: string | undefined;
  /** What becomes of a key that nobody knows. A changed one is always refused. */
  readonly unknownKey: 'ask' | 'accept' | 'refuse';
  /** Seconds, for the connection and for each step of the login. */
  readonly timeout: number;
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * What `ssh` would do for this address, as `ssh -G` tells it; DEPLOYER_IDENTITY and DEPLOYER_KNOWN_HOSTS win. Where
 * OpenSSH is not installed: its defaults, and `warn` is told. Throws a DeployError where the configuration has a fault.
 */
export async function destinationOf(
  address: Address,
  env: Env,
  warn: (message: string) => void,
): Promise<Destination> {
  const settings = await sshSettings(address, env);
  if (settings === undefined) {
    warn(
      'ssh is not installed here: ~/.ssh/config is not read, only the default keys and known_hosts are',
    );
  }
  const said = settings ?? DEFAULTS;
  const one = (key: string) => said.get(key)?.[0];
  const host = one('hostname') ?? address.host;
  const user = address.user ?? one('user') ?? accountName();
  const port = address.port ?? Number(one('port') ?? 22);
  const fill = tokenFiller({ h: host, n: address.host, r: user, p: String(port) });
  const file = (path: string) => expanded(fill(path.replace(/^~(?=\/|$)/, homeFolder())), env);
  const revoked = one('revokedhostkeys');
  const identity = env.DEPLOYER_IDENTITY;
  const agent = agentSocket(one('identityagent'), env, file);
  const known = env.DEPLOYER_KNOWN_HOSTS;
  return {
    name: address.host,
    host: host.toLowerCase(),
    user,
    port,
    jumps: jumpsIn(one('proxyjump')),
    proxyCommand: commandIn(one('proxycommand'), fill),
    identityFiles: identity ? [absolute(identity)] : (said.get('identityfile') ?? []).map(file),
    identitiesOnly: identity ? true : one('identitiesonly') === 'yes',
    agent,
    forwards: forwardedSocket(one('forwardagent'), agent, env),
    knownHosts: known ? [absolute(known)] : filesIn(one('userknownhostsfile')).map(file),
    globalKnownHosts: filesIn(one('globalknownhostsfile')).map(file),
    revokedHostKeys: revoked === undefined || revoked === 'none' ? undefined : file(revoked),
    hashKnownHosts: one('hashknownhosts') === 'yes',
    hostKeyAlias: one('hostkeyalias')?.toLowerCase(),
    unknownKey: UNKNOWN_KEY[one('stricthostkeychecking') ?? ''] ?? 'ask',
    timeout: Number(one('connecttimeout')) || 20,
  };
}

/** `no` is not honoured: a connection to whoever answers is no deploy. */
const UNKNOWN_KEY: Readonly<Record<string, Destination['unknownKey']>> = {
  'accept-new': 'accept',
  true: 'refuse',
  yes: 'refuse',
};

type Settings = ReadonlyMap<string, readonly string[]>;

const DEFAULTS: Settings = new Map([
  ['identityfile', ['id_rsa', 'id_ecdsa', 'id_ed25519'].map((name) => `~/.ssh/${name}`)],
  ['userknownhostsfile', ['~/.ssh/known_hosts ~/.ssh/known_hosts2']],
  ['globalknownhostsfile', ['/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2']],
]);

/** Undefined: there is no `ssh` here. */
async function sshSettings({ host, user, port }: Address, env: Env): Promise<Settings | undefined> {
  const words = [
    '-G',
    ...(user === undefined ? [] : ['-l', user]),
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...['--', host],
  ];
  const output = await new Promise<string | undefined>((resolve, reject) => {
    const child = execFile(
      'ssh',
      words,
      { env: withoutSecrets(env), timeout: 20_000 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else if (error.code === 'ENOENT') resolve(undefined);
        else reject(faultIn(host, stderr.trim() || error.message));
      },
    );
    child.stdin?.end();
  });
  if (output === undefined) return undefined;
  const settings = new Map<string, string[]>();
  for (const line of output.split('\n')) {
    const [, key, value] = /^(\S+) (.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined)
      settings.set(key, [...(settings.get(key) ?? []), value]);
  }
  return settings;
}

/** The environment of a command that the SSH configuration names: a ProxyCommand, or one of `Match exec`. */
export function withoutSecrets(env: Env): NodeJS.ProcessEnv {
  const { DEPLOYER_PASSWORD: _password, DEPLOYER_PASSPHRASE: _passphrase, ...rest } = env;
  return rest;
}

const faultIn = (host: string, said: string): DeployError =>
  new DeployError('unreachable', `ssh cannot read its configuration for ${host}: ${said}`, {
    hint: `mend it until "ssh -G ${host}" says nothing on stderr`,
  });

const commandIn = (text = 'none', fill: (text: string) => string): string | undefined =>
  text === 'none' ? undefined : fill(text);

const jumpsIn = (text = 'none'): readonly string[] => (text === 'none' ? [] : text.split(','));

/** Takes `[USER@]HOST[:PORT]` of a ProxyJump apart; a host of digits stands in brackets there. */
export function jumpAddress(text: string): Address {
  const [, user, numeric, name, port] =
    /^(?:ssh:\/\/)?(?:(.*)@)?(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?\/?$/.exec(text) ?? [];
  const host = numeric ?? name;
  if (host === undefined || host.startsWith('-'))
    throw new DeployError('unreachable', `ProxyJump ${text} is no host`);
  return { host, user, port: port === undefined ? undefined : Number(port) };
}

function agentSocket(said: string | undefined, env: Env, file: (path: string) => string) {
  if (said === 'none') return undefined;
  if (said === undefined || said === 'SSH_AUTH_SOCK') return env.SSH_AUTH_SOCK || undefined;
  return said.startsWith('$') && !said.startsWith('${') ? env[said.slice(1)] : file(said);
}

/** `yes`, `no`, a path, or the `$NAME` of a variable that holds one. */
function forwardedSocket(said: string | undefined, agent: string | undefined, env: Env) {
  if (said === undefined || said === 'no') return undefined;
  if (said === 'yes') return agent;
  return said.startsWith('$') ? env[said.slice(1)] || undefined : said;
}

/** `ssh -G` parts the files by spaces, and does not quote those within a name. */
function filesIn(text = ''): readonly string[] {
  if (text === 'none') return [];
  const words = text.split(' ');
  const files: string[] = [];
  for (let at = 0; at < words.length; ) {
    const ends = words.map((_, index) => words.length - index).filter((end) => end > at);
    const end = ends.find((each) => existsSync(words.slice(at, each).join(' '))) ?? at + 1;
    files.push(words.slice(at, end).join(' '));
    at = end;
  }
  return files;
}

/** Expands the tokens of ssh_config(5). */
function tokenFiller(tokens: Readonly<Record<string, string>>): (text: string) => string {
  const known: Readonly<Record<string, string>> = {
    '%': '%',
    d: homeFolder(),
    i: String(process.getuid?.() ?? ''),
    l: hostname(),
    L: hostname().split('.')[0] ?? '',
    u: accountName(),
    ...tokens,
  };
  return (text) => text.replace(/%(.)/g, (whole, letter: string) => known[letter] ?? whole);
}

const expanded = (path: string, env: Env): string =>
  path.replace(/\$\{(\w+)\}/g, (whole, name: string) => env[name] ?? whole);

const accountName = (): string => account()?.username ?? 'root';

/** As OpenSSH has it: that of the account, whatever HOME says. */
const homeFolder = (): string => account()?.homedir ?? homedir();

/** Undefined: a uid without an account, as in a container. */
function account() {
  try {
    return userInfo();
  } catch {
    return undefined;
  }
}
