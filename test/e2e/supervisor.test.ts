import { readFile, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort, type Lab, lab, SITE } from '../support/lab.ts';
import { get, requestLoop } from '../support/request-loop.ts';
import { CELERY, installSupervisor, type Supervisor, supervisor } from '../support/supervisor.ts';

/** A Gunicorn as supervisor's users start it, and a Celery worker, both of one release. */
let world: Lab;
let daemon: Supervisor;
let port: number;

beforeAll(async () => {
  world = await lab();
  port = await freePort();
  const { site, root } = world;
  const environment = `SECRET_KEY="only for tests",SAY="${root}/said",C_FORCE_ROOT="1"`;
  const venv = `${root}/supervisor`;
  await installSupervisor(venv);
  daemon = await supervisor(
    { venv, folder: `${root}/s` },
    {
      web: {
        command: `"${site}/current/.venv/bin/gunicorn" --bind 127.0.0.1:${port} --workers 2 --no-control-socket config.wsgi`,
        directory: `${site}/current`,
        environment,
      },
      worker: {
        command: `"${site}/current/.venv/bin/celery" -A guestbook.tasks worker --concurrency 2 --loglevel WARNING`,
        directory: `${site}/current`,
        environment,
      },
    },
  );
  await world.configure({
    restart: [{ supervisor: 'web' }, { supervisor: 'worker' }],
    health_check: '/version',
  });
  await world.project.commit('A worker', { ...(await requirements('1')), ...tasks('') });
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const requirements = async (library: string) => {
  const text = await readFile(`${world.project.path}/requirements.txt`, 'utf8');
  const others = text.split('\n').filter((line) => line && !/^(tinylib|celery)/.test(line));
  return { 'requirements.txt': [...others, `tinylib==${library}`, CELERY, ''].join('\n') };
};

const tasks = (broken: string) => ({
  'guestbook/tasks.py': `import os
from pathlib import Path

import tinylib
from celery import Celery, signals

app = Celery("guestbook", broker="memory://")
${broken}

@signals.worker_ready.connect
def say(**_):
    version = (Path(__file__).resolve().parent.parent / "VERSION").read_text().strip()
    Path(os.environ["SAY"]).write_text(f"{version} {tinylib.VERSION}")
`,
});

const web = async () => JSON.parse((await get({ port }, '/version')).body);

/** What the worker has said since it was asked last. */
async function worker(): Promise<string> {
  for (let tries = 0; tries < 600; tries++) {
    const text = await readFile(`${world.root}/said`, 'utf8').catch(() => '');
    if (text !== '') {
      await rm(`${world.root}/said`);
      return text;
    }
    await pause(100);
  }
  return 'nothing';
}

test('a first deploy that fails stops again what it has started', async () => {
  await world.project.commit('Ill', tasks('raise RuntimeError("this worker does not start")'));
  const ran = await world.deployer('deploy', SITE);
  expect(ran.stderr).toContain('worker (supervisor) does not stay up');
  expect(ran.stderr).toContain('live now: nothing');
  expect(ran.stderr.match(/not undone: \w+/g)).toEqual(['not undone: migrate']); // after the switch it stays
  expect(ran).toMatchObject({ exitCode: 5, stdout: '' });
  expect(await daemon.ask('status')).toMatch(/^web +STOPPED.*\nworker +(FATAL|STOPPED|EXITED)/m);
  expect(await world.live()).toBe('');
  await world.project.commit('Well', tasks(''));
}, 400_000);

test('both are started by the first deploy, take up changed requirements, and are put back when one dies', async () => {
  const first = await world.deployer('deploy', SITE);
  expect(first).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('is live, and proven to be served'),
  });
  expect([await web(), await worker()]).toEqual([{ version: '1', library: '1' }, '1 1']);

  const loop = requestLoop({ port }, 1, 20);
  await world.project.commit('Two', { ...(await requirements('2')), VERSION: '2\n' });
  const second = await world.deployer('deploy', SITE);
  expect(second).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('is live, and proven to be served'),
  });
  expect([await web(), await worker()]).toEqual([{ version: '2', library: '2' }, '2 2']);

  await world.project.commit('Three', {
    ...tasks('raise RuntimeError("this worker does not start")'),
    VERSION: '3\n',
  });
  const third = await world.deployer('deploy', SITE);
  expect(third).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('this worker does not start'),
  });
  expect(third.stderr).toContain('worker (supervisor) does not stay up');
  expect(await world.live()).toBe(second.stdout.split(' ')[1]);
  expect([await web(), await worker()]).toEqual([{ version: '2', library: '2' }, '2 2']);
  expect(await daemon.ask('status')).toMatch(/^web +RUNNING.*\nworker +RUNNING/m);

  // A restart is a pause, but no release has answered with an error.
  const { versions, failures } = await loop.stop();
  expect(failures.filter((each) => each.startsWith('HTTP'))).toEqual([]);
  expect([...versions.keys()].sort()).toEqual(['1', '2', '3']);
}, 400_000);

test('a path to ask for, and no Gunicorn among what is restarted, is refused before anything is changed', async () => {
  await world.configure({ restart: { supervisor: 'worker' }, health_check: '/version' });
  const before = await world.releases();
  const ran = await world.deployer('deploy', SITE);
  expect(ran, ran.stderr).toMatchObject({ exitCode: 1 });
  expect(ran.stderr).toContain('give it a url or a socket');
  expect(await world.releases()).toEqual(before);
});

test('a program that supervisor does not know is refused before anything is changed', async () => {
  await world.configure({ restart: [{ supervisor: 'web' }, { supervisor: 'werker' }] });
  const before = await world.releases();
  const ran = await world.deployer('deploy', SITE);
  expect(ran).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('supervisor knows no program werker: did you mean worker?'),
  });
  expect(await world.releases()).toEqual(before);
});
