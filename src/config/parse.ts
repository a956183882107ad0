import { DeployError } from '../errors.ts';
import { type Located, offsetAt, plain, readYaml, type YamlText } from './document.ts';
import { type Fault, faultsOf, unknownKey } from './faults.ts';
import { siteName } from './formats.ts';
import { faultsBetweenKeys, faultsBetweenSites, type Placed, placed } from './rules.ts';
import { IGNORED_KEY, KEYS, type Key, keyHelp, type Settings, siteSchema } from './schema.ts';
import { writtenOut } from './short-form.ts';
import type { Site } from './site.ts';
import { siteOf } from './site-of.ts';

export interface ParseOptions {
  /** A site with `runner: ssh` may name no host: the command line gives one. */
  readonly hostless?: boolean;
}

/**
 * Reads the text of sites.yml. Throws one DeployError('config') that lists everything that is wrong with it, each as
 * `FILE:LINE:COLUMN SITE.KEY: what is wrong`, in the order of the text.
 */
export function parseSites(
  text: string,
  file: string,
  options: ParseOptions = {},
): readonly Site[] {
  const { sites, faults } = readSitesText(text, options);
  if (faults.length > 0) throw faultsError(faults, file);
  if (sites.length > 0) return sites;
  throw new DeployError('config', `${file} names no site`, {
    hint: 'add one: deployer siteadd DOMAIN REPOSITORY',
  });
}

/** Something wrong in the text, and where. */
export interface PlacedFault {
  readonly line: number;
  readonly column: number;
  /** The site, the key and what is below it; empty: the text as a whole. */
  readonly path: readonly string[];
  readonly message: string;
}

export interface SitesText {
  /** The names of all sites, also of those with faults. */
  readonly names: readonly string[];
  /** The sites without faults. */
  readonly sites: readonly Site[];
  /** In the order of the text. */
  readonly faults: readonly PlacedFault[];
  readonly yaml: YamlText;
}

/** Reads the text as far as it goes, with its faults beside it. Never throws. */
export function readSitesText(text: string, options: ParseOptions = {}): SitesText {
  const yaml = readYaml(text, (key) => IGNORED_KEY.test(key));
  const faults: (Fault & { readonly offset: number })[] = [...yaml.faults];
  const entries = entriesOf(yaml, faults);
  const sites: Site[] = [];
  const places: Placed[] = [];

  for (const [name, located] of entries) {
    const read = readSite(name, located, options);
    for (const fault of read.faults) {
      const path = [name, ...fault.path];
      if (yaml.faults.some((known) => isPrefix(known.path, path))) continue;
      faults.push({ ...fault, path, offset: offsetAt(located, fault.path) });
    }
    if (read.site !== undefined) sites.push(read.site);
    if (read.place !== undefined) places.push(read.place);
  }
  for (const { site, path, message } of faultsBetweenSites(places)) {
    const offset = offsetAt(entries.get(site) as Located, path);
    faults.push({ path: [site, ...path], message, offset });
  }
  const inOrder = faults.sort((a, b) => a.offset - b.offset);
  return {
    names: [...entries.keys()],
    sites,
    faults: inOrder.map(({ path, message, offset }) => ({
      path,
      message,
      ...yaml.position(offset),
    })),
    yaml,
  };
}

/** All that is wrong with a file, as one error. */
export function faultsError(faults: readonly PlacedFault[], file: string): DeployError {
  const list = faults.map(
    ({ line, column, path, message }) =>
      `${file}:${line}:${column}${path.length === 0 ? '' : ` ${path.join('.')}`}: ${message}`,
  );
  const count = faults.length === 1 ? '1 error' : `${faults.length} errors`;
  return new DeployError('config', `${count} in ${file}; nothing was done\n${list.join('\n')}`, {
    hint: `mend ${file}; sites-dist.yml shows every key`,
  });
}

function entriesOf(
  { root }: YamlText,
  faults: (Fault & { readonly offset: number })[],
): ReadonlyMap<string, Located> {
  if (root?.kind === 'map') return root.entries;
  const nothing = root === undefined || (root.kind === 'scalar' && root.value === null);
  if (!nothing) {
    const message = 'must be a map of sites, each as DOMAIN: followed by its keys';
    faults.push({ path: [], message, offset: root.offset });
  }
  return new Map();
}

interface ReadSite {
  readonly faults: readonly Fault[];
  /** Where nothing is wrong. */
  readonly site?: Site;
  /** Where what tells it is good. */
  readonly place?: Placed | undefined;
}

function readSite(name: string, located: Located, options: ParseOptions): ReadSite {
  const wrongName = siteName(name);
  const nameFaults = wrongName === undefined ? [] : [{ path: [], message: wrongName }];
  const values = valuesOf(name, located);
  if (values === undefined) {
    const message = 'must be a map of keys, or a repository alone';
    return { faults: [...nameFaults, { path: [], message }] };
  }
  const unknown = [...values.keys()].filter((key) => !(key in siteSchema.shape));
  const { sound, faults: wrong } = readValues(name, values);
  const given = new Set([...values.keys()] as Key[]);
  const hostless = options.hostless ?? false;
  const faults = [
    ...nameFaults,
    ...unknown.map((key) => unknownKey([], key, KEYS)),
    ...wrong,
    ...faultsBetweenKeys(sound, given, { hostless }),
  ];
  const site = faults.length === 0 ? siteOf(name, sound as Settings) : undefined;
  const blurred = wrong.some(({ path }) => ['runner', 'host', 'port'].includes(path[0] ?? ''));
  return { faults, ...(site && { site }), place: blurred ? undefined : placed(name, sound) };
}

/** What is given for a site, by key; undefined: neither a map nor a repository. */
function valuesOf(name: string, located: Located): ReadonlyMap<string, unknown> | undefined {
  if (located.kind === 'map') {
    return new Map(
      [...located.entries].map(([key, value]) => [key, plain(value, isAsWritten(key))]),
    );
  }
  if (located.kind === 'list' || typeof located.value !== 'string') return undefined;
  return new Map(Object.entries(writtenOut(name, located.value)));
}

function isAsWritten(key: string): boolean {
  const schema = siteSchema.shape[key as Key];
  return schema !== undefined && keyHelp.get(schema)?.asWritten === true;
}

/** Each key by itself, so that one that is wrong hides no other. */
function readValues(name: string, values: ReadonlyMap<string, unknown>) {
  const sound: Record<string, unknown> = {};
  const faults: Fault[] = [];
  for (const key of KEYS) {
    const schema = siteSchema.shape[key];
    const value = values.get(key);
    const read = schema.safeParse(value);
    if (read.success) sound[key] = read.data;
    else if (values.has(key)) faults.push(...faultsOf(key, schema, value));
    else
      faults.push({
        path: [key],
        message: `is missing; add the line: ${lineToAdd(key, name, values)}`,
      });
  }
  return { sound: sound as Partial<Settings>, faults };
}

function lineToAdd(key: Key, name: string, values: ReadonlyMap<string, unknown>): string {
  const deployPath = values.get('deploy_path');
  const lines = writtenOut(
    name,
    'git@github.com:OWNER/PROJECT.git',
    typeof deployPath === 'string' && deployPath.startsWith('/') ? deployPath : undefined,
  );
  const hint =
    key === 'repository' && !name.includes('.')
      ? ` (or, if ${name} is no site but holds anchors, name it x-${name})`
      : '';
  return `${key}: ${lines[key as keyof typeof lines]}${hint}`;
}

const isPrefix = (prefix: readonly string[], path: readonly string[]): boolean =>
  prefix.length > 0 && prefix.every((part, index) => part === path[index]);
