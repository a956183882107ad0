import { readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { quote } from '../../src/shell.ts';
import { anotherPython, minorOf } from '../support/another-python.ts';
import { freePort, SITE } from '../support/lab.ts';
import { get, requestLoop } from '../support/request-loop.ts';
import { installSupervisor, supervisor } from '../support/supervisor.ts';
import { account, type OrdinaryUser } from '../support/tmp.ts';
import { type UserWorld, userWorld } from '../support/user-world.ts';

/** How the master is started: from which folder, with or without $PWD, by which words before its options. */
const STYLES = {
  A: 'cd current; `current/.venv/bin/gunicorn`',
  B: 'the same, as systemd and supervisor do it: without `PWD`',
  C: '`current/.venv/bin/python -m gunicorn --chdir current`',
  D: '`current/.venv/bin/gunicorn --chdir current`',
  E: '`current/.venv/bin/python current/.venv/bin/gunicorn --chdir current`',
  F: 'E, after `cd current`',
} as const;
type Style = keyof typeof STYLES;

/** What the second deploy brings: a branch of the project. */
const CHANGES = {
  same: 'same environment',
  changed: 'changed library',
  python: 'changed Python',
} as const;
type Change = keyof typeof CHANGES;

/** Who runs Gunicorn: who deploys, somebody else, or supervisor as somebody else. */
const OWNERS = {
  same: 'who deploys',
  other: 'another user',
  managed: 'another user, under supervisor',
} as const;
type Owner = keyof typeof OWNERS;

let world: UserWorld;
let serving: OrdinaryUser;
let minors: { readonly old: string; readonly new: string };

beforeAll(async () => {
  world = await userWorld();
  serving = await account('deployer-serves');
  const python = await anotherPython(`${world.root}/python`);
  minors = { old: await minorOf('/usr/bin/python3'), new: await minorOf(python) };
  await Promise.all([
    environment('first', '/usr/bin/python3', '1'),
    environment('changed', '/usr/bin/python3', '2'),
    environment('python', python, '3'),
    installSupervisor(`${world.root}/supervisor`),
  ]);
  await world.change(async (project) => {
    await project.commit('Name the environment', { ENVIRONMENT: 'first\n' });
    for (const change of Object.keys(CHANGES)) {
      await execa('git', ['checkout', '--quiet', '-b', change, 'main'], { cwd: project.path });
      await project.commit(`Version 2, ${change}`, {
        VERSION: '2\n',
        ENVIRONMENT: change === 'same' ? 'first\n' : `${change}\n`,
      });
    }
  });
}, 600_000);
afterAll(() => world?.[Symbol.asyncDispose]());

/** A virtualenv of the user's, with the project's requirements and a version of its library. */
async function environment(name: string, python: string, library: string): Promise<void> {
  const folder = `${world.root}/environments/${name}`;
  await world.folder(`${world.root}/environments`);
  const requirements = await readFile(`${world.project.path}/requirements.txt`, 'utf8');
  const list = `${world.root}/requirements-${name}.txt`;
  await writeFile(list, requirements.replace('tinylib==1', `tinylib==${library}`));
  await ok(world.run(world.root, [python, '-m', 'venv', folder]));
  const pip = ['install', '--quiet', '--disable-pip-version-check', '--no-compile'];
  await ok(world.run(world.root, [`${folder}/bin/pip`, ...pip, '--requirement', list]));
}

async function ok(ran: ReturnType<UserWorld['run']>): Promise<void> {
  const { exitCode, stdout, stderr } = await ran;
  expect(exitCode, `${stdout}${stderr}`).toBe(0);
}

interface Cell {
  readonly style: Style;
  readonly change: Change;
  readonly owner: Owner;
}

const CELLS: readonly Cell[] = (Object.keys(STYLES) as Style[]).flatMap((style) =>
  (Object.keys(OWNERS) as Owner[]).flatMap((owner) =>
    (Object.keys(CHANGES) as Change[]).map((change) => ({ style, change, owner })),
  ),
);

/** Deploys, starts Gunicorn, deploys the change while it is asked without a pause, and says what came of it. */
async function outcome({ style, change, owner }: Cell): Promise<string> {
  const place = await world.folder(`${world.root}/${style} ${change} ${owner}`);
  const site = `${place}/www`;
  const configure = async (branch: string) => {
    const dependencies = `ln -s ${quote(`${world.root}/environments`)}/"$(cat ENVIRONMENT)" "$RELEASE/.venv"`;
    await writeFile(
      `${place}/sites.yml`,
      stringify({
        [SITE]: {
          repository: world.project.path,
          branch,
          deploy_path: site,
          backup_path: `${place}/backups`,
          shared_dirs: ['data'],
          env: { SECRET_KEY: 'only for tests' },
          commands: { dependencies },
          health_check: '/version',
        },
      }),
    );
  };
  await configure('main');
  await ok(world.deployer(place, ['deploy', SITE]));
  await using server = await serve(style, site, owner);
  await configure(change);
  const loop = requestLoop({ port: server.port }, 2, 2);
  const { exitCode, stderr } = await world.deployer(place, ['deploy', SITE, '--verbose']);
  const { failures } = await loop.stop();
  const { version, library } = JSON.parse((await get({ port: server.port }, '/version')).body);
  const restarted = owner === 'managed' && exitCode === 0 && !stderr.includes('reloaded (HUP)');
  const requests = restarted ? 'a pause' : `${failures.length} failed`;
  const facts = `library ${library}, Python ${await server.python()}, ${requests}`;

  if (exitCode === 0) {
    expect(stderr).toContain('proven to be served');
    expect(version).toBe('2');
    expect(library, stderr).toBe({ same: '1', changed: '2', python: '3' }[change]);
    expect(await server.python(), stderr).toBe(change === 'python' ? minors.new : minors.old);
    expect(failures.filter((each) => each.startsWith('HTTP'))).toEqual([]);
    const how = restarted ? 'restarted' : /\((HUP|USR2, TERM)\)/.exec(stderr)?.[1];
    return `**${how}**: ${facts}`;
  }
  expect(exitCode, stderr).toBe(1);
  expect({ version, library, python: await server.python() }, stderr).toEqual({
    version: '1',
    library: '1',
    python: minors.old,
  });
  const step = /^ +(\w+) .*FAILED/m.exec(stderr)?.[1] as string;
  expect(['check', 'dependencies'], stderr).toContain(step);
  expect(stderr).toMatch(/Start it with:|Run it as/);
  return `refused in \`${step}\`: ${facts}`;
}

interface Server extends AsyncDisposable {
  readonly port: number;
  /** The minor version that its workers execute. */
  python(): Promise<string>;
}

async function serve(style: Style, site: string, owner: Owner): Promise<Server> {
  const current = `${site}/current`;
  const port = await freePort();
  const script = `${current}/.venv/bin/gunicorn`;
  const python = `${current}/.venv/bin/python`;
  const chdir = ['--chdir', current];
  const [folder, words, pwd] = {
    A: [current, [script], current],
    B: [current, [script], ''],
    C: [world.root, [python, '-m', 'gunicorn', ...chdir], ''],
    D: [world.root, [script, ...chdir], ''],
    E: [world.root, [python, script, ...chdir], ''],
    F: [current, [python, script, ...chdir], current],
  }[style] as [string, string[], string];
  if (owner === 'managed') return serveManaged([folder, words, pwd], site, port);
  const pidFile = `${owner === 'same' ? site : '/tmp'}/gunicorn-${port}.pid`;
  const options = [
    '--bind',
    `127.0.0.1:${port}`,
    '--workers',
    '2',
    '--no-control-socket',
    '--pid',
    pidFile,
  ];
  const env = pwd === '' ? ['env', '-u', 'PWD'] : ['env', `PWD=${pwd}`];
  const who = owner === 'same' ? world.user : serving;
  const started = world.run(folder, [...env, ...words, ...options, 'config.wsgi'], who);
  let log = '';
  started.stderr.on('data', (data: Buffer) => {
    log += data;
  });
  const master = async () => Number(await readFile(pidFile, 'utf8'));
  await answering(port, () => log);
  if (owner === 'other') await expectHidden(await master());
  return {
    port,
    python: async () => minorOfWorkers(await master()),
    [Symbol.asyncDispose]: async () => {
      process.kill(await master(), 'SIGTERM');
      await started;
      await gone(pidFile);
    },
  };
}

async function serveManaged(
  [directory, words, pwd]: [string, string[], string],
  site: string,
  port: number,
): Promise<Server> {
  const options = `--bind 127.0.0.1:${port} --workers 2 --no-control-socket config.wsgi`;
  const variables = { SECRET_KEY: 'only for tests', ...(pwd === '' ? {} : { PWD: pwd }) };
  const daemon = await supervisor(
    { venv: `${world.root}/supervisor`, folder: `${dirname(site)}/s`, owner: world.user.name },
    {
      web: {
        command: `${words.map((word) => `"${word}"`).join(' ')} ${options}`,
        directory,
        user: serving.name,
        environment: Object.entries(variables)
          .map(([name, value]) => `${name}="${value}"`)
          .join(','),
      },
    },
  );
  const master = async () => Number(await daemon.ask('pid', 'web'));
  await daemon.ask('start', 'web');
  await answering(port, () => '');
  await expectHidden(await master());
  return {
    port,
    python: async () => minorOfWorkers(await master()),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

async function minorOfWorkers(master: number): Promise<string> {
  const worker = (await children(master))[0];
  const { stdout } = await execa('readlink', [`/proc/${worker}/exe`]);
  return /python(\d\.\d+)$/.exec(stdout)?.[1] as string;
}

/** What the cells of another user are about: without it they would prove nothing. */
async function expectHidden(pid: number): Promise<void> {
  const looked = await world.run(world.root, ['readlink', `/proc/${pid}/cwd`]);
  expect(looked.exitCode).not.toBe(0);
}

async function children(pid: number): Promise<readonly string[]> {
  const { stdout } = await execa('ps', ['-o', 'pid=', '--ppid', String(pid)]);
  return stdout.split('\n').map((line) => line.trim());
}

async function answering(port: number, log: () => string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const { status } = await get({ port }, '/version').catch(() => ({ status: 0 }));
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`it does not answer:\n${log()}`);
}

async function gone(path: string): Promise<void> {
  while ((await readFile(path).catch(() => undefined)) !== undefined)
    await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Three at a time: most of a cell is waiting. */
async function all(cells: readonly Cell[]): Promise<ReadonlyMap<Cell, string>> {
  const outcomes = new Map<Cell, string>();
  const left = [...cells];
  const work = async () => {
    for (let cell = left.shift(); cell; cell = left.shift()) {
      try {
        outcomes.set(cell, await outcome(cell));
      } catch (error) {
        throw new Error(`${cell.style}, ${CHANGES[cell.change]}, ${OWNERS[cell.owner]}`, {
          cause: error,
        });
      }
    }
  };
  await Promise.all([work(), work(), work()]);
  return outcomes;
}

test('each start style either serves the new release with its libraries, or the deploy is refused before migrate: the table of the README', async () => {
  const outcomes = await all(CELLS);
  expect(outcomes.size).toBe(CELLS.length);
  const lines = [
    `| started as | by | ${Object.values(CHANGES).join(' | ')} |`,
    '|---|---|---|---|---|',
    ...(Object.keys(STYLES) as Style[]).flatMap((style) =>
      (Object.keys(OWNERS) as Owner[]).map((owner) => {
        const cells = CELLS.filter((cell) => cell.style === style && cell.owner === owner);
        const said = cells.map((cell) =>
          outcomes.get(cell)?.replaceAll(minors.new, 'new').replaceAll(minors.old, 'old'),
        );
        return `| ${style} | ${OWNERS[owner]} | ${said.join(' | ')} |`;
      }),
    ),
  ];
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
  const table = /<!-- start styles.*-->\n([\s\S]*?)\n<!-- end of start styles -->/.exec(
    readme,
  )?.[1];
  expect(table).toBe(lines.join('\n'));
}, 1_800_000);
