import { overridden, readOverride } from '../config/override.ts';
import type { Site } from '../config/site.ts';
import { targetOf } from '../runners/connect.ts';
import { mask, visible } from '../secrets.ts';
import { configPath, readSites } from '../sites-file.ts';
import type { Context } from './context.ts';
import { table } from './table.ts';

/** Lists the configured sites, as `-H` and DEPLOYER_HOST have them. Resolves to the exit code. */
export async function listSites({ io, globals }: Pick<Context, 'io' | 'globals'>): Promise<number> {
  const override = readOverride(io.env, globals.host);
  const configured = await readSites(configPath({ io, globals }), { hostless: true });
  const sites = configured.map((site) => overridden(site, override));
  io.stdout.write(globals.json ? sites.map(jsonLine).join('') : visible(table(sites.map(cells))));
  return 0;
}

const cells = (site: Site): readonly string[] => [
  site.name,
  target(site),
  mask(site.repository, []),
  site.branch,
  site.deployPath,
];

const target = (site: Site): string =>
  site.runner === 'ssh' && site.host === undefined ? 'ssh (host from -H)' : targetOf(site);

const jsonLine = (site: Site): string =>
  `${JSON.stringify({
    site: site.name,
    runner: site.runner,
    target: target(site),
    host: site.host,
    user: site.user,
    port: site.port,
    docker_container: site.dockerContainer,
    repository: mask(site.repository, []),
    branch: site.branch,
    deploy_path: site.deployPath,
  })}\n`;
