import { plan } from '../plan.ts';
import { deploy } from '../recipes.ts';
import type { Context } from './context.ts';
import { type AllOptions, onAllSites, onSite, type SiteCommand } from './on-sites.ts';

export interface DeployOptions {
  readonly rebuild: boolean;
  readonly dryRun: boolean;
}

export const deployOne = (
  context: Context,
  name: string | undefined,
  options: DeployOptions,
): Promise<number> => onSite(context, name, command(options));

export const deployAll = (
  context: Context,
  all: AllOptions,
  options: DeployOptions,
): Promise<number> => onAllSites(context, all, command(options));

const command = ({ rebuild, dryRun }: DeployOptions): SiteCommand => ({
  action: (site) => `deploy of ${site.branch} to ${site.deployPath}`,
  plan: (site) => plan(deploy({ rebuild }), site),
  dryRun,
});
