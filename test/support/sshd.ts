import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { freePort } from './lab.ts';
import { AM_ROOT } from './user-world.ts';

/** A real sshd on a loopback port. It lets in whom `authorized` names, as any account of this machine (as root), or as this one. */
export interface Sshd extends AsyncDisposable {
  readonly port: number;
  /** Its public host key, as in known_hosts: `ssh-ed25519 AAAA…`. */
  readonly hostKey: string;
  /** A known_hosts line for it. */
  readonly knownHosts: string;
  /** Its log. */
  log(): string;
  /** Ends it and every connection of it. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface SshdOptions {
  /** Public keys, one a line. */
  readonly authorized?: string;
  /** Type of the host key. */
  readonly keyType?: 'ed25519' | 'ecdsa' | 'rsa';
  /** More lines of sshd_config; the first word counts, so that they win. */
  readonly config?: readonly string[];
  /** A command that gives the server other surroundings, and becomes what its last words are. */
  readonly inside?: readonly string[];
}

let count = 0;

/** Starts one in a folder of its own below `root`, which every account must be able to enter. */
export async function sshd(root: string, options: SshdOptions = {}): Promise<Sshd> {
  const { authorized = '', keyType = 'ed25519', config = [], inside = [] } = options;
  const folder = `${root}/sshd-${++count}`;
  await mkdir(folder);
  await chmod(folder, 0o755);
  if (AM_ROOT) await mkdir('/run/sshd', { recursive: true });
  const keyFile = await makeKey(`${folder}/host_key`, { type: keyType });
  await writeFile(`${folder}/authorized_keys`, `${authorized}\n`, { mode: 0o644 });
  const port = await freePort();
  await writeFile(
    `${folder}/config`,
    [
      ...config,
      `ListenAddress 127.0.0.1`,
      `Port ${port}`,
      `HostKey "${keyFile}"`,
      `AuthorizedKeysFile "${folder}/authorized_keys"`,
      'PidFile none',
      'UsePAM no',
      'StrictModes no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin prohibit-password',
      'MaxStartups 100',
      'LogLevel VERBOSE',
      '',
    ].join('\n'),
  );
  const words = [...inside, '/usr/sbin/sshd', '-D', '-e', '-f', `${folder}/config`];
  const server = spawn(words[0] as string, words.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  await new Promise<void>((resolve, reject) => {
    server.stderr.on('data', (data) => {
      log += data;
      if (log.includes('Server listening on')) resolve();
    });
    server.once('error', reject);
    server.once('close', () => reject(new Error(`sshd did not start:\n${log}`)));
  });
  const hostKey = await publicKey(keyFile);
  return {
    port,
    hostKey,
    knownHosts: `[127.0.0.1]:${port} ${hostKey}\n`,
    log: () => log,
    [Symbol.asyncDispose]: () => stopped(server),
  };
}

export interface KeyOptions {
  readonly type?: 'ed25519' | 'ecdsa' | 'rsa';
  readonly passphrase?: string;
  readonly comment?: string;
}

/** Makes a key pair; resolves to the path of the private half. */
export async function makeKey(path: string, options: KeyOptions = {}): Promise<string> {
  const { type = 'ed25519', passphrase = '', comment = 'test' } = options;
  await execa('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', comment, '-f', path]);
  return path;
}

/** `ssh-ed25519 AAAA…`, without the comment. */
export async function publicKey(path: string): Promise<string> {
  return (await readFile(`${path}.pub`, 'utf8')).split(' ').slice(0, 2).join(' ');
}

/** With its children, one for each connection, which would go on without it. */
async function stopped(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = new Promise((resolve) => server.once('close', resolve));
  const children = await readFile(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8');
  for (const pid of children.split(' ').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGTERM');
    } catch {
      // it has just ended by itself
    }
  }
  server.kill('SIGTERM');
  await ended;
}
