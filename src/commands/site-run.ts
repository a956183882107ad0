import { hostname, userInfo } from 'node:os';
import type { Site } from '../config/site.ts';
import { DeployError } from '../errors.ts';
import type { Report } from '../events.ts';
import type { Interruption } from '../interruption.ts';
import type { Plan } from '../plan.ts';
import { connect } from '../runners/connect.ts';
import { runSession } from '../session.ts';
import { refusedVerdict, type Verdict, verdict } from '../verdict.ts';
import type { Context } from './context.ts';

/** Runs one command on one site, from the connection to the verdict. Never rejects: a refusal is a verdict too. */
export async function runOnSite(
  site: Site,
  planFor: (site: Site) => Plan,
  context: Context,
  options: {
    readonly report: Report;
    readonly interruption: Interruption;
    readonly force?: boolean;
  },
): Promise<Verdict> {
  try {
    const plan = planFor(site);
    await using runner = await connect(site);
    const outcome = await runSession(runner, plan, {
      by: whoAmI(),
      command: context.typed,
      force: options.force ?? false,
      report: options.report,
      cancel: options.interruption.cancel,
      leave: options.interruption.leave,
    });
    return verdict(plan, outcome, options.interruption.signal);
  } catch (error) {
    if (error instanceof DeployError) return refusedVerdict(site.name, error);
    throw error;
  }
}

function whoAmI(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return `${process.getuid?.() ?? 'somebody'}@${hostname()}`; // a uid without an account, as in a container
  }
}
