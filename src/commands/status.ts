import { selectSite } from '../config/select.ts';
import type { Site } from '../config/site.ts';
import { asDeployError, DeployError } from '../errors.ts';
import { inParallel } from '../fleet.ts';
import { ask } from '../question.ts';
import { type Connections, targetOf } from '../runners/connect.ts';
import { mask, secretsOf, visible } from '../secrets.ts';
import { connectionsFor, warnOn } from './connections.ts';
import type { Context } from './context.ts';
import { commonExit, configuredSites, hostOf } from './on-sites.ts';
import { type SiteStatus, statusLines } from './status-text.ts';

/** What answers, given the deploy_path: one answer, a SiteStatus. */
export const STATUS_PROGRAM = [
  'question.py',
  'named_tuple.py',
  'retention.py',
  'records.py',
  'journal.py',
  'holder.py',
  'status.py',
];

/** Tells how a site stands, or every one. Resolves to the exit code: the common one, else 6. */
export async function showStatus(context: Context, name: string | undefined): Promise<number> {
  const { io, globals } = context;
  const sites = await configuredSites(context, (all) =>
    name === undefined ? all : [selectSite(all, name)],
  );
  await using connections = connectionsFor(context);
  const told = await inParallel(sites, hostOf, { hosts: 4, perHost: 1 }, (site) =>
    statusOf(site, context, connections),
  );
  for (const [index, { site, exit, status, error, hint }] of told.entries()) {
    const head = { site: site.name, target: targetOf(site) };
    if (globals.json) {
      const line = { type: 'status', ...head, exit, ...(status ?? { error }) };
      io.stdout.write(`${JSON.stringify(line)}\n`);
    } else {
      const lines = status === undefined ? [`  not known: exit ${exit}`] : statusLines(status);
      const block = [`${head.site} (${head.target})`, ...lines];
      io.stdout.write(`${index > 0 ? '\n' : ''}${visible(block.join('\n'))}\n`);
    }
    if (error === undefined) continue;
    io.stderr.write(`${visible(`${site.name}: ${error}`)}\n`);
    if (hint !== undefined) io.stderr.write(`  to do: ${visible(hint)}\n`);
  }
  return commonExit(told);
}

interface Told {
  readonly site: Site;
  readonly exit: number;
  readonly status?: SiteStatus;
  readonly error?: string;
  readonly hint?: string | undefined;
}

async function statusOf(site: Site, context: Context, connections: Connections): Promise<Told> {
  try {
    return { site, exit: 0, status: await askStatus(site, context, connections) };
  } catch (error) {
    const { exitCode, message, hint } = asDeployError(error);
    return { site, exit: exitCode, error: mask(message, secretsOf(site)), hint };
  }
}

async function askStatus(
  site: Site,
  context: Context,
  connections: Connections,
): Promise<SiteStatus> {
  await using runner = await connections.to(site, warnOn(context, site.name));
  let status: SiteStatus | undefined;
  for await (const answer of ask(runner, { program: STATUS_PROGRAM, words: [site.deployPath] })) {
    if (answer.kind === 'refused') throw new DeployError('failed', answer.words.join(' '));
    if (answer.kind === 'answer') status = masked(answer.value, secretsOf(site)) as SiteStatus;
  }
  return status as SiteStatus;
}

/** Every text in it without secrets. */
function masked(value: unknown, secrets: readonly string[]): unknown {
  if (typeof value === 'string') return mask(value, secrets);
  if (Array.isArray(value)) return value.map((each) => masked(each, secrets));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, masked(each, secrets)]),
  );
}
