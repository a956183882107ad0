import * as z from 'zod';
import { SCRIPTED_STEPS } from '../step-names.ts';
import { type Address, readAddress } from './address.ts';
import {
  backupPath,
  branch,
  containerName,
  containerUser,
  deployPath,
  environmentName,
  environmentValue,
  innerFolder,
  innerPath,
  interpreter,
  mode,
  moduleName,
  normalised,
  repository,
  userName,
  venv,
} from './formats.ts';
import { HEALTH_CHECK_KEYS, healthCheck } from './health-check.ts';
import { RESTART_KEYS, restart } from './restart.ts';
import type { HookName } from './site.ts';
import { asWritten, command, mapOf, oneOrMore, text } from './values.ts';

/** What is known of a key besides its type, its default and its meaning (the description). */
export interface KeyHelp {
  /** How `siteadd` takes it: a text, several of them, `NAME=VALUE` pairs, YAML, or the mere word. */
  readonly option: 'text' | 'list' | 'pairs' | 'yaml' | 'flag';
  /** What stands for the value in a usage line. */
  readonly value?: string;
  /** When it must be given, if not always or never. */
  readonly required?: string;
  /** What holds where the key is missing, if that is no fixed value. */
  readonly fallback?: string;
  /** Numbers are taken as they are written: `1.10` stays `1.10`. */
  readonly asWritten?: boolean;
}

export const keyHelp = z.registry<KeyHelp>();

function key<Schema extends z.ZodType>(schema: Schema, meaning: string, help: KeyHelp): Schema {
  const described = schema.describe(meaning) as Schema;
  keyHelp.add(described, help);
  return described;
}

const HOOK_NAMES = SCRIPTED_STEPS.flatMap((step): HookName[] => [
  `before_${step}`,
  `after_${step}`,
]);
const COMMANDS = ['backup', 'dependencies', 'static'] as const;

const path = (check: typeof innerPath) => text(check).transform(normalised);
const paths = () => z.array(path(innerPath)).prefault([]);
const count = () => z.int().min(1).max(100_000).default(5);

const address = z.string().transform((given, context): Address => {
  const read = readAddress(given);
  if (typeof read !== 'string') return read;
  context.addIssue({ code: 'custom', message: read });
  return z.NEVER;
});

