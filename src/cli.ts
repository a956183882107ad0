import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import type { Context, Io } from './commands/context.ts';
import { DeployError } from './errors.ts';

/** Runs the command line. Resolves to the exit code; every failure has been told by then. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  for (const stream of [io.stdout, io.stderr]) stream.on?.('error', () => {}); // a reader that left is no reason to stop
  let exit = 0;
  const program = commandLine(io, argv, (code) => {
    exit = code;
  });
  try {
    await addSiteAddOptions(program, argv);
    await program.parseAsync(argv as string[]);
    return exit;
  } catch (error) {
    return told(error, io);
  }
}

/** The one catch: what went wrong and what to do, to stderr. */
function told(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof DeployError) {
    io.stderr.write(
      `deployer: ${error.message}\n${error.hint === undefined ? '' : `to do: ${error.hint}\n`}`,
    );
    return error.exitCode;
  }
  io.stderr.write(
    `deployer: a fault of deployer itself, please report it:\n${(error as Error)?.stack ?? error}\n`,
  );
  return 1;
}

type Flags = Record<string, unknown>;

function commandLine(io: Io, argv: readonly string[], ended: (exit: number) => void): Command {
  const program = new Command('deployer')
    .description(
      'Ships Django sites: every deploy is a new release, switched to atomically, proven, and undone when it fails.',
    )
    .version(version(), '--version', 'print the version')
    .helpOption('--help', 'show help')
    .helpCommand(false)
    .option('--config <file>', 'the sites to deploy (else DEPLOYER_CONFIG, else ./sites.yml)')
    .option('--json', 'one JSON object per line on stdout')
    .option('--verbose', 'every line of child output')
    .option('--quiet', 'failures and the answer only')
    .option('--no-color', 'no colours (as does NO_COLOR)')
    .option('--yes', 'ask nothing')
    .addHelpText(
      'after',
      '\nExample:\n  deployer siteadd www.example.com git@github.com:example/example.git\n  deployer deploy www.example.com',
    )
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
    });

  const add = (name: string, description: string, example: string) => {
    const command = program
      .command(name)
      .description(description)
      .helpOption('--help', 'show help')
      .addHelpText('after', `\nExample:\n  ${example}`);
    if (name.includes('_')) command.alias(name.replaceAll('_', '-'));
    return command;
  };
  const onSite = (name: string, description: string, example: string) =>
    add(name, description, example)
      .argument('[site]', 'the site, as named in the configuration')
      .option('--site <name>', 'the same as an option')
      .addOption(hostOption());
  const onAll = (name: string, description: string, example: string) =>
    add(name, description, example)
      .addOption(
        new Option('--runner <runner>', 'only the sites of this runner').choices([
          'local',
          'ssh',
          'docker',
        ]),
      )
      .option('--parallel <n>', 'hosts side by side', count, 4)
      .option('--parallel-per-host <m>', 'sites of one host side by side', count, 1)
      .addOption(hostOption());
  const action =
    (work: (context: Context, flags: Flags, words: readonly string[]) => Promise<number>) =>
    async (...given: unknown[]) => {
      const command = given.at(-1) as Command;
      const flags = command.optsWithGlobals() as Flags;
      ended(await work(contextOf(io, flags, argv), flags, command.args));
    };

  add('sites', 'list the configured sites', 'deployer sites')
    .addOption(hostOption())
    .action(action(async (context) => (await import('./commands/sites.ts')).listSites(context)));
  onSite('deploy', 'deploy one site', 'deployer deploy www.example.com')
    .option('--rebuild', 'make a fresh virtualenv beside the old one', false)
    .addOption(dryRunOption())
    .action(
      action(async (context, flags, words) =>
        (await import('./commands/deploy.ts')).deployOne(
          context,
          siteOf(flags, words),
          deployFlags(flags),
        ),
      ),
    );
  onAll('deploy_all', 'deploy every site', 'deployer deploy_all --runner=local')
    .option('--rebuild', 'make fresh virtualenvs beside the old ones', false)
    .addOption(dryRunOption())
    .action(
      action(async (context, flags) =>
        (await import('./commands/deploy.ts')).deployAll(
          context,
          allFlags(flags),
          deployFlags(flags),
        ),
      ),
    );
  onSite('rollback', 'go back to the previous good release', 'deployer rollback www.example.com')
    .option('--to <release>', 'go to this release, which must be kept')
    .addOption(dryRunOption())
    .action(
      action(async (context, flags, words) =>
        (await import('./commands/rollback.ts')).rollbackOne(
          context,
          siteOf(flags, words),
          rollbackFlags(flags),
        ),
      ),
    );
  onAll('rollback_all', 'roll every site back', 'deployer rollback_all --yes')
    .addOption(dryRunOption())
    .action(
      action(async (context, flags) =>
        (await import('./commands/rollback.ts')).rollbackAll(
          context,
          allFlags(flags),
          rollbackFlags(flags),
        ),
      ),
    );
  onSite(
    'restart',
    'restart the services of the live release, and prove it',
    'deployer restart www.example.com',
  )
    .addOption(dryRunOption())
    .action(
      action(async (context, flags, words) =>
        (await import('./commands/restart.ts')).restartOne(context, siteOf(flags, words), {
          dryRun: flags.dryRun === true,
        }),
      ),
    );
  onAll('restart_all', 'restart the services of every site', 'deployer restart_all')
    .addOption(dryRunOption())
    .action(
      action(async (context, flags) =>
        (await import('./commands/restart.ts')).restartAll(context, allFlags(flags), {
          dryRun: flags.dryRun === true,
        }),
      ),
    );
  onSite(
    'unlock',
    'remove the lock of an interrupted deploy',
    'deployer unlock www.example.com --force',
  )
    .option('--force', 'stop the deploy that holds it, which undoes what it did', false)
    .action(
      action(async (context, flags, words) =>
        (await import('./commands/unlock.ts')).unlockOne(context, siteOf(flags, words), {
          force: flags.force === true,
        }),
      ),
    );
  onAll('unlock_all', 'remove the locks of interrupted deploys', 'deployer unlock_all --yes')
    .option('--force', 'stop the deploys that hold them', false)
    .action(
      action(async (context, flags) =>
        (await import('./commands/unlock.ts')).unlockAll(context, allFlags(flags), {
          force: flags.force === true,
        }),
      ),
    );
  add(
    'siteadd',
    'add a site to the configuration',
    'deployer siteadd www.example.com git@github.com:example/example.git',
  )
    .argument('<domain>')
    .argument('<repository>')
    .action(
      action(async (context, flags, [domain = '', repository = '']) =>
        (await import('./commands/siteadd.ts')).siteAdd(context, domain, repository, flags),
      ),
    );
  add(
    'schema',
    'print the JSON Schema of the configuration, for editors',
    'deployer schema > sites.schema.json',
  ).action(action(async (context) => (await import('./commands/schema.ts')).printSchema(context)));

  program
    .command('list_sites', { hidden: true })
    .action(action(async (context) => (await import('./commands/sites.ts')).listSites(context)));
  program
    .command('restart_site', { hidden: true })
    .argument('[site]')
    .option('--site <name>')
    .addOption(hostOption())
    .addOption(dryRunOption())
    .action(
      action(async (context, flags, words) =>
        (await import('./commands/restart.ts')).restartOne(context, siteOf(flags, words), {
          dryRun: flags.dryRun === true,
        }),
      ),
    );
  return program;
}

