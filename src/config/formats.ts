import { posix } from 'node:path';

/** What is wrong with a value, said for people; undefined: nothing. */
export type Check = (text: string) => string | undefined;

const first =
  (...checks: readonly Check[]): Check =>
  (text) => {
    for (const check of checks) {
      const wrong = check(text);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };

const matching =
  (pattern: RegExp, wrong: string): Check =>
  (text) =>
    pattern.test(text) ? undefined : wrong;

const without =
  (pattern: RegExp, wrong: string): Check =>
  (text) =>
    pattern.test(text) ? wrong : undefined;

const oneLine = first(
  without(/^$/, 'is empty'),
  without(/\p{Cc}/u, 'holds a control character or a line break'),
);

/** The name of a site: part of file names, so a backup's whole name stays within 255 bytes. */
export const siteName = first(
  without(/\.\./, 'is no name of a site: it holds ".."'),
  matching(
    /^[A-Za-z0-9]([A-Za-z0-9._-]{0,220}[A-Za-z0-9])?$/,
    'is no name of a site: letters, digits, ".", "_" and "-" are, at most 222 of them, with a letter or digit at both ends',
  ),
);

const REPOSITORY_FORMS = [
  /^(https?|ssh|git):\/\/([^\s/@-][^\s/@]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:\d+)?\/\S+$/i,
  /^file:\/\/\/./i,
  /^\/(?!\/)./,
  /^([A-Za-z0-9_][A-Za-z0-9._-]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):(?![:-]|\/\/)\S+$/,
];

/** What Git may be asked to clone: nothing that it would take for an option or a helper to run. */
export const repository = first(oneLine, without(/^-/, 'begins with "-"'), (text) =>
  REPOSITORY_FORMS.some((form) => form.test(text))
    ? undefined
    : 'is no repository to clone: use git@HOST:PATH, https://…, http://…, ssh://…, git://…, file:///… or an absolute path',
);

/** The rules of `git check-ref-format`, for a branch, a tag or a commit. */
export const branch = first(
  oneLine,
  without(/^-/, 'begins with "-"'),
  without(/[ ~^:?*[\\]/, 'holds one of: space ~ ^ : ? * [ \\'),
  without(/\.\.|@\{|\/\//, 'holds "..", "@{" or "//"'),
  without(/^\/|\/$|\.$/, 'begins or ends with "/", or ends with "."'),
  without(/(^|\/)\.|\.lock(\/|$)/, 'has a part that begins with "." or ends with ".lock"'),
  without(/^@$/, 'is no branch: "@"'),
);

const quoteless = without(/"/, 'holds a ", which the scripts of a virtualenv cannot bear');

const absolute = first(
  oneLine,
  without(/^~/, 'begins with "~", which nothing expands on the target: write the whole path'),
  matching(/^\//, 'must be absolute'),
  without(/(^|\/)\.\.(\/|$)/, 'holds ".."'),
  quoteless,
);

/** Nothing of ours goes into these folders or anywhere below. */
const SYSTEM_TREES = [
  ...['/bin', '/boot', '/dev', '/etc', '/lib', '/lib32', '/lib64', '/libx32', '/proc', '/run'],
  ...['/sbin', '/sys', '/usr/bin', '/usr/include', '/usr/lib', '/usr/lib32', '/usr/lib64'],
  ...['/usr/libexec', '/usr/sbin', '/usr/share', '/var/lock', '/var/run'],
];

/** Below these there is room for us, but they are not ours. */
const SYSTEM_FOLDERS = [
  ...['/', '/home', '/media', '/mnt', '/opt', '/root', '/srv', '/tmp', '/usr', '/usr/local'],
  ...['/usr/local/bin', '/usr/local/lib', '/usr/local/sbin', '/usr/local/share', '/usr/src'],
  ...['/var', '/var/cache', '/var/lib', '/var/local', '/var/log', '/var/mail', '/var/opt'],
  ...['/var/spool', '/var/tmp'],
];

const foreign: Check = (text) => {
  const path = normalised(text);
  const tree = SYSTEM_TREES.find((each) => path === each || path.startsWith(`${each}/`));
  if (path === '/') return 'is the root of the whole machine';
  if (tree !== undefined) return `lies in ${tree}, which belongs to the system`;
  return SYSTEM_FOLDERS.includes(path) ? `is ${path}, which belongs to the system` : undefined;
};

/** The folder of a site on its target. */
export const deployPath = first(absolute, foreign, (text) => {
  const path = normalised(text);
  if (path.lastIndexOf('/') === 0 || path === '/var/backups') {
    return `is not a folder of the site's own: use one such as /var/www/sites/www.example.com`;
  }
  const bad = /[$`\\:]/.exec(path)?.[0];
  return bad === undefined
    ? undefined
    : `holds ${bad}, which the scripts of a virtualenv cannot bear`;
});

export const backupPath = first(absolute, foreign);

export const absolutePath = absolute;

/** A path inside the release. */
export const innerPath = first(
  oneLine,
  without(/^\//, 'must be relative to the release, not absolute'),
  without(/^[-~]/, 'begins with "-" or "~"'),
  quoteless,
  without(/(^|\/)\.\.(\/|$)/, 'holds "..": it must stay inside the release'),
  without(/(^|\/)\.(\/|$)|\/\//, 'holds an empty part or "."'),
);

/** A path inside the release, or the release itself. */
export const innerFolder: Check = (text) => (text === '.' ? undefined : innerPath(text));

/** What lies in a release and is not the project's: paths of the configuration must not touch it. */
export const OURS: readonly string[] = ['.git', '.deployer', 'REVISION'];

export const venv = first(
  oneLine,
  matching(
    /^[A-Za-z0-9._][A-Za-z0-9._-]*$/,
    'must be one name of letters, digits, ".", "_" and "-", not beginning with "-"',
  ),
  (text) => (['.', '..', 'releases', ...OURS].includes(text) ? `must not be "${text}"` : undefined),
);

/** A command that is looked for in PATH, or an absolute path. */
export const interpreter = first(
  oneLine,
  without(/^[-~]/, 'begins with "-" or "~"'),
  quoteless,
  (text) =>
    text.includes('/')
      ? absolute(text)
      : matching(/^\S+$/, 'must be a command such as python3.12, or an absolute path')(text),
);

export const moduleName = matching(
  /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?$/,
  'must be a module such as example.wsgi, or example.wsgi:application',
);

/** Three octal digits, or four with the special bits; `0775` and `0o775` are 775. */
export const mode = matching(/^(0o?)?[0-7]{3,4}$/, 'must be an octal mode such as 775');

export const containerName = matching(
  /^[A-Za-z0-9][A-Za-z0-9_.-]*$/,
  'must be the name or id of a container',
);

export const containerUser = matching(
  /^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/,
  'must be USER, UID, or USER:GROUP',
);

export const userName = matching(/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/, 'must be the name of an account');

export const environmentName = first(
  matching(
    /^[A-Za-z_][A-Za-z0-9_]*$/,
    'is no name of an environment variable: letters, digits and "_" are, not beginning with a digit',
  ),
  without(/^DEPLOYER_/i, 'begins with DEPLOYER_, which deployer keeps for itself'),
);

export const environmentValue = without(/\0/, 'holds a NUL character');

export const command = first(without(/^\s*$/, 'is empty'), without(/\0/, 'holds a NUL character'));

export const unitName = matching(
  /^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*$/,
  'must be a systemd unit',
);

export const programName = matching(
  /^[A-Za-z0-9_.][A-Za-z0-9_.:*-]*$/,
  'must be a supervisor program, GROUP:PROGRAM or GROUP:*',
);

/** Path and query of a request. */
export const requestPath = matching(
  /^\/[!"$-~]*$/,
  'must be the path of a page: beginning with "/", without spaces and "#", other letters percent-encoded',
);

/** The Host header of a request, with or without a port. */
export const hostHeader = matching(
  /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:\d{1,5})?$/,
  'must be a host name',
);

/** Without a slash at the end, without `//` and `/./`. */
export const normalised = (path: string): string => posix.normalize(path).replace(/(?<=.)\/+$/, '');
