import type { HealthCheck, Restart, Site } from '../config/site.ts';
import { RUN_FILES, servicesSeen } from '../layout.ts';
import { inTurn, lines, program, RELEASE, type Script, sh } from '../shell.ts';
import { TIME_LIMITS } from '../step-names.ts';

/** Says what would keep the services from taking up a new release, and remembers which run now. One script for each. */
export const checkServices = (site: Site): readonly Script[] =>
  servicesOf(site).flatMap(({ check }) => check ?? []);

/** Fails where the services can neither take up the release's environment by a reload nor be restarted. */
export const checkEnvironment = (site: Site): readonly Script[] =>
  servicesOf(site).flatMap(({ environment }) => environment ?? []);

/** Has the release's own server read the arguments of the live one, where one serves. */
export const checkServerConfig = (site: Site): readonly Script[] =>
  servicesOf(site).flatMap(({ config }) => config ?? []);

/** Restarts everything, in order, and proves that `$RELEASE` is served. */
export const restartServices = (site: Site): Script => {
  const restarts = servicesOf(site).map(({ restart }) => restart);
  const several = restarts.length > 1; // one shell then: it goes on to the last, even if its session dies
  return inTurn(...(several ? [lines(...restarts)] : restarts), ...healthCheck(site));
};

/**
 * The same for the release that was live before. An answer that the health check dislikes is only told, for it may never
 * have liked that release; but not where it was a part of the proof.
 */
export const restoreServices = (site: Site): Script =>
  lines(
    sh`restored=yes`,
    ...servicesOf(site).map(
      ({ restart }) => sh`
      ( ${restart}
      ) || restored=no`,
    ),
    sh`[ "$restored" = yes ] || exit 1`,
    ...healthCheck(site).map(
      (ask) => sh`
      ( ${ask}
      ) || {
        [ ! -e ${RUN_FILES.answerDecides} ] || fail 'the old release is not proven: what it runs is hidden, and the health check does not like what answers'
        answer warning 'the health check does not like what the old release answers'
      }`,
    ),
  );

/** Ends again what this run has started, where no release was live before. */
export const stopServices = (site: Site): Script =>
  lines(...servicesOf(site).flatMap(({ stop }) => stop ?? []));

/** Seconds on top of one service's proof: for each service more, and for the health check. */
export const restartTime = ({ healthCheck, restart, timeouts }: Site): number =>
  (restart.length - 1) * proofTime(timeouts) + healthCheckTime(healthCheck);

const healthCheckTime = (healthCheck: HealthCheck | undefined): number => {
  if (healthCheck === undefined) return 0;
  const { retries, timeout, interval } = healthCheck;
  return (retries + 1) * timeout + retries * interval;
};

/** What the steps do about one service. */
interface Service {
  readonly check?: Script;
  readonly environment?: Script;
  readonly config?: Script;
  readonly restart: Script;
  readonly stop?: Script;
}

/** Where it is noted for the health check, in the run's folder. */
const NOTED_ADDRESS = ['--address-file', 'address'];

const servicesOf = (site: Site): readonly Service[] =>
  site.restart.map((service, index) => serviceOf(site, service, index));

function serviceOf(site: Site, service: Restart, index: number): Service {
  switch (service.kind) {
    case 'auto':
      return gunicorn(site, [], index);
    case 'gunicorn':
      return gunicorn(site, service.path === undefined ? [] : ['--at', service.path], index);
    case 'command':
      return command(
        site,
        service.command,
        index,
        site.restart.slice(index + 1).every(({ kind }) => kind === 'command'),
      );
    case 'none':
      return { restart: sh`answer unproven 'restart: none'` };
    case 'systemd':
      return managed(site, service.kind, service.unit, index);
    case 'supervisor':
      return managed(site, service.kind, service.program, index);
    case 'touch':
      return touch(site, service.file, index);
  }
}

function gunicorn(site: Site, at: readonly string[], index: number): Service {
  const words = ['--venv', site.venv, ...at];
  const seen = ['--state', servicesSeen(index)];
  return {
    check: program('gunicorn.py', 'check', ...words, ...seen, ...NOTED_ADDRESS),
    environment: program('gunicorn.py', 'environment', ...words, '--release', RELEASE),
    config: program('gunicorn.py', 'check-config', ...words, '--release', RELEASE),
    restart: program('gunicorn.py', 'reload', ...words, ...proof(site), ...seen, ...project(site)),
  };
}

/** A manager's restart ends what serves, so a Gunicorn has read the new release's configuration before: once for all. */
function managed(site: Site, kind: 'systemd' | 'supervisor', name: string, index: number): Service {
  const words = ['--kind', kind, '--name', name, '--venv', site.venv];
  const seen = ['--state', servicesSeen(index)];
  const firstServer = site.restart.findIndex((each) => !['command', 'touch'].includes(each.kind));
  return {
    check: program('service.py', 'check', ...words, ...seen, ...NOTED_ADDRESS),
    environment: program('service.py', 'environment', ...words, '--release', RELEASE),
    ...(firstServer === index
      ? {
          config: program('gunicorn.py', 'check-config', '--venv', site.venv, '--release', RELEASE),
        }
      : {}),
    restart: program('service.py', 'restart', ...words, ...proof(site), ...seen),
    stop: program('service.py', 'stop', ...words, ...seen),
  };
}

