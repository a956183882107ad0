import { unlockPlan } from '../plan.ts';
import type { Context } from './context.ts';
import { type AllOptions, onAllSites, onSite, type SiteCommand } from './on-sites.ts';

export interface UnlockOptions {
  readonly force: boolean;
}

export const unlockOne = (
  context: Context,
  name: string | undefined,
  options: UnlockOptions,
): Promise<number> => onSite(context, name, command(options));

export const unlockAll = (
  context: Context,
  all: AllOptions,
  options: UnlockOptions,
): Promise<number> =>
  onAllSites(context, { ...all, question: 'Unlock all of these?' }, command(options));

const command = ({ force }: UnlockOptions): SiteCommand => ({
  action: (site) => `unlock ${site.deployPath}`,
  plan: unlockPlan,
  force,
});
