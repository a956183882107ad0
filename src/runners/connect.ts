import type { Site } from '../config/site.ts';
import { DeployError } from '../errors.ts';
import { localRunner } from './local.ts';
import type { Runner } from './runner.ts';
import type { Hosts, SshOptions } from './ssh/hosts.ts';

/** The ways to the targets of one run; the sites of a host share one connection, which ends with the run. */
export interface Connections extends AsyncDisposable {
  /** Throws a DeployError where there is no way: nothing falls back to this machine. */
  to(site: Site, warn: (message: string) => void): Promise<Runner>;
}

export function openConnections(options: SshOptions): Connections {
  let hosts: Promise<Hosts> | undefined;
  const sshRunner = async (
    { host, user, port, forwardAgent }: Site,
    target: string,
    warn: (message: string) => void,
  ): Promise<Runner> => {
    if (host === undefined) throw new DeployError('config', 'runner: ssh needs a host');
    hosts ??= import('./ssh/hosts.ts').then((ssh) => new ssh.Hosts(options));
    const connection = await (await hosts).host({ host, user, port }, forwardAgent, warn);
    return {
      target,
      start: (argv) => connection.start(argv),
      [Symbol.asyncDispose]: async () => {},
    };
  };
  return {
    to: async (site, warn) => {
      if (site.runner === 'local') return localRunner();
      if (site.runner === 'ssh') return sshRunner(site, targetOf(site), warn);
      throw new DeployError('unsupported', `${targetOf(site)} cannot be deployed to yet`, {
        hint: 'this version deploys to this machine and over SSH: runner: local or ssh',
      });
    },
    [Symbol.asyncDispose]: async () => {
      await (await hosts)?.[Symbol.asyncDispose]();
    },
  };
}

/** A site's target for people: `local`, `ssh deployer@web1:22`, `docker shop on web1`. */
export function targetOf(
  site: Pick<Site, 'runner' | 'host' | 'user' | 'port' | 'dockerContainer'>,
): string {
  const { runner, host, user, port, dockerContainer } = site;
  const address = host && `${user ? `${user}@` : ''}${host}${port ? `:${port}` : ''}`;
  if (runner === 'docker') return `docker ${dockerContainer}${address ? ` on ${address}` : ''}`;
  return runner === 'ssh' ? `ssh ${address}` : 'local';
}
