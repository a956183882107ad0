import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Lab } from './lab.ts';

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

export async function supervisor(
  world: Lab,
  programs: Readonly<Record<string, Program>>,
): Promise<Supervisor> {
  const folder = `${world.root}/s`;
  const config = `${folder}/supervisord.conf`;
  await mkdir(folder);
  const wheels = (await execa('/usr/bin/python3', [WHEELHOUSE, CELERY, SUPERVISOR])).stdout;
  await execa('/usr/bin/python3', ['-m', 'venv', `${folder}/venv`]);
  await execa(`${folder}/venv/bin/pip`, [
    ...['install', '--quiet', '--disable-pip-version-check', '--no-compile'],
    ...['--no-index', '--find-links', wheels, SUPERVISOR],
  ]);
  const sections = Object.entries(programs).map(([name, lines]) =>
    section(`program:${name}`, { autostart: 'false', stopasgroup: 'true', ...lines }),
  );
  await writeFile(config, [...BASE, ...sections].join('\n'));
  const daemon = execa(`${folder}/venv/bin/supervisord`, ['-c', config], {
    cwd: folder,
    env: { PATH: '/usr/bin:/bin', HOME: world.root },
    extendEnv: false,
    reject: false,
    stdio: 'ignore',
  });
  const ask = async (...words: readonly string[]) => {
    const asked = [`${folder}/venv/bin/supervisorctl`, '-c', config, ...words] as const;
    const [program, ...rest] = asked;
    return (await execa(program, rest, { reject: false })).stdout;
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
  section('unix_http_server', { file: '%(here)s/s.sock' }),
  section('rpcinterface:supervisor', {
    'supervisor.rpcinterface_factory': 'supervisor.rpcinterface:make_main_rpcinterface',
  }),
  section('supervisorctl', { serverurl: 'unix://%(here)s/s.sock' }),
];
