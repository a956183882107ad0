import { addressText } from '../config/address.ts';
import type { Site } from '../config/site.ts';
import { DeployError } from '../errors.ts';
import type { DockerEngine } from './docker/container.ts';
import { localRunner } from './local.ts';
import type { Runner } from './runner.ts';
import type { Host } from './ssh/host.ts';
import type { Hosts, SshOptions, Warn } from './ssh/hosts.ts';

/** The ways to the targets of one run; the sites of a host share one connection, which ends with the run. */
export interface Connections extends AsyncDisposable {
  /** Throws a DeployError where there is no way: nothing falls back to this machine. */
  to(site: Site, warn: (message: string) => void): Promise<Runner>;
}

export function openConnections(options: SshOptions): Connections {
  let hosts: Promise<Hosts> | undefined;
  const engines = new Map<Host | undefined, DockerEngine>();
  const hostOf = async ({ host, user, port, runner, forwardAgent }: Site, warn: Warn) => {
    if (host === undefined) throw new DeployError('config', 'runner: ssh needs a host');
    hosts ??= import('./ssh/hosts.ts').then((ssh) => new ssh.Hosts(options));
    return (await hosts).host({ host, user, port }, forwardAgent && runner === 'ssh', warn);
  };
  const engineOf = async (site: Site, warn: Warn): Promise<DockerEngine> => {
    if (site.forwardAgent)
      warn(
        'forward_agent: the SSH agent does not reach into a container; give it a key of its own',
      );
    const host = site.host === undefined ? undefined : await hostOf(site, warn);
    const [{ DockerEngine }, { localEndpoint }, { remoteEndpoint }] = await Promise.all([
      import('./docker/container.ts'),
      import('./docker/endpoint.ts'),
      import('./docker/remote.ts'),
    ]);
    const there = host ? remoteEndpoint(host) : localEndpoint(options.env);
    const engine = engines.get(host) ?? new DockerEngine(there, options.cancel);
    engines.set(host, engine);
    return engine;
  };
  const starter = async (site: Site, warn: Warn): Promise<Runner['start']> => {
    if (site.runner === 'docker') {
      const engine = await engineOf(site, warn);
      const place = { container: site.dockerContainer as string, user: site.dockerUser };
      return (argv) => engine.start(place, argv);
    }
    const host = await hostOf(site, warn);
    return (argv) => host.start(argv);
  };
  return {
    to: async (site, warn) => {
      if (site.runner === 'local') return localRunner();
      const start = await starter(site, warn);
      return { target: targetOf(site), start, [Symbol.asyncDispose]: async () => {} };
    },
    [Symbol.asyncDispose]: async () => {
      for (const engine of engines.values()) await engine[Symbol.asyncDispose]();
      await (await hosts)?.[Symbol.asyncDispose]();
    },
  };
}

/** A site's target for people: `local`, `ssh deployer@web1:22`, `docker shop on web1`. */
export function targetOf(
  site: Pick<Site, 'runner' | 'host' | 'user' | 'port' | 'dockerContainer'>,
): string {
  const { runner, host, user, port, dockerContainer } = site;
  const address = host && addressText({ host, user, port });
  if (runner === 'docker') return `docker ${dockerContainer}${address ? ` on ${address}` : ''}`;
  return runner === 'ssh' ? `ssh ${address}` : 'local';
}