function touch(site: Site, file: string, index: number): Service {
  const words = ['--file', file, '--venv', site.venv];
  const seen = ['--state', servicesSeen(index)];
  return {
    check: program('touch.py', 'check', ...words, ...seen),
    restart: program('touch.py', 'restart', ...words, ...seen, ...release(site)),
  };
}

const isGunicorn = ({ kind }: Restart): boolean => kind === 'auto' || kind === 'gunicorn';

/**
 * What a command restarts is proven like what a signal reloads, unless a signal is still to come; a server that it ended
 * and did not start is a failure.
 */
function command(site: Site, line: string, index: number, last: boolean): Service {
  const words = ['--venv', site.venv];
  const seen = ['--state', servicesSeen(index)];
  return {
    check: program('gunicorn.py', 'look', ...words, ...seen, ...NOTED_ADDRESS),
    restart: inTurn(
      sh`in_release "$RELEASE" . sh -c ${line} || fail "the restart command ended with $?"`,
      ...(last ? [program('gunicorn.py', 'prove', ...words, ...proof(site), ...seen)] : []),
    ),
  };
}

const proof = (site: Site) => [...release(site), ...NOTED_ADDRESS, ...asked(site)] as const;

/** What is to be proven, and how long that may take. */
const release = ({ timeouts }: Site) =>
  ['--release', RELEASE, '--timeout', proofTime(timeouts)] as const;

const project = ({ projectPath }: Site): readonly string[] =>
  projectPath === undefined ? [] : ['--project', projectPath];

/** Seconds. The proof gives up in time to say why, before the step is killed. */
const proofTime = (timeouts: Site['timeouts']): number =>
  Math.max(5, (timeouts.restart ?? TIME_LIMITS.restart) - 15);

/** Whether an answer of the site will be asked for: what another user's workers run cannot be seen without. */
function asked({ healthCheck }: Site): readonly string[] {
  if (healthCheck === undefined) return [];
  return ['--health-check', isElsewhere(healthCheck) ? 'elsewhere' : 'path'];
}

/** Whether it is asked at an address of its own, and not at that of the Gunicorn found. */
const isElsewhere = ({ origin, socket }: HealthCheck): boolean =>
  origin !== undefined || socket !== undefined;

/**
 * After `checkServices`. A path alone is asked at a Gunicorn: the services were looked at, and noted where one listens. What does not run yet may
 * be one. With `auto` the release is good without any, and the health check is left out then.
 */
export function checkAddress({ healthCheck, restart }: Site): Script | undefined {
  if (healthCheck === undefined || isElsewhere(healthCheck) || restart.some(mayStartOne)) {
    return undefined;
  }
  const known = [
    sh`[ -s ${RUN_FILES.address} ]`,
    sh`[ -e ${RUN_FILES.addressLater} ]`,
    ...restart.flatMap(({ kind }, index) =>
      kind === 'touch' || kind === 'none' ? [] : sh`[ -e "$RUN"/${servicesSeen(index)} ]`,
    ),
  ];
  const problem = `health_check: no Gunicorn is known that ${healthCheck.path} could be asked of: ${adviceFor(healthCheck)}`;
  const either = known.reduce((all, each) => sh`${all} || ${each}`);
  return sh`{ ${either} || { answer problem ${problem}; false; }; }`;
}

/** What no look at what runs tells, for it may be what brings back a server that has died. */
const mayStartOne = (service: Restart): boolean =>
  isGunicorn(service) || service.kind === 'command';

const adviceFor = ({ path }: HealthCheck): string =>
  `give it a url or a socket, such as http://127.0.0.1:8000${path}`;

/** One command. Where Gunicorn is to serve and none does yet, an answer is not needed: the release is good without. */
function healthCheck({ healthCheck, restart }: Site): readonly Script[] {
  if (healthCheck === undefined) return [];
  const elsewhere = isElsewhere(healthCheck);
  const ask = program(
    'health.py',
    ...healthArguments(healthCheck),
    ...(elsewhere ? [] : NOTED_ADDRESS),
  );
  if (!elsewhere && !restart.some(isGunicorn)) {
    return [
      sh`{ [ -s ${RUN_FILES.address} ] || fail 'the health check has nobody to ask: no Gunicorn was found' ${adviceFor(healthCheck)}; ${ask}; }`,
    ];
  }
  if (!elsewhere || !restart.some(isGunicorn)) return [ask];
  const unanswered = restart.every(isGunicorn)
    ? sh`answer warning 'no health check: nothing serves the site'`
    : sh`( ${ask}; ) || answer warning 'nothing answers the health check: no Gunicorn serves the site yet'`;
  return [sh`{ if [ -e ${RUN_FILES.address} ]; then ${ask}; else ${unanswered}; fi; }`];
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
