import { chown, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { freePort, SITE } from '../support/lab.ts';
import { get } from '../support/request-loop.ts';
import { installSupervisor, type Supervisor, supervisor } from '../support/supervisor.ts';
import { account } from '../support/tmp.ts';
import { AM_ROOT, type UserWorld, userWorld } from '../support/user-world.ts';

/** supervisord is root's, Gunicorn runs as one account, and another one deploys, who sees nothing of it. */
let world: UserWorld;
let daemon: Supervisor;
let port: number;
let place: string;
/** What is asked for the health of the site. */
let doctor: Server;
let healthy = true;

beforeAll(async () => {
  if (!AM_ROOT) return;
  world = await userWorld();
  const serving = await account('deployer-serves');
  place = await world.folder(`${world.root}/p`);
  port = await freePort();
  const venv = `${world.root}/supervisor`;
  await installSupervisor(venv);
  const current = `${place}/www/current`;
  daemon = await supervisor(
    { venv, folder: `${world.root}/s`, owner: world.user.name },
    {
      web: {
        command: `"${current}/.venv/bin/gunicorn" --bind 127.0.0.1:${port} --workers 2 --no-control-socket config.wsgi`,
        directory: current,
        user: serving.name,
        environment: 'SECRET_KEY="only for tests",HOME="/tmp"',
      },
    },
  );
  doctor = createServer((_, response) => response.writeHead(healthy ? 200 : 503).end('so it is'));
  await new Promise<void>((resolve) => doctor.listen(0, '127.0.0.1', resolve));
}, 300_000);
afterAll(async () => {
  doctor?.close();
  await daemon?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const configure = (settings: Record<string, unknown>) =>
  writeFile(
    `${place}/sites.yml`,
    stringify({
      [SITE]: {
        repository: world.project.path,
        branch: 'main',
        deploy_path: `${place}/www`,
        backup_path: `${place}/backups`,
        shared_dirs: ['data'],
        env: { SECRET_KEY: 'only for tests', PIP_NO_COMPILE: '1' },
        restart: { supervisor: 'web' },
        ...settings,
      },
    }),
  );

const deploy = () => world.deployer(place, ['deploy', SITE]);
const version = async () => JSON.parse((await get({ port }, '/version')).body).version;
const release = (number: number) =>
  world.change((project) => project.commit(`${number}`, { VERSION: `${number}\n` }));
const asked = () => ({
  health_check: {
    url: `http://127.0.0.1:${(doctor.address() as AddressInfo).port}/`,
    retries: 0,
  },
});

test.skipIf(!AM_ROOT)(
  'what is hidden is proven by an answer only, in the undo as well',
  async () => {
    await configure(asked());
    const first = await deploy();
    expect(first, first.stderr).toMatchObject({ exitCode: 0 });
    expect(first.stderr).toContain('is live, and proven to be served');

    healthy = false;
    await release(2);
    const ill = await deploy();
    expect(ill, ill.stderr).toMatchObject({ exitCode: 5 });
    expect(ill.stderr).toContain('not undone: activate: the old release is not proven');
    expect(ill.stderr).toMatch(/\| .*: 503 in/);

    healthy = true;
    await configure({ ...asked(), hooks: { before_restart: 'exit 1' } });
    const undone = await deploy();
    expect(undone, undone.stderr).toMatchObject({ exitCode: 1 });
    expect(undone.stderr).not.toContain('not verified');
    expect(await version()).toBe('1');
  },
  300_000,
);

test.skipIf(!AM_ROOT)(
  'where nothing can prove the old release, its undo says that it is not verified',
  async () => {
    await configure({ hooks: { before_restart: 'exit 1' } });
    const undone = await deploy();
    expect(undone, undone.stderr).toMatchObject({ exitCode: 1 });
    expect(undone.stderr).toMatch(/live now: \w+, as before \(not verified: web \(supervisor\): /);
    expect(await version()).toBe('1');
  },
  300_000,
);

test.skipIf(!AM_ROOT)(
  'who may not ask supervisor is told a line for sudoers, and with that line the deploy passes',
  async () => {
    await configure(asked());
    await chown(`${world.root}/s/s.sock`, 0, 0);
    const refused = await deploy();
    expect(refused, refused.stderr).toMatchObject({ exitCode: 1 });
    expect(refused.stderr).toContain('may not ask supervisor, nor by sudo');
    const [line = ''] = /^ *(\S+ ALL=\(root\) NOPASSWD: .*)$/m.exec(refused.stderr)?.slice(1) ?? [];

    await using _ = await sudoers(line);
    const mended = await deploy();
    expect(mended, mended.stderr).toMatchObject({ exitCode: 0 });
    expect(mended.stderr).toContain('web (supervisor) is restarted by sudo');
    expect(mended.stderr).toContain('is live, and proven to be served');
    expect(await version()).toBe('2');
  },
  300_000,
);

/** Has the real sudo obey a line until it is disposed of. */
async function sudoers(line: string): Promise<AsyncDisposable> {
  const [draft, place] = [`${world.root}/sudoers`, `/etc/sudoers.d/deployer_${process.pid}`];
  await writeFile(draft, `${line}\n`);
  // A wrong line would make every sudo of the machine complain.
  const put = 'visudo -cqf "$1" && install -m 440 "$1" "$2"';
  await execa('sh', ['-c', put, 'sh', draft, place]);
  return { [Symbol.asyncDispose]: () => rm(place) };
}
