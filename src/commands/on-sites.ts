import { applyOverride, readOverride } from '../config/override.ts';
import { selectRunner, selectSite } from '../config/select.ts';
import type { Site } from '../config/site.ts';
import { DeployError, exitCodeOf } from '../errors.ts';
import { inParallel, type Width } from '../fleet.ts';
import { listenForInterruption } from '../interruption.ts';
import type { Plan } from '../plan.ts';
import { targetOf } from '../runners/connect.ts';
import { configPath, readSites } from '../sites-file.ts';
import { openTerminal } from '../terminal.ts';
import { refusedVerdict, type Verdict } from '../verdict.ts';
import { connectionsFor } from './connections.ts';
import type { Context } from './context.ts';
import { type Presentation, presentation } from './presentation.ts';
import { interrupted, runOnSite } from './site-run.ts';

/** One command as it works on any site. */
export interface SiteCommand {
  /** `deploy of main to /srv/shop (local)`. */
  readonly action: (site: Site) => string;
  readonly plan: (site: Site) => Plan;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  /** For `_all`: why a verdict is no failure there (a site with nothing to go back to). */
  readonly skipped?: (verdict: Verdict) => string | undefined;
}

/** Runs a command on the named site. Resolves to the exit code. */
export async function onSite(
  context: Context,
  name: string | undefined,
  command: SiteCommand,
): Promise<number> {
  const [site] = (await configuredSites(context, (sites) => [selectSite(sites, name)])) as [Site];
  if (command.dryRun) return printDryRun(context, [site], command);
  using show = await presentation(context, false);
  const [result] = await run(context, [site], command, show, { hosts: 1, perHost: 1 });
  return (result as Verdict).exit;
}

export interface AllOptions extends Width {
  readonly runner: string | undefined;
  /** Asked at a terminal before anything is done. */
  readonly question?: string;
}

/** Runs a command on every site, or on those of one runner. Resolves to the exit code: the common one, else 6. */
export async function onAllSites(
  context: Context,
  options: AllOptions,
  command: SiteCommand,
): Promise<number> {
  const sites = await configuredSites(context, (all) => selectRunner(all, options.runner));
  if (command.dryRun) return printDryRun(context, sites, command);
  if (options.question !== undefined && !(await confirmed(context, sites, options.question))) {
    throw new DeployError('usage', 'nothing was done', { hint: 'answer y, or give --yes' });
  }
  using show = await presentation(context, true);
  const verdicts = (await run(context, sites, command, show, options)).map((each) => {
    const reason = command.skipped?.(each);
    return reason === undefined ? each : { ...each, exit: 0, summary: `skipped: ${reason}` };
  });
  const exit = commonExit(verdicts);
  show.summary(verdicts, exit);
  return exit;
}

/** The selected sites, with the connection that the environment or `-H` gives them. */
export async function configuredSites(
  { io, globals }: Context,
  select: (sites: readonly Site[]) => readonly Site[],
): Promise<readonly Site[]> {
  const override = readOverride(io.env, globals.host);
  const sites = await readSites(configPath({ io, globals }), {
    hostless: override?.host !== undefined,
  });
  return applyOverride(select(sites), override);
}

async function run(
  context: Context,
  sites: readonly Site[],
  command: SiteCommand,
  show: Presentation,
  width: Width,
): Promise<readonly Verdict[]> {
  using interruption = listenForInterruption((count) => show.say(count === 1 ? STOPPING : LEAVING));
  await using connections = connectionsFor(context, interruption.cancel);
  return await inParallel(sites, hostOf, width, async (site) => {
    show.announce(site, `${command.action(site)} (${targetOf(site)})`);
    const result = interruption.signal
      ? refusedVerdict(site.name, interrupted(interruption.signal))
      : await runOnSite(site, command.plan, context, {
          report: show.report,
          interruption,
          connections,
          force: command.force ?? false,
        });
    show.result(result);
    return result;
  });
}

const STOPPING =
  'stopping: what is under way is ended or finished, then undone. Once more leaves at once.';
const LEAVING = 'leaving: the target finishes or undoes the rest by itself.';

/** What sites share that are not worked on side by side. */
export const hostOf = (site: Site): string => `${site.host ?? 'local'}:${site.port ?? ''}`;

/** 0 when all went well, the common code when all failed alike, else 6. */
export function commonExit(verdicts: readonly Pick<Verdict, 'exit'>[]): number {
  const codes = new Set(verdicts.map(({ exit }) => exit));
  return codes.size > 1 ? exitCodeOf('partial') : ([...codes][0] ?? 0);
}

async function printDryRun(
  context: Context,
  sites: readonly Site[],
  command: SiteCommand,
): Promise<number> {
  const { dryRun } = await import('../dry-run.ts');
  for (const site of sites) {
    const text = dryRun(command.plan(site), new Date());
    context.io.stdout.write(
      context.globals.json
        ? `${JSON.stringify({ type: 'dry-run', site: site.name, script: text })}\n`
        : text,
    );
  }
  return 0;
}

async function confirmed(
  { io, globals }: Context,
  sites: readonly Site[],
  question: string,
): Promise<boolean> {
  const terminal = globals.yes ? undefined : openTerminal(new AbortController().signal);
  if (terminal === undefined) return true;
  for (const site of sites)
    io.stderr.write(`  ${site.name}  ${targetOf(site)}:${site.deployPath}\n`);
  return /^y(es)?$/i.test((await terminal.ask(`${question} [y/N] `)).trim());
}