/** One option per key of the configuration: read from the schema, which no other command's help has to load. */
async function addSiteAddOptions(program: Command, argv: readonly string[]): Promise<void> {
  if (!argv.includes('siteadd')) return;
  const { siteAddOptions } = await import('./commands/siteadd.ts');
  const command = program.commands.find((each) => each.name() === 'siteadd') as Command;
  for (const { flags, description, parse } of siteAddOptions()) {
    command.addOption(
      parse ? new Option(flags, description).argParser(parse) : new Option(flags, description),
    );
  }
}

const hostOption = () =>
  new Option('-H <host>', '[USER@]HOST[:PORT]: DEPLOYER_HOST on the command line');
const dryRunOption = () => new Option('--dry-run', 'print the scripts, run nothing').default(false);

function count(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1)
    throw new DeployError('usage', `not a number of 1 or more: ${text}`);
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

const deployFlags = (flags: Flags) => ({
  rebuild: flags.rebuild === true,
  dryRun: flags.dryRun === true,
});
const rollbackFlags = (flags: Flags) => ({
  to: flags.to as string | undefined,
  dryRun: flags.dryRun === true,
});
const allFlags = (flags: Flags) => ({
  runner: flags.runner as string | undefined,
  hosts: flags.parallel as number,
  perHost: flags.parallelPerHost as number,
});

function contextOf(io: Io, flags: Flags, argv: readonly string[]): Context {
  return {
    io,
    typed: ['deployer', ...argv.slice(2)].join(' '),
    globals: {
      config: flags.config as string | undefined,
      json: flags.json === true,
      verbose: flags.verbose === true,
      quiet: flags.quiet === true,
      color: flags.color !== false && !io.env.NO_COLOR && io.stderr.isTTY === true,
      yes: flags.yes === true,
      host: flags.H as string | undefined,
    },
  };
}

const version = (): string =>
  (
    JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    }
  ).version;
