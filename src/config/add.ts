import { stringify } from 'yaml';
import { DeployError } from '../errors.ts';
import { plain } from './document.ts';
import { faultsError, type PlacedFault, readSitesText, type SitesText } from './parse.ts';
import { IGNORED_KEY, KEYS } from './schema.ts';
import { writtenOut } from './short-form.ts';

export { readValue } from './document.ts';

export interface NewSite {
  readonly domain: string;
  readonly repository: string;
  /** Other keys as they may stand in sites.yml, by name. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** What is written for a new site, in the order of the keys: what was given, and what a deploy cannot do without. */
export function entryOf({
  domain,
  repository,
  settings,
}: NewSite): Readonly<Record<string, unknown>> {
  const deployPath = settings.deploy_path;
  const path = typeof deployPath === 'string' ? deployPath : undefined;
  const all: Record<string, unknown> = { ...writtenOut(domain, repository, path), ...settings };
  return Object.fromEntries(KEYS.filter((key) => key in all).map((key) => [key, all[key]]));
}

/**
 * The text of sites.yml with one site more, after all that is there, which stays as it is byte for byte. Throws a
 * DeployError: 'usage' where the site is there already or its values are wrong, 'config' where the text cannot be
 * added to.
 */
export function addSite(text: string | undefined, site: NewSite, file = 'sites.yml'): string {
  const { domain } = site;
  const old = readSitesText(text ?? '', { hostless: true });
  if (old.faults.length > 0) throw faultsError(old.faults, file);
  if (old.names.includes(domain)) {
    throw new DeployError('usage', `${domain} is in ${file} already`, {
      hint: `change it there; siteadd overwrites nothing`,
    });
  }
  if (IGNORED_KEY.test(domain)) {
    throw new DeployError('usage', `${domain} is no name of a site: x-… holds anchors`);
  }
  const { indent } = old.yaml;
  if (indent === undefined) {
    throw new DeployError(
      'config',
      `${file} is not written in lines that another site can be added to`,
      {
        hint: `write it as a block, each site as DOMAIN: with its keys indented below`,
      },
    );
  }
  const lines = indented(stringify({ [domain]: entryOf(site) }, { lineWidth: 0 }), indent);
  const added = appended(text ?? '', lines);
  refuseFaults(readSitesText(added, { hostless: true }), old, site, file);
  return added;
}

const indented = (lines: string, indent: number): string =>
  indent === 0 ? lines : lines.replace(/^(?=.)/gm, ' '.repeat(indent));

/** The lines at the end of the document, which `...` may mark, with the line endings of the text. */
function appended(text: string, lines: string): string {
  const end = /^\.\.\.(?=\s|$)/m.exec(text)?.index ?? text.length;
  const before = text.slice(0, end);
  const newline = before.includes('\r\n') ? '\r\n' : '\n';
  const ended = before === '' || before.endsWith('\n') ? '' : newline;
  const blank = before.trim() === '' ? '' : newline;
  return `${before}${ended}${blank}${lines.replaceAll('\n', newline)}${text.slice(end)}`;
}

function refuseFaults(now: SitesText, old: SitesText, { domain }: NewSite, file: string): void {
  const same = contentOf(now, old.names) === contentOf(old, old.names);
  if (!same || !now.names.includes(domain) || now.faults.some(({ path }) => path[0] !== domain)) {
    throw new DeployError('config', `${file} ends in a way that nothing can be added after it`, {
      hint: 'move its last site up, or end its last text without "|+"',
    });
  }
  if (now.faults.length === 0) return;
  const list = now.faults.map((fault) => `  ${optionOf(fault)}: ${fault.message}`);
  throw new DeployError('usage', `${domain} cannot be added to ${file}\n${list.join('\n')}`, {
    hint: 'deployer siteadd --help lists the options',
  });
}

function optionOf({ path: [, key, ...below] }: PlacedFault): string {
  if (key === undefined) return 'DOMAIN';
  if (key === 'repository') return 'REPOSITORY';
  return [`--${key.replaceAll('_', '-')}`, ...below].join(' ');
}

/** What these sites say, to be compared. */
function contentOf({ yaml: { root } }: SitesText, names: readonly string[]): string {
  if (root?.kind !== 'map') return '[]';
  return JSON.stringify(
    names.map((name) => {
      const entry = root.entries.get(name);
      return entry && [name, plain(entry), plain(entry, true)];
    }),
  );
}
