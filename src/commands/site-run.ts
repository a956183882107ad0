import { hostname, userInfo } from 'node:os';
import type { Site } from '../config/site.ts';
import { asDeployError, DeployError } from '../errors.ts';
import type { Report } from '../events.ts';
import type { Interruption } from '../interruption.ts';
import type { Plan } from '../plan.ts';
import type { Connections } from '../runners/connect.ts';
import type { Runner } from '../runners/runner.ts';
import { runSession } from '../session.ts';
import { codeOf, refusedVerdict, type Signal, type Verdict, verdict } from '../verdict.ts';
import { type Context, sameOptions } from './context.ts';

/** Runs one command on one site, from the connection to the verdict. Never rejects: a refusal is a verdict too. */
export async function runOnSite(
  site: Site,
  planFor: (site: Site) => Plan,
  context: Context,
  options: {
    readonly report: Report;
    readonly interruption: Interruption;
    readonly connections: Connections;
    readonly force?: boolean;
  },
): Promise<Verdict> {
  try {
    const opening = options.connections.to(site, (message) =>
      options.report({ type: 'warned', site: site.name, step: undefined, message }),
    );
    opening.catch(() => {}); // it is awaited later
    await using _ = closing(opening);
    await new Promise(setImmediate); // the way begins to open, and what follows needs no waiting for it
    const plan = planFor(site);
    const outcome = await runSession(opening, plan, {
      by: whoAmI(),
      command: context.typed,
      force: options.force ?? false,
      report: options.report,
      cancel: options.interruption.cancel,
      leave: options.interruption.leave,
    });
    return verdict(plan, outcome, {
      stoppedBy: options.interruption.signal,
      options: sameOptions(context.globals),
    });
  } catch (error) {
    const { signal } = options.interruption;
    const refused = error instanceof DeployError && signal !== undefined;
    return refusedVerdict(site.name, refused ? interrupted(signal) : asDeployError(error));
  }
}

const closing = (opening: Promise<Runner>): AsyncDisposable => ({
  [Symbol.asyncDispose]: async () => {
    await (await opening.catch(() => undefined))?.[Symbol.asyncDispose]();
  },
});

/** A command that was stopped before it began. */
export const interrupted = (signal: Signal): DeployError =>
  new DeployError(codeOf(signal), 'not begun: interrupted');

function whoAmI(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return `${process.getuid?.() ?? 'somebody'}@${hostname()}`; // a uid without an account, as in a container
  }
}
