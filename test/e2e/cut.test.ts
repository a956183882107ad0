import { readFileSync } from 'node:fs';
import { access, readdir, readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BIN, exists, type Lab, lab, type Served, SITE } from '../support/lab.ts';
import { get, type RequestLoop, requestLoop } from '../support/request-loop.ts';
import {
  type Gate,
  gate,
  lockFree,
  processesOfTheRun,
  said,
  sessionPid,
} from '../support/under-way.ts';

let world: Lab;
let server: Served;
let versions = 1;

beforeAll(async () => {
  world = await lab();
  await world.deployer('deploy', SITE);
  server = await world.serve();
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** A commit with a version of its own. */
const newVersion = async () => {
  await world.project.commitVersion(String(++versions));
  return String(versions);
};

/** A deploy that is held by a hook; the hooks are gone for whatever comes after it. */
async function deployHeldAt(hook: string, held: Gate) {
  await world.configure({ hooks: { [hook]: held.hook } });
  const client = world.start('deploy', SITE, '--verbose');
  await said(client, held.word);
  await world.configure({});
  return { client };
}

/** Everything that a deploy that is undone must leave as it was. */
const state = async () => ({
  live: await world.live(),
  releases: await world.releases(),
  environments: await readdir(`${world.site}/.deployer/environments`),
  backups: await readdir(`${world.root}/backups`).catch(() => []),
  schema: await world.schema(),
});

/** Nobody is at work, and nothing is left that somebody would have to settle. */
async function expectSettled(): Promise<void> {
  await lockFree(world.site, 0);
  expect(await exists(`${world.site}/.deploy.lock`)).toBe(false);
  const runs = await readdir(`${world.site}/.deployer/run`);
  expect(runs.filter((name) => !/\.(journal|log)$/.test(name))).toEqual([]);
  const folder = `${world.site}/.deployer/environments`;
  for (const name of await readdir(folder)) await access(`${folder}/${name}/complete`);
}

/** What is served is what `current` points to. */
async function expectServed(): Promise<void> {
  const answers = Array.from({ length: 8 }, () => get(server.address, '/version'));
  const served = (await Promise.all(answers)).map(({ body }) => JSON.parse(body).version);
  const current = (await readFile(`${world.site}/current/VERSION`, 'utf8')).trim();
  expect([...new Set(served)]).toEqual([current]);
}

/** The next deploy works with nothing done by hand, and no request has failed since the loop began. */
async function expectNextDeployWorks(loop: RequestLoop): Promise<string> {
  const next = await world.deployer('deploy', SITE);
  expect(next).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('proven to be') });
  await expectSettled();
  await expectServed();
  expect((await loop.stop()).failures).toEqual([]);
  return next.stderr;
}

test.each([
  { step: 'code', change: newVersion },
  { step: 'migrate', change: () => world.project.addMigration() },
  { step: 'activate', change: newVersion },
])(
  'the client is killed in $step: the target undoes it by itself, the site serves on, the next deploy works',
  async ({ step, change }) => {
    await using held = gate(world.root);
    await change();
    const before = await state();
    const loop = requestLoop(server.address, 1, 5);
    const { client } = await deployHeldAt(`after_${step}`, held);
    client.kill('SIGKILL');
    await client;
    if (step !== 'code') {
      await expect(lockFree(world.site, 0)).rejects.toThrow();
      await held.open();
    }
    await lockFree(world.site);
    await expectSettled();
    expect(await state()).toEqual(before);
    await expectServed();
    expect(await expectNextDeployWorks(loop)).not.toContain('settling');
  },
);

test('the client is killed while pip installs: no half environment stays', async () => {
  await world.project.changeLibrary('2');
  const before = await state();
  const loop = requestLoop(server.address, 1, 5);
  const client = world.start('deploy', SITE, '--verbose');
  await said(client, 'Processing ');
  client.kill('SIGKILL');
  await lockFree(world.site);
  await expectSettled();
  expect(await state()).toEqual(before);
  await expectServed();
  await expectNextDeployWorks(loop);
  expect(JSON.parse((await get(server.address, '/version')).body).library).toBe('2');
});

