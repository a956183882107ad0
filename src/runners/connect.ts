import type { Site } from '../config/site.ts';
import { DeployError } from '../errors.ts';
import { localRunner } from './local.ts';
import type { Runner } from './runner.ts';

/** The way to a site's target. Throws a DeployError where there is none: nothing falls back to this machine. */
export async function connect(site: Site): Promise<Runner> {
  if (site.runner === 'local') return localRunner();
  throw new DeployError('unsupported', `${targetOf(site)} cannot be deployed to yet`, {
    hint: 'this version deploys to this machine only: runner: local, and no host',
  });
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
