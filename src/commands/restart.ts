import { plan } from '../plan.ts';
import { restartOnly } from '../recipes.ts';
import type { Context } from './context.ts';
import { type AllOptions, onAllSites, onSite, type SiteCommand } from './on-sites.ts';

export interface RestartOptions {
  readonly dryRun: boolean;
}

export const restartOne = (
  context: Context,
  name: string | undefined,
  options: RestartOptions,
): Promise<number> => onSite(context, name, command(options));

export const restartAll = (
  context: Context,
  all: AllOptions,
  options: RestartOptions,
): Promise<number> => onAllSites(context, all, command(options));

const command = ({ dryRun }: RestartOptions): SiteCommand => ({
  action: (site) => `restart of the services in ${site.deployPath}`,
  plan: (site) => plan(restartOnly, site),
  dryRun,
});
