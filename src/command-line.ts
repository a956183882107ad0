import { Command, Option } from 'commander';
import type { Context } from './commands/context.ts';
import { DeployError } from './errors.ts';

/** One command as it is typed; what it does is loaded when it is run. */
interface CommandLine {
  readonly name: string;
  /** Undefined: an alias that no help shows. */
  readonly does?: string;
  readonly example?: string;
  /** `site`: one, as a word or an option. `all`: every site, or those of a runner. Else the words it wants. */
  readonly of: 'site' | 'all' | readonly string[];
  readonly options?: readonly Option[];
  readonly run: (context: Context, flags: Flags, words: readonly string[]) => Promise<number>;
}

type Flags = Readonly<Record<string, unknown>>;

const DRY_RUN = new Option('--dry-run', 'print the scripts, run nothing');
const FORCE = new Option('--force', 'stop the deploy that holds it, which undoes what it did');
const HOST = new Option('-H <host>', '[USER@]HOST[:PORT]: DEPLOYER_HOST on the command line');
const REBUILD = new Option('--rebuild', 'make a fresh virtualenv beside the old one');
const GET = new Option(
  '--get <file>',
  'bring this one here, and read it through to its end before it is called whole',
);
const TO = new Option('--to <release>', 'go to this release, which must be kept');

const listSites: CommandLine['run'] = async (context) =>
  (await import('./commands/sites.ts')).listSites(context);
const restartOne: CommandLine['run'] = async (context, flags, words) =>
  (await import('./commands/restart.ts')).restartOne(
    context,
    siteOf(flags, words),
    restartFlags(flags),
  );

const COMMANDS: readonly CommandLine[] = [
  {
    name: 'sites',
    does: 'list the configured sites',
    example: 'deployer sites',
    of: [],
    options: [HOST],
    run: listSites,
  },
  {
    name: 'deploy',
    does: 'deploy one site',
    example: 'deployer deploy www.example.com',
    of: 'site',
    options: [REBUILD, DRY_RUN],
    run: async (context, flags, words) =>
      (await import('./commands/deploy.ts')).deployOne(
        context,
        siteOf(flags, words),
        deployFlags(flags),
      ),
  },
  {
    name: 'deploy_all',
    does: 'deploy every site',
    example: 'deployer deploy_all --runner=local',
    of: 'all',
    options: [REBUILD, DRY_RUN],
    run: async (context, flags) =>
      (await import('./commands/deploy.ts')).deployAll(
        context,
        allFlags(flags),
        deployFlags(flags),
      ),
  },
  {
    name: 'rollback',
    does: 'go back to the previous good release',
    example: 'deployer rollback www.example.com',
    of: 'site',
    options: [TO, DRY_RUN],
    run: async (context, flags, words) =>
      (await import('./commands/rollback.ts')).rollbackOne(
        context,
        siteOf(flags, words),
        rollbackFlags(flags),
      ),
  },
  {
    name: 'rollback_all',
    does: 'roll every site back',
    example: 'deployer rollback_all --yes',
    of: 'all',
    options: [DRY_RUN],
    run: async (context, flags) =>
      (await import('./commands/rollback.ts')).rollbackAll(
        context,
        allFlags(flags),
        rollbackFlags(flags),
      ),
  },
  {
    name: 'restart',
    does: 'restart the services of the live release, and prove it',
    example: 'deployer restart www.example.com',
    of: 'site',
    options: [DRY_RUN],
    run: restartOne,
  },
  {
    name: 'restart_all',
    does: 'restart the services of every site',
    example: 'deployer restart_all',
    of: 'all',
    options: [DRY_RUN],
    run: async (context, flags) =>
      (await import('./commands/restart.ts')).restartAll(
        context,
        allFlags(flags),
        restartFlags(flags),
      ),
  },
  {
    name: 'unlock',
    does: 'remove the lock of an interrupted deploy',
    example: 'deployer unlock www.example.com --force',
    of: 'site',
    options: [FORCE],
    run: async (context, flags, words) =>
      (await import('./commands/unlock.ts')).unlockOne(
        context,
        siteOf(flags, words),
        unlockFlags(flags),
      ),
  },
  {
    name: 'unlock_all',
    does: 'remove the locks of interrupted deploys',
    example: 'deployer unlock_all --yes',
    of: 'all',
    options: [FORCE],
    run: async (context, flags) =>
      (await import('./commands/unlock.ts')).unlockAll(
        context,
        allFlags(flags),
        unlockFlags(flags),
      ),
  },
  {
    name: 'status',
    does: 'tell what is live, who holds the lock and how the last run ended, of one site or of all',
    example: 'deployer status www.example.com',
    of: 'site',
    run: async (context, flags, words) =>
      (await import('./commands/status.ts')).showStatus(context, siteOf(flags, words)),
  },
  {
    name: 'backups',
    does: 'list the backups of a site; each is named after the deploy that made it, and holds what was live before',
    example: 'deployer backups www.example.com --get www.example.com_20261122_213015_123.tar.gz',
    of: 'site',
    options: [GET],
    run: async (context, flags, words) =>
      (await import('./commands/backups.ts')).backups(
        context,
        siteOf(flags, words),
        flags.get as string | undefined,
      ),
  },
  {
    name: 'siteadd',
    does: 'add a site to the configuration',
    example: 'deployer siteadd www.example.com git@github.com:example/example.git',
    of: ['<domain>', '<repository>'],
    run: async (context, flags, [domain = '', repository = '']) =>
      (await import('./commands/siteadd.ts')).siteAdd(context, domain, repository, flags),
  },
  {
    name: 'schema',
    does: 'print the JSON Schema of the configuration, for editors',
    example: 'deployer schema > sites.schema.json',
    of: [],
    run: async (context) => (await import('./commands/schema.ts')).printSchema(context),
  },
  { name: 'list_sites', of: [], options: [HOST], run: listSites },
  { name: 'restart_site', of: 'site', options: [DRY_RUN], run: restartOne },
];

