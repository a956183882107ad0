import { entryOf, readValue } from '../config/add.ts';
import { KEYS, type Key, type KeyHelp, keyHelp, siteSchema } from '../config/schema.ts';
import { DeployError } from '../errors.ts';
import { mask } from '../secrets.ts';
import { addToSitesFile, configPath } from '../sites-file.ts';
import { type Context, sameOptions } from './context.ts';

/** Adds a site to the configuration. `options`: values by the name that commander gives them. Resolves to the exit code. */
export async function siteAdd(
  { io, globals }: Pick<Context, 'io' | 'globals'>,
  domain: string,
  repository: string,
  options: Readonly<Record<string, unknown>>,
): Promise<number> {
  const path = configPath({ io, globals });
  const given = OPTION_KEYS.map((key) => [key, options[attributeOf(key)]] as const);
  const settings = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  const site = { domain, repository, settings };
  await addToSitesFile(path, site);
  if (globals.json) {
    const { repository: url, ...rest } = entryOf(site);
    const shown = { site: domain, file: path, repository: mask(String(url), []), ...rest };
    io.stdout.write(`${JSON.stringify(shown)}\n`);
  } else {
    io.stdout.write(`${domain} added to ${path}\n`);
  }
  if (!globals.quiet) io.stderr.write(`next: deployer deploy ${domain}${sameOptions(globals)}\n`);
  return 0;
}

export interface SiteAddOption {
  /** As commander reads them: `--deploy-path <path>`. */
  readonly flags: string;
  readonly description: string;
  /** Makes the option's value of the text given and of what it had before. */
  readonly parse?: (text: string, previous: unknown) => unknown;
}

/** One option for each key of the configuration but `repository`, which is an argument. */
export function siteAddOptions(): readonly SiteAddOption[] {
  return OPTION_KEYS.map((key) => {
    const schema = siteSchema.shape[key];
    const help = keyHelp.get(schema) as KeyHelp;
    const parse = parser(help.option, flagOf(key));
    return {
      flags: `${flagOf(key)}${help.value === undefined ? '' : ` <${help.value}>`}`,
      description: `${schema.description}${REPEATED[help.option] ?? ''}`,
      ...(parse && { parse }),
    };
  });
}

const OPTION_KEYS = KEYS.filter((key): key is Exclude<Key, 'repository'> => key !== 'repository');

const REPEATED: Readonly<Partial<Record<KeyHelp['option'], string>>> = {
  list: ' (may be given several times)',
  pairs: ' (may be given several times)',
};

/** Node 20 takes `--env-file` for itself, wherever on the command line it stands. */
const flagOf = (key: Key): string =>
  key === 'env_file' ? '--env_file' : `--${key.replaceAll('_', '-')}`;

/** As commander names the value of an option. */
const attributeOf = (key: Key): string =>
  flagOf(key)
    .slice(2)
    .replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

function parser(option: KeyHelp['option'], flag: string): SiteAddOption['parse'] {
  switch (option) {
    case 'list':
      return (text, previous) => [...((previous as readonly string[] | undefined) ?? []), text];
    case 'pairs':
      return (text, previous) => {
        const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
        if (name === undefined) throw refused(flag, `${JSON.stringify(text)} is no NAME=VALUE`);
        return { ...(previous as object | undefined), [name]: value };
      };
    case 'yaml':
      return (text) => {
        try {
          return readValue(text);
        } catch (error) {
          throw refused(flag, (error as Error).message);
        }
      };
    default:
      return undefined;
  }
}

const refused = (flag: string, wrong: string): DeployError =>
  new DeployError('usage', `${flag}: ${wrong}`, { hint: 'deployer siteadd --help shows its form' });
