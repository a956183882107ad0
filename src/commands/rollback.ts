import { plan } from '../plan.ts';
import { rollback } from '../recipes.ts';
import type { Context } from './context.ts';
import { type AllOptions, onAllSites, onSite, type SiteCommand } from './on-sites.ts';

export interface RollbackOptions {
  readonly to: string | undefined;
  readonly dryRun: boolean;
}

export const rollbackOne = (
  context: Context,
  name: string | undefined,
  options: RollbackOptions,
): Promise<number> => onSite(context, name, command(options));

export const rollbackAll = (
  context: Context,
  all: AllOptions,
  options: RollbackOptions,
): Promise<number> =>
  onAllSites(context, { ...all, question: 'Roll all of these back?' }, command(options));

const command = ({ to, dryRun }: RollbackOptions): SiteCommand => ({
  action: (site) =>
    `rollback ${to === undefined ? 'to the previous good release' : `to ${to}`} in ${site.deployPath}`,
  plan: (site) => plan(rollback({ to }), site),
  dryRun,
  skipped: ({ reason }) =>
    reason === 'nothing-to-roll-back' ? 'nothing to go back to' : undefined,
});
