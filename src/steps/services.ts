import type { HealthCheck, Restart, Site } from '../config/site.ts';
import { RUN_FILES } from '../layout.ts';
import { lines, type Script, sh } from '../shell.ts';

/** Problems that would keep the services from taking up a new release. Remembers what it saw for `restartServices`. */
export const checkServices = (site: Site): readonly Script[] =>
  each(site, (at) => sh`program gunicorn.py check ${at} --state ${RUN_FILES.services}`);

/** Fails where the services can neither take up the release's environment by a reload nor be restarted. */
export const checkEnvironment = (site: Site): Script =>
  lines(...each(site, (at) => sh`program gunicorn.py environment ${at} --release "$RELEASE"`));

/** Has the release's own Gunicorn read the arguments of the live one, where one serves. */
export const checkServerConfig = (site: Site): Script =>
  lines(...each(site, (at) => sh`program gunicorn.py check-config ${at} --release "$RELEASE"`));

/** Restarts everything, in order, and proves that `$RELEASE` is served. */
export const restartServices = (site: Site): Script =>
  lines(...site.restart.map((service) => restartOne(site, service)), healthCheck(site));

/** Seconds that the health check may take on top of the proof. */
export const restartTime = ({ healthCheck }: Site): number =>
  healthCheck === undefined
    ? 0
    : healthCheck.retries * (healthCheck.timeout + healthCheck.interval);

function restartOne(site: Site, service: Restart): Script {
  const seen = sh`--state ${RUN_FILES.services} --address-file ${RUN_FILES.address}`;
  switch (service.kind) {
    case 'auto':
    case 'gunicorn':
      return sh`program gunicorn.py reload ${gunicornArguments(site, service)} --release "$RELEASE" ${seen}`;
    case 'command':
      return sh`
        in_release "$RELEASE" . sh -c ${service.command} || fail "the restart command ended with $?"
        program gunicorn.py prove ${['--venv', site.venv]} --release "$RELEASE" --address-file ${RUN_FILES.address}`;
    case 'none':
      return sh`answer unproven 'restart: none'`;
    case 'systemd':
    case 'supervisor':
    case 'touch':
      throw new TypeError(`restart: ${service.kind} is not supported yet`);
    default:
      return unreachable(service);
  }
}

/** Kinds of restart that this version cannot do, as written in sites.yml. */
export const unsupportedRestarts = (site: Site): readonly string[] =>
  site.restart
    .map(({ kind }) => kind)
    .filter((kind) => ['systemd', 'supervisor', 'touch'].includes(kind));

function healthCheck({ healthCheck }: Site): Script {
  if (healthCheck === undefined) return sh`:`;
  const ask = sh`program health.py ${healthArguments(healthCheck)}`;
  if (healthCheck.origin !== undefined || healthCheck.socket !== undefined) return ask;
  return sh`
    if [ -e ${RUN_FILES.address} ]; then
      ${ask} --address-file ${RUN_FILES.address}
    else
      answer warning 'no health check: nothing that serves the site was found'
    fi`;
}

function healthArguments(check: HealthCheck): readonly string[] {
  return [
    ...['--path', check.path, '--host', check.host, '--status', check.status.join('-')],
    ...['--timeout', String(check.timeout), '--retries', String(check.retries)],
    ...['--interval', String(check.interval)],
    ...(check.origin === undefined ? [] : ['--origin', check.origin]),
    ...(check.socket === undefined ? [] : ['--socket', check.socket]),
  ];
}

/** One line for each Gunicorn that the site names. */
function each(site: Site, line: (words: readonly string[]) => Script): readonly Script[] {
  return site.restart
    .filter(({ kind }) => kind === 'auto' || kind === 'gunicorn')
    .map((service) => line(gunicornArguments(site, service)));
}

function gunicornArguments(site: Site, service: Restart): readonly string[] {
  const at =
    service.kind === 'gunicorn' && service.path !== undefined ? ['--at', service.path] : [];
  return ['--venv', site.venv, ...at];
}

function unreachable(value: never): never {
  throw new TypeError(`not a restart kind: ${JSON.stringify(value)}`);
}
