import { DeployError } from '../errors.ts';
import { type Address, readAddress, readPort } from './address.ts';
import { userName } from './formats.ts';
import { faultsBetweenSites } from './rules.ts';
import type { Site } from './site.ts';

/** Another connection than the one that sites.yml gives. */
export type Override =
  /** Replaces the whole connection. */
  | Address
  /** Changes the connection of sites that have a host. */
  | {
      readonly host: undefined;
      readonly user: string | undefined;
      readonly port: number | undefined;
    };

/**
 * The override that `-H` gives, else DEPLOYER_HOST, DEPLOYER_USER and DEPLOYER_PORT; undefined: none. Throws a
 * DeployError('usage') for a value that is no host, user or port.
 */
export function readOverride(
  env: Readonly<Record<string, string | undefined>>,
  flag: string | undefined,
): Override | undefined {
  if (flag !== undefined) return addressIn('-H', flag);
  const { DEPLOYER_HOST: host, DEPLOYER_USER: user, DEPLOYER_PORT: port } = env;
  if (host === undefined && user === undefined && port === undefined) return undefined;
  if (user !== undefined && userName(user) !== undefined)
    throw refused('DEPLOYER_USER', userName(user));
  const number = port === undefined ? undefined : readPort(port);
  if (typeof number === 'string') throw refused('DEPLOYER_PORT', number);
  if (host === undefined) return { host, user, port: number };
  const address = addressIn('DEPLOYER_HOST', host);
  return {
    host: address.host,
    user: agreed('DEPLOYER_USER', address.user, user),
    port: agreed('DEPLOYER_PORT', address.port, number),
  };
}

/**
 * The sites as the override has them: a local one goes over SSH to the host, a Docker one into its container there.
 * Give it the selected sites only: it throws a DeployError('config') where two of them would then lie in one folder, or
 * one has no host still.
 */
export function applyOverride(
  sites: readonly Site[],
  override: Override | undefined,
): readonly Site[] {
  const changed = sites.map((site) => overridden(site, override));
  const faults = [
    ...changed
      .filter(({ runner, host }) => runner === 'ssh' && host === undefined)
      .map(({ name }) => `${name}.host: is missing for runner: ssh; add it, or give it with -H`),
    ...(override === undefined
      ? []
      : faultsBetweenSites(changed).map(
          ({ site, path, message }) => `${[site, ...path].join('.')}: ${message}`,
        )),
  ];
  if (faults.length === 0) return changed;
  throw new DeployError('config', `these sites cannot be deployed so\n${faults.join('\n')}`, {
    hint: 'deploy them one by one, or change what -H and DEPLOYER_HOST say',
  });
}

/** One site as the override has it; nothing is refused. */
export function overridden(site: Site, override: Override | undefined): Site {
  if (override === undefined) return site;
  if (override.host !== undefined) {
    return { ...site, ...override, runner: site.runner === 'docker' ? 'docker' : 'ssh' };
  }
  if (site.host === undefined) return site;
  return { ...site, user: override.user ?? site.user, port: override.port ?? site.port };
}

function addressIn(source: string, text: string): Address {
  const address = readAddress(text);
  if (typeof address === 'string') throw refused(source, address);
  return address;
}

function agreed<Value>(source: string, named: Value | undefined, own: Value | undefined) {
  if (named === undefined || own === undefined || named === own) return named ?? own;
  throw refused(source, `${own} contradicts ${named} of DEPLOYER_HOST`);
}

const refused = (source: string, wrong: string | undefined): DeployError =>
  new DeployError('usage', `${source}: ${wrong}`, { hint: `give another value, or unset it` });
