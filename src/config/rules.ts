import type { Fault } from './faults.ts';
import { OURS } from './formats.ts';
import type { Key, Settings } from './schema.ts';
import type { Site } from './site.ts';
import { targetOf } from './site-of.ts';

/**
 * What is wrong between the keys of one site. `sound` holds the keys whose values are good; `given` the keys that stand
 * in the text. `hostless`: a site may be for SSH and name no host.
 */
export function faultsBetweenKeys(
  sound: Partial<Settings>,
  given: ReadonlySet<Key>,
  { hostless }: { readonly hostless: boolean },
): readonly Fault[] {
  return [...targetFaults(sound, given, hostless), ...pathFaults(sound), ...backupFaults(sound)];
}

function targetFaults(
  sound: Partial<Settings>,
  given: ReadonlySet<Key>,
  hostless: boolean,
): readonly Fault[] {
  if (given.has('runner') && sound.runner === undefined) return [];
  const runner = sound.runner ?? (given.has('host') ? 'ssh' : 'local');
  const faults: Fault[] = [];
  const fault = (key: Key, message: string) => faults.push({ path: [key], message });

  if (runner === 'ssh' && !given.has('host') && !hostless) {
    fault('host', 'is missing for runner: ssh; add the line: host: HOST (or give it with -H)');
  }
  if (runner === 'local' && given.has('host')) {
    fault('host', 'stands beside runner: local; remove one of the two, or say runner: ssh');
  }
  for (const key of ['user', 'port'] as const) {
    if (!given.has(key)) continue;
    if (runner !== 'ssh' && !given.has('host')) {
      fault(
        key,
        `is for a host, and there is none${runner === 'docker' && key === 'user' ? '; did you mean docker_user?' : ''}`,
      );
    } else if (sound.host?.[key] !== undefined) {
      fault(key, `is named in host too: remove one of the two`);
    }
  }
  if (runner === 'docker' && !given.has('docker_container')) {
    fault(
      'docker_container',
      'is missing for runner: docker; add the line: docker_container: NAME',
    );
  }
  for (const key of ['docker_container', 'docker_user'] as const) {
    if (runner !== 'docker' && given.has(key)) {
      fault(
        key,
        `is for containers, and the runner is ${runner}: add runner: docker, or remove it`,
      );
    }
  }
  return faults;
}

interface Place {
  readonly path: readonly string[];
  readonly value: string;
}

/** Entries that would be in each other's way, or in the way of what is ours in a release. */
function pathFaults(sound: Partial<Settings>): readonly Fault[] {
  const places = (key: 'shared_files' | 'shared_dirs' | 'writable_dirs'): readonly Place[] =>
    (sound[key] ?? []).map((value, index) => ({ path: [key, String(index)], value }));
  const shared = [...places('shared_files'), ...places('shared_dirs')];
  const writable = places('writable_dirs');
  const ours = [...OURS, sound.venv ?? '.venv'];
  const faults: Fault[] = [];

  for (const { path, value } of [...shared, ...writable]) {
    const mine = ours.find((name) => isWithin(value, name));
    if (mine !== undefined) {
      faults.push({ path, message: `lies in ${mine}, which deployer makes in every release` });
    }
  }
  shared.forEach(({ path, value }, index) => {
    const other = shared.slice(0, index).find((each) => overlap(value, each.value));
    if (other !== undefined) faults.push({ path, message: `${value} overlaps ${nameOf(other)}` });
  });
  writable.forEach(({ path, value }, index) => {
    const same = writable.slice(0, index).find((each) => each.value === value);
    const file = places('shared_files').find((each) => isWithin(value, each.value));
    const other = same ?? file;
    if (other !== undefined) faults.push({ path, message: `${value} overlaps ${nameOf(other)}` });
  });
  return faults;
}

const nameOf = ({ path, value }: Place): string => `${value} of ${path[0]}`;

function backupFaults({
  deploy_path: deploy,
  backup_path: backup,
}: Partial<Settings>): readonly Fault[] {
  if (deploy === undefined || backup === undefined) return [];
  const mine = keptFolders(deploy).find((folder) => isWithin(backup, folder));
  return mine === undefined
    ? []
    : [
        {
          path: ['backup_path'],
          message: `lies in ${mine}, where old releases are removed; use ${deploy}/backups`,
        },
      ];
}

const keptFolders = (deploy: string): readonly string[] =>
  ['releases', 'current', '.deployer'].map((name) => `${deploy}/${name}`);

/** As much of a site as tells whether it is in the way of another. */
export type Placed = Pick<
  Site,
  'name' | 'runner' | 'host' | 'port' | 'dockerContainer' | 'deployPath' | 'backupPath'
>;

/** The place of a site of which the keys that tell it are good. */
export function placed(name: string, sound: Partial<Settings>): Placed | undefined {
  const { deploy_path: deployPath, backup_path: backupPath = '' } = sound;
  if (deployPath === undefined) return undefined;
  return { name, deployPath, backupPath, ...targetOf(sound as Settings) };
}

export interface SiteFault extends Fault {
  readonly site: string;
}

/** Sites that would overwrite each other: equal or nested folders on one target. The later one of two is at fault. */
export function faultsBetweenSites(sites: readonly Placed[]): readonly SiteFault[] {
  return sites.flatMap((site, index) =>
    sites.slice(0, index).flatMap((other): readonly SiteFault[] => {
      if (machine(site) !== machine(other)) return [];
      const message = clash(site, other);
      const fault = (key: string, text: string) => ({
        site: site.name,
        path: [key],
        message: text,
      });
      if (message !== undefined) return [fault('deploy_path', message)];
      return [
        ...backupClash(site, other).map((text) => fault('backup_path', text)),
        ...backupClash(other, site).map((text) =>
          fault('deploy_path', `${text} (backup_path of ${other.name})`),
        ),
      ];
    }),
  );
}

function clash(
  { deployPath: mine }: Placed,
  { deployPath: its, name }: Placed,
): string | undefined {
  if (mine === its) return `${mine} is the deploy_path of ${name} too`;
  if (isWithin(mine, its)) return `${mine} lies inside ${its}, the deploy_path of ${name}`;
  return isWithin(its, mine) ? `${mine} holds ${its}, the deploy_path of ${name}` : undefined;
}

function backupClash({ backupPath }: Placed, { deployPath, name }: Placed): readonly string[] {
  const folder = keptFolders(deployPath).find((each) => isWithin(backupPath, each));
  return folder === undefined
    ? []
    : [`${backupPath} lies in ${folder}, where the old releases of ${name} are removed`];
}

/** Equal for sites that are deployed to the same file system, as far as names tell. */
function machine({ runner, host, port, dockerContainer }: Placed): string {
  const address = host === undefined ? '' : `${host.toLowerCase()}:${port ?? 22}`;
  return runner === 'docker' ? `${dockerContainer}@${address}` : `${runner}@${address}`;
}

const isWithin = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(`${folder}/`);

const overlap = (one: string, other: string): boolean =>
  isWithin(one, other) || isWithin(other, one);
