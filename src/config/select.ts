import { DeployError } from '../errors.ts';
import { suggestion } from '../nearest.ts';
import type { Site } from './site.ts';

/** The site of this name. Throws a DeployError('usage') that lists the sites where there is none. */
export function selectSite(sites: readonly Site[], name: string | undefined): Site {
  const names = sites.map((site) => site.name);
  const found = sites.find((site) => site.name === name);
  if (found !== undefined) return found;
  throw new DeployError(
    'usage',
    name === undefined
      ? 'which site? none is named'
      : `there is no site ${JSON.stringify(name)}${suggestion(name, names)}`,
    { hint: `name one of: ${names.join(', ')}` },
  );
}

const RUNNERS: readonly string[] = ['local', 'ssh', 'docker'] satisfies Site['runner'][];

/** The sites with this runner, or all. Throws a DeployError('usage') where it is no runner or has no site. */
export function selectRunner(sites: readonly Site[], runner: string | undefined): readonly Site[] {
  if (runner === undefined) return sites;
  if (!RUNNERS.includes(runner)) {
    throw new DeployError('usage', `there is no runner ${runner}${suggestion(runner, RUNNERS)}`, {
      hint: `use one of: ${RUNNERS.join(', ')}`,
    });
  }
  const chosen = sites.filter((site) => site.runner === runner);
  if (chosen.length > 0) return chosen;
  throw new DeployError('usage', `no site has runner: ${runner}`, {
    hint: 'deployer sites lists the sites with their runners',
  });
}