/** Every key that a site may have in sites.yml: types, defaults and help texts, all made from here. */
export const siteSchema = z.strictObject({
  repository: key(text(repository), 'Git repository to clone', { option: 'text', value: 'url' }),
  branch: key(asWritten(branch).prefault('master'), 'branch, tag or commit to deploy', {
    option: 'text',
    value: 'branch',
    asWritten: true,
  }),
  deploy_path: key(path(deployPath), 'absolute path of the site on its target', {
    option: 'text',
    value: 'path',
  }),
  venv: key(
    text(venv).default('.venv'),
    'name of the virtualenv in the release (a link to the environment of its requirements)',
    { option: 'text', value: 'name' },
  ),
  runner: key(
    z.enum(['local', 'ssh', 'docker']).optional(),
    '`local`, `ssh` or `docker`; `ssh` if only `host` is given',
    { option: 'text', value: 'runner', fallback: '`local`' },
  ),
  host: key(
    address.optional(),
    "SSH target; `user@name:port` works too; with `docker`, the container's host",
    { option: 'text', value: 'host', required: 'if `ssh`', fallback: '' },
  ),
  user: key(text(userName).optional(), 'account on the SSH target', {
    option: 'text',
    value: 'user',
    fallback: 'from `~/.ssh/config`',
  }),
  port: key(z.int().min(1).max(65_535).optional(), 'port of the SSH target', {
    option: 'yaml',
    value: 'port',
    fallback: 'from `~/.ssh/config`',
  }),
  forward_agent: key(
    z.boolean().default(false),
    'the SSH agent is forwarded to the target, for private repositories',
    { option: 'flag' },
  ),
  docker_container: key(text(containerName).optional(), 'running container', {
    option: 'text',
    value: 'name',
    required: 'if `docker`',
    fallback: '',
  }),
  docker_user: key(text(containerUser).optional(), 'user inside the container', {
    option: 'text',
    value: 'user',
    fallback: "the container's",
  }),
  backup_path: key(path(backupPath), 'where backups go', { option: 'text', value: 'path' }),
  max_backups: key(count(), 'backups to keep', { option: 'yaml', value: 'count' }),
  max_releases: key(count(), 'good releases to keep', { option: 'yaml', value: 'count' }),
  shared_files: key(paths(), 'files linked from `shared/` into every release', {
    option: 'list',
    value: 'path',
  }),
  shared_dirs: key(paths(), 'directories linked from `shared/` into every release', {
    option: 'list',
    value: 'path',
  }),
  writable_dirs: key(paths(), 'directories made writable', { option: 'list', value: 'path' }),
  writable_chmod_mode: key(
    asWritten(mode)
      .transform((given) => given.replace(/^0o?/, ''))
      .prefault('775'),
    'mode for them; `775`, `0775` and `"0775"` are the same thing',
    { option: 'text', value: 'mode', asWritten: true },
  ),
  writable_recursive: key(z.boolean().default(false), 'the mode is for all that is in them, too', {
    option: 'flag',
  }),
  writable_use_sudo: key(z.boolean().default(false), 'the mode is set with `sudo`', {
    option: 'flag',
  }),
  project_path: key(
    path(innerFolder).optional(),
    'folder of `manage.py`: the root, else the only one at depth 3 or less, else an error that lists them',
    { option: 'text', value: 'path', fallback: 'found' },
  ),
  requirements: key(
    oneOrMore(path(innerPath), 'a path').optional(),
    "requirements file(s), from the repository's root; the default may be absent, a named one may not",
    { option: 'list', value: 'path', fallback: '`requirements.txt`' },
  ),
  python: key(text(interpreter).default('python3'), 'interpreter that makes the virtualenv', {
    option: 'text',
    value: 'command',
  }),
  env: key(
    z
      .record(
        text(environmentName),
        z
          .union([z.string(), z.number(), z.boolean()], {
            error: 'must be text, a number, true or false; "" where it is to be empty',
          })
          .transform(String)
          .pipe(text(environmentValue)),
      )
      .default({}),
    'environment of every `manage.py` call, boot test and hook',
    { option: 'pairs', value: 'name=value', fallback: 'none', asWritten: true },
  ),
  env_file: key(
    path(innerPath).optional(),
    'more of it: a path in the release such as `.env`, read as `KEY=VALUE` lines, never sourced',
    { option: 'text', value: 'path', fallback: 'none' },
  ),
  wsgi: key(text(moduleName).optional(), 'WSGI or ASGI module, for the boot test', {
    option: 'text',
    value: 'module',
    fallback: 'found',
  }),
  restart: key(
    restart.prefault('auto'),
    'how services are restarted: `auto`, `none`, `gunicorn`, `{gunicorn: PATH}` (pid file or socket), `{systemd: UNIT}`, `{supervisor: PROGRAM}`, `{touch: FILE}`, `{command: …}`, or a list of these',
    { option: 'yaml', value: 'yaml' },
  ),
  health_check: key(
    healthCheck.optional(),
    "a path or URL, or `{path, url, socket, host, status: 200-399, timeout: 5, retries: 10, interval: 1}`: asked on the target after the restart, with the site's name as Host and `X-Forwarded-Proto: https`; a path alone is asked at the address of the Gunicorn found, and is the boot test's path too (else `/`)",
    { option: 'yaml', value: 'yaml', fallback: 'none' },
  ),
  hooks: key(
    mapOf(HOOK_NAMES, oneOrMore(command, 'a shell command')).default({}),
    '`before_STEP` / `after_STEP` (none for `lock` and `unlock`): a shell command or a list of them',
    { option: 'yaml', value: 'yaml', fallback: 'none' },
  ),
  commands: key(
    mapOf(COMMANDS, command).default({}),
    '`backup`, `dependencies`, `static`: a shell command that takes the place of what the step does; `dependencies` makes the virtualenv at `$RELEASE/<venv>` itself, `backup` writes `$DEPLOYER_BACKUP`, which is read through like ours',
    { option: 'pairs', value: 'name=command', fallback: 'none' },
  ),
  timeouts: key(
    mapOf(SCRIPTED_STEPS, z.int().min(1).max(604_800)).default({}),
    'seconds, by step name',
    { option: 'yaml', value: 'yaml', fallback: 'per step' },
  ),
});

/** What a site's keys say, checked one by one, with the defaults filled in. */
export type Settings = z.output<typeof siteSchema>;
export type Key = keyof Settings;

/** Every key, in the order of the README's table. */
export const KEYS = Object.keys(siteSchema.shape) as readonly Key[];

/** The keys of the maps that stand below a key. */
export const KEYS_BELOW: Readonly<Record<string, readonly string[]>> = {
  hooks: HOOK_NAMES,
  commands: COMMANDS,
  timeouts: SCRIPTED_STEPS,
  restart: RESTART_KEYS,
  health_check: HEALTH_CHECK_KEYS,
};

/** Keys that begin with `x-` and hold no dot are no sites: anchors live there. */
export const IGNORED_KEY = /^x-[^.]*$/;

/** The JSON Schema of sites.yml as it is written (draft 7, which editors know best). */
export function jsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...site } = z.toJSONSchema(siteSchema, { io: 'input', target: 'draft-7' });
  return {
    $schema,
    title: 'sites.yml of deployer',
    type: 'object',
    patternProperties: { [IGNORED_KEY.source]: {} },
    additionalProperties: {
      anyOf: [
        { type: 'string', description: 'the repository: all else as siteadd writes it' },
        { $ref: '#/definitions/site' },
      ],
    },
    definitions: { site },
  };
}
