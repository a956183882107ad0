import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { execa } from 'execa';
import { stringify } from 'yaml';
import type { Address } from '../../src/config/address.ts';
import { DeployError } from '../../src/errors.ts';
import { Hosts } from '../../src/runners/ssh/hosts.ts';
import { BIN, type Ran, SITE } from './lab.ts';

/** An account with an SSH configuration of its own, as far as `ssh` and we are concerned. */
export interface SshClient extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
  /** What `ssh HOST true` says. */
  ssh(host: string): Promise<Verdict>;
  /** What comes of our connection; the warnings come with it. */
  ours(host: string | Address, env?: Readonly<Record<string, string>>): Promise<Verdict>;
  /** What `deployer status` says of a site there; `inside`: a command that runs it in other surroundings. */
  status(
    host: string,
    env?: Readonly<Record<string, string>>,
    inside?: readonly string[],
  ): Promise<Verdict & Ran>;
}

export interface Verdict {
  readonly in: boolean;
  readonly said: string;
}

/**
 * `ssh` reads the configuration of the account, whatever HOME says; so this one is called with `-F`, in a folder whose
 * name needs no quoting: for a jump host, `ssh` calls itself without any.
 */
export async function sshClient(
  config: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<SshClient> {
  const folder = await mkdtemp(`${tmpdir()}/ssh-client-`);
  await writeFile(`${folder}/config`, config);
  await writeFile(`${folder}/ssh`, `#!/bin/sh\nexec /usr/bin/ssh -F ${folder}/config "$@"\n`);
  await chmod(`${folder}/ssh`, 0o755);
  const env = { PATH: `${folder}:${process.env.PATH}`, HOME: folder, ...variables };
  return {
    env,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    ssh: async (host) => {
      const options = { env, extendEnv: false, reject: false, stdin: 'ignore' } as const;
      const { exitCode, stderr } = await execa(
        'ssh',
        ['-o', 'BatchMode=yes', host, 'true'],
        options,
      );
      return { in: exitCode === 0, said: stderr };
    },
    ours: async (host, more = {}) => {
      const warnings: string[] = [];
      await using hosts = new Hosts({
        env: { ...env, ...more },
        terminal: undefined,
        cancel: new AbortController().signal,
      });
      try {
        const address =
          typeof host === 'string' ? { host, user: undefined, port: undefined } : host;
        const open = await hosts.host(address, false, (text) => warnings.push(text));
        const { ended, onOutput, onErrors } = await open.start(['true']);
        onOutput(() => {});
        onErrors(() => {});
        return { in: (await ended).how === 'exit', said: warnings.join('\n') };
      } catch (error) {
        if (!(error instanceof DeployError)) throw error;
        return { in: false, said: [...warnings, error.message, `to do: ${error.hint}`].join('\n') };
      }
    },
    status: async (host, more = {}, inside = []) => {
      const paths = { deploy_path: '/srv/nowhere', backup_path: '/srv/nowhere/backups' };
      const site = { repository: 'git@host:x', ...paths, host };
      await writeFile(`${folder}/sites.yml`, stringify({ [SITE]: site }));
      const [command = '', ...words] = [...inside, process.execPath, BIN, 'status', SITE];
      const { exitCode, stdout, stderr } = await execa(command, words, {
        cwd: folder,
        env: { ...env, ...more },
        extendEnv: false,
        reject: false,
        stdin: 'ignore',
      });
      return { exitCode, stdout, stderr, in: exitCode === 0, said: stdout + stderr };
    },
  };
}
