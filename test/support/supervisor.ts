import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const WHEELHOUSE = fileURLToPath(new URL('wheelhouse.py', import.meta.url));

/** What a release needs to run a Celery worker, beside the project's own requirements. */
export const CELERY = 'celery==5.6.3';
const SUPERVISOR = 'supervisor==4.3.0';

/** A real supervisord with programs of a site, none of them started yet. It and they end at the end. */
export interface Supervisor extends AsyncDisposable {
  /** What `supervisorctl` says; never rejects. */
  ask(...words: readonly string[]): Promise<string>;
}

/** The lines of a program, without its head: `{command, directory, …}`. */
export type Program = Readonly<Record<string, string>>;

/** Installs it into a new virtualenv. */
export async function installSupervisor(venv: string): Promise<void> {
  const wheels = (await execa('/usr/bin/python3', [WHEELHOUSE, CELERY, SUPERVISOR])).stdout;
  await execa('/usr/bin/python3', ['-m', 'venv', venv]);
  await execa(`${venv}/bin/pip`, [
    ...['install', '--quiet', '--disable-pip-version-check', '--no-compile'],
    ...['--no-index', '--find-links', wheels, SUPERVISOR],
  ]);
}

/** `folder` is made for it; its path must be short, for there is a socket in it. `owner`: the account that may ask it. */
export async function supervisor(
  {
    venv,
    folder,
    owner,
    include,
  }: {
    readonly venv: string;
    readonly folder: string;
    readonly owner?: string;
    /** More files of programs, as a pattern. */
    readonly include?: string;
  },
  programs: Readonly<Record<string, Program>>,
): Promise<Supervisor> {
  const config = `${folder}/supervisord.conf`;
  await mkdir(folder);
  const sections = Object.entries(programs).map(([name, lines]) =>
    section(`program:${name}`, { autostart: 'false', stopasgroup: 'true', ...lines }),
  );
  const socket = section('unix_http_server', {
    file: '%(here)s/s.sock',
    ...(owner === undefined ? {} : { chown: owner }),
  });
  const more = include === undefined ? [] : [section('include', { files: include })];
  await writeFile(config, [...BASE, socket, ...more, ...sections].join('\n'));
  const daemon = execa(`${venv}/bin/supervisord`, ['-c', config], {
    cwd: folder,
    env: { PATH: '/usr/bin:/bin', HOME: folder },
    extendEnv: false,
    reject: false,
    stdio: 'ignore',
    forceKillAfterDelay: false, // it ends when its programs have
  });
  const ask = async (...words: readonly string[]) => {
    return (await execa(`${venv}/bin/supervisorctl`, ['-c', config, ...words], { reject: false }))
      .stdout;
  };
  while (!/^\w+ +STOPPED/m.test(await ask('status'))) {
    if (daemon.exitCode !== null && daemon.exitCode !== undefined) {
      throw new Error(await readFile(`${folder}/supervisord.log`, 'utf8'));
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    ask,
    [Symbol.asyncDispose]: async () => {
      daemon.kill('SIGTERM');
      await daemon;
    },
  };
}

const section = (name: string, lines: Program): string =>
  [`[${name}]`, ...Object.entries(lines).map(([key, value]) => `${key}=${value}`), ''].join('\n');

const BASE = [
  section('supervisord', {
    nodaemon: 'true',
    logfile: '%(here)s/supervisord.log',
    pidfile: '%(here)s/supervisord.pid',
    childlogdir: '%(here)s',
  }),
  section('rpcinterface:supervisor', {
    'supervisor.rpcinterface_factory': 'supervisor.rpcinterface:make_main_rpcinterface',
  }),
  section('supervisorctl', { serverurl: 'unix://%(here)s/s.sock' }),
];