test('the client is killed in restart: the restart goes on, and the release that is proven stays', async () => {
  await using held = gate(world.root);
  const version = await newVersion();
  const before = await state();
  const loop = requestLoop(server.address, 1, 5);
  const { client } = await deployHeldAt('before_restart', held);
  client.kill('SIGKILL');
  await client;
  await held.open();
  await lockFree(world.site);
  await expectSettled();
  const after = await state();
  expect(after.live > before.live).toBe(true);
  expect(after.releases).toContain(after.live);
  await expectServed();
  await loop.until((served) => served === version);
  await expectNextDeployWorks(loop);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)('%s: undone, unlocked, said, exit code %i', async (signal, exitCode) => {
  await using held = gate(world.root);
  await newVersion();
  const before = await state();
  const { client } = await deployHeldAt('after_code', held);
  client.kill(signal);
  const ended = await client;
  await expectSettled();
  expect(ended).toMatchObject({ exitCode, stdout: '' });
  expect(ended.stderr).toContain('stopping: ');
  expect(ended.stderr).toContain('deploy stopped in code, and undone');
  expect(ended.stderr).toContain(`live now: ${before.live}, as before`);
  expect(await state()).toEqual(before);
});

test('Ctrl-C twice leaves at once and says what the target does; it does it', async () => {
  await using held = gate(world.root);
  await world.project.addMigration();
  const before = await state();
  const { client } = await deployHeldAt('after_migrate', held);
  client.kill('SIGINT');
  await said(client, 'stopping: ');
  client.kill('SIGINT');
  const { exitCode, stderr } = await client;
  expect(exitCode).toBe(130);
  expect(stderr).toContain('left while in migrate');
  expect(stderr).toContain('undoes the rest, and frees the lock');
  await expect(lockFree(world.site, 0)).rejects.toThrow();
  await held.open();
  await lockFree(world.site);
  await expectSettled();
  expect(await state()).toEqual(before);
  await world.project.revert();
});

test('Ctrl-C after the proof changes nothing', async () => {
  await using held = gate(world.root);
  await newVersion();
  const before = await state();
  const { client } = await deployHeldAt('after_restart', held);
  client.kill('SIGINT');
  await said(client, 'stopping: ');
  await held.open();
  const { exitCode, stdout } = await client;
  expect(exitCode).toBe(0);
  expect(stdout).toContain(await world.live());
  expect((await world.live()) > before.live).toBe(true);
  await expectSettled();
  await expectServed();
});

const TERMINAL = `
import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    for fd in select.select([0, terminal], [], [])[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            sys.exit(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))
        os.write(1 if fd == terminal else terminal, data)
`;

test('a real ^C at a terminal reaches deployer only, and it undoes in peace', async () => {
  await using held = gate(world.root);
  await newVersion();
  const before = await state();
  await world.configure({ hooks: { before_activate: held.hook } });
  const words = ['-c', TERMINAL, process.execPath, BIN, 'deploy', SITE, '--verbose'];
  const terminal = execa('/usr/bin/python3', words, { cwd: world.root, reject: false });
  await said(terminal, held.word);
  await world.configure({});
  expect(terminalOf(await sessionPid(world.site))).toBe(0);
  terminal.stdin.write('\x03');
  await said(terminal, 'stopping: ');
  await held.open();
  const { exitCode, stdout } = await terminal;
  expect(exitCode).toBe(130);
  expect(stdout).toMatch(/deploy stopped in \w+, and undone/);
  expect(stdout).not.toContain('got an interrupt');
  await expectSettled();
  expect(await state()).toEqual(before);
});

/** The number of the terminal that a process can be interrupted from, 0 if there is none. */
function terminalOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[4]);
}

test.each([
  { step: 'migrate', change: () => world.project.addMigration() },
  { step: 'activate', change: newVersion },
])(
  'the session itself is killed in $step: the next deploy settles that first, says so, and works',
  async ({ step, change }) => {
    await using held = gate(world.root);
    await change();
    const loop = requestLoop(server.address, 1, 5);
    const { client } = await deployHeldAt(`after_${step}`, held);
    process.kill(await sessionPid(world.site), 'SIGKILL');
    const { exitCode, stderr } = await client;
    expect(exitCode).toBe(7);
    expect(stderr).toContain(`outcome unknown: the connection was lost in ${step}`);

    const next = world.start('deploy', SITE);
    await said(next, `died in ${step}: settling it first`);
    await held.open();
    const ended = await next;
    expect(ended).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('it is undone') });
    expect(ended.stderr).toContain('proven to be served');
    await expectSettled();
    await expectServed();
    expect((await loop.stop()).failures).toEqual([]);
  },
);

test('everything of the run is killed at once, after the switch: unlock settles it, and says who held it', async () => {
  await using held = gate(world.root);
  await newVersion();
  const before = await state();
  const loop = requestLoop(server.address, 1, 5);
  const { client } = await deployHeldAt('before_restart', held);
  expect(await world.live()).not.toBe(before.live);
  client.kill('SIGKILL');
  const all = [await sessionPid(world.site), ...(await processesOfTheRun(world.site))];
  await execa('kill', ['-9', ...all.map(String)], { reject: false }); // a `sleep` of the gate may have ended
  await client;
  await lockFree(world.site);

  const unlocked = await world.deployer('unlock', SITE);
  expect(unlocked).toMatchObject({ exitCode: 0 });
  expect(unlocked.stderr).toContain('died in restart: settling it first');
  expect(unlocked.stderr).toContain('it is undone');
  expect(unlocked.stderr).toMatch(/it was held by:\n[\s\S]*Command: deployer deploy/);
  expect(await state()).toEqual(before);
  await expectServed();
  expect(await expectNextDeployWorks(loop)).not.toContain('settling');
});
