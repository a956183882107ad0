import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { quote } from '../../src/shell.ts';
import { freePort, type Lab, lab, SITE } from '../support/lab.ts';

let world: Lab;

beforeAll(async () => {
  world = await lab();
});
afterAll(() => world?.[Symbol.asyncDispose]());

const deploy = async (settings: Record<string, unknown>) => {
  await world.configure(settings);
  return world.deployer('deploy', SITE, '--verbose');
};
const PATH = { health_check: '/version' };

test('a path is refused where nothing could ever tell whom to ask', async () => {
  for (const restart of ['none', { touch: `${world.root}/reload` }]) {
    const ran = await deploy({ ...PATH, restart });
    expect(ran, ran.stderr).toMatchObject({ exitCode: 1, stdout: '' });
    expect(ran.stderr).toContain(
      'give it a url or a socket, such as http://127.0.0.1:8000/version',
    );
    expect(await world.releases()).toEqual([]);
  }
});

test('a path, and a command that starts no Gunicorn on the first deploy: it is undone', async () => {
  const ran = await deploy({ ...PATH, restart: { command: 'true' } });
  expect(ran, ran.stderr).toMatchObject({ stdout: '' });
  expect(ran.stderr).toContain('deploy failed in restart: the health check has nobody to ask');
  expect(await world.live()).toBe('');
});

test('a path, and a command that restarts a Gunicorn', async () => {
  expect(await deploy({ restart: 'none' })).toMatchObject({ exitCode: 0 });
  const command = `kill -HUP "$(cat '${world.root.replaceAll("'", "'\\''")}/g.pid')"`;
  const none = await deploy({ ...PATH, restart: { command: 'true' } });
  expect(none, none.stderr).toMatchObject({ exitCode: 1 });
  expect(none.stderr).toContain('give it a url or a socket');

  const { address, stop } = await world.serve();
  await world.project.commit('Two', { VERSION: '2\n' });
  const ran = await deploy({ ...PATH, restart: { command } });
  expect(ran, ran.stderr).toMatchObject({ exitCode: 0 });
  expect(ran.stderr).toContain(
    `http://127.0.0.1:${'port' in address && address.port}/version: 200 in`,
  );
  await stop();
});

test('a path, and a command that brings back a server that has died', async () => {
  const [port, pid] = [await freePort(), `${world.root}/died.pid`];
  const current = quote(`${world.site}/current`);
  const command = [
    `SECRET_KEY=x ${current}/.venv/bin/python ${current}/.venv/bin/gunicorn --chdir ${current} --daemon`,
    `--bind 127.0.0.1:${port} --pid ${quote(pid)} --no-control-socket config.wsgi`,
  ].join(' ');
  const ran = await deploy({ ...PATH, restart: { command } });
  process.kill(Number(await readFile(pid, 'utf8')), 'SIGTERM');
  expect(ran, ran.stderr).toMatchObject({ exitCode: 0 });
  expect(ran.stderr).toContain(`http://127.0.0.1:${port}/version: 200 in`);
});