/** The whole command line. `run` is called with what was typed, taken apart. */
export async function commandLine(
  argv: readonly string[],
  version: string,
  run: (work: CommandLine['run'], flags: Flags, words: readonly string[]) => Promise<void>,
): Promise<Command> {
  const program = new Command('deployer')
    .description(
      'Ships Django sites: every deploy is a new release, switched to atomically, proven, and undone when it fails.',
    )
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .option('--config <file>', 'the sites to deploy (else DEPLOYER_CONFIG, else ./sites.yml)')
    .option('--json', 'one JSON object per line on stdout')
    .option('--verbose', 'every line of child output')
    .option('--quiet', 'failures and the answer only')
    .option('--no-color', 'no colours (as does NO_COLOR)')
    .option('--yes', 'ask nothing')
    .addHelpText('after', `\nExample:\n  ${exampleOf('siteadd')}\n  ${exampleOf('deploy')}`);
  for (const line of COMMANDS) add(program, line, run);
  if (argv.includes('siteadd')) await addSiteAddOptions(program);
  return program;
}

const exampleOf = (name: string) => COMMANDS.find((line) => line.name === name)?.example;

function add(
  program: Command,
  { name, does, example, of, options = [], run }: CommandLine,
  start: Parameters<typeof commandLine>[2],
): void {
  const command = program
    .command(name, { hidden: does === undefined })
    .description(does ?? '')
    .helpOption('-h, --help', 'show help')
    .addHelpText('after', example === undefined ? '' : `\nExample:\n  ${example}`);
  if (name.includes('_')) command.alias(name.replaceAll('_', '-'));
  if (of === 'site') {
    command
      .argument('[site]', 'the site, as named in the configuration')
      .option('--site <name>', 'the same as an option');
  } else if (of === 'all') {
    command
      .addOption(
        new Option('--runner <runner>', 'only the sites of this runner').choices([
          'local',
          'ssh',
          'docker',
        ]),
      )
      .option('--parallel <n>', 'hosts side by side', count, 4)
      .option('--parallel-per-host <m>', 'sites of one host side by side', count, 1);
  } else {
    for (const word of of) command.argument(word);
  }
  for (const option of typeof of === 'string' ? [HOST, ...options] : options)
    command.addOption(option);
  command.action(async () => start(run, command.optsWithGlobals(), command.args));
}

/** One option per key of the configuration: read from the schema, which no other command's help has to load. */
async function addSiteAddOptions(program: Command): Promise<void> {
  const { siteAddOptions } = await import('./commands/siteadd.ts');
  const command = program.commands.find((each) => each.name() === 'siteadd') as Command;
  for (const { flags, description, parse } of siteAddOptions()) {
    const option = new Option(flags, description);
    command.addOption(parse ? option.argParser(parse) : option);
  }
}

function count(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) {
    throw new DeployError('usage', `not a number of 1 or more: ${text}`);
  }
  return number;
}

/** The site may be named as an option or as a word, or both alike. */
function siteOf(flags: Flags, [word]: readonly string[]): string | undefined {
  const option = flags.site as string | undefined;
  if (option !== undefined && word !== undefined && option !== word) {
    throw new DeployError('usage', `two different sites: ${word} and --site=${option}`);
  }
  return option ?? word;
}

const deployFlags = ({ rebuild, dryRun }: Flags) => ({
  rebuild: rebuild === true,
  dryRun: dryRun === true,
});
const rollbackFlags = ({ to, dryRun }: Flags) => ({
  to: to as string | undefined,
  dryRun: dryRun === true,
});
const restartFlags = ({ dryRun }: Flags) => ({ dryRun: dryRun === true });
const unlockFlags = ({ force }: Flags) => ({ force: force === true });
const allFlags = ({ runner, parallel, parallelPerHost }: Flags) => ({
  runner: runner as string | undefined,
  hosts: parallel as number,
  perHost: parallelPerHost as number,
});
