import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { databaseOf } from '../support/database.ts';
import { type Lab, lab, type Ran, type Served, SITE } from '../support/lab.ts';
import { type Postgres, postgres } from '../support/postgres.ts';
import { get, requestLoop } from '../support/request-loop.ts';
import { processesOfTheRun, sessionPid } from '../support/under-way.ts';

const ADDS = 'migrations.AddField("entry", "stars", models.IntegerField(null=True))';
const ADDS_MORE = 'migrations.AddField("entry", "place", models.TextField(default="here"))';
const DROPS = 'migrations.RemoveField("entry", "written")';
const FAILS = 'migrations.RunSQL("SELECT nonsense FROM nowhere", migrations.RunSQL.noop)';

let cluster: Postgres;
let world: Lab;
let server: Served;
let engine: string;

beforeAll(async () => {
  cluster = await postgres();
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

const schema = () =>
  engine === 'SQLite'
    ? databaseOf(`${world.site}/shared/data/db.sqlite3`)
    : cluster.schema('guestbook');

const version = async () => JSON.parse((await get(server.address, '/version')).body).version;

/** Whatever the command does: the old version is served all the time, with no failed request, and stays live. */
async function oldVersionServedOn(command: () => Promise<Ran>): Promise<Ran> {
  const [live, served] = [await world.live(), await version()];
  const loop = requestLoop(server.address, 1, 5);
  const ran = await command();
  const { failures, versions } = await loop.stop();
  expect(failures).toEqual([]);
  expect([...versions.keys()]).toEqual([served]);
  expect(await world.live()).toBe(live);
  expect(await get(server.address, '/')).toMatchObject({ status: 200 });
  return ran;
}

/** Mended by the developer, the next deploy goes live. */
async function goesOn(): Promise<Ran> {
  const next = String(Number(await version()) + 1);
  await world.project.commitVersion(next);
  const ran = await world.deployer('deploy', SITE);
  expect(ran).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('proven to be served'),
  });
  expect(await version()).toBe(next);
  return ran;
}

/** A deploy whose second migration of two has told that it is under way, and waits for ever. */
async function deployAtWork() {
  const pipe = `${world.root}/at-work`;
  await rm(pipe, { force: true });
  await execa('mkfifo', [pipe]);
  const tells = `lambda *_: (open(${JSON.stringify(pipe)}, "w").write(str(__import__("os").getpid())), __import__("time").sleep(600))`;
  await world.project.addMigrations(ADDS, `${ADDS_MORE}, migrations.RunPython(${tells})`);
  const client = world.start('deploy', SITE);
  let python = '';
  const ended = client.finally(() => python === '' && writeFile(pipe, ''));
  python = await readFile(pipe, 'utf8');
  if (python === '') throw new Error(`it ended before: ${(await ended).stderr}`);
  return { client, python: Number(python) };
}

const ranOf = async (client: ReturnType<Lab['start']>): Promise<Ran> => {
  const { exitCode, stdout, stderr } = await client;
  return { exitCode, stdout: String(stdout), stderr: String(stderr) };
};

describe.each(['SQLite', 'PostgreSQL'])('%s', (name) => {
  beforeAll(async () => {
    engine = name;
    world = await lab();
    if (name === 'PostgreSQL') await world.project.useDatabase(await cluster.create('guestbook'));
    expect(await world.deployer('deploy', SITE)).toMatchObject({ exitCode: 0 });
    server = await world.serve();
  });
  afterAll(() => world?.[Symbol.asyncDispose]());
  beforeEach(async ({ onTestFailed }) => {
    const good = await world.project.head();
    onTestFailed(async () => {
      await execa('git', ['reset', '--quiet', '--hard', good], { cwd: world.project.path });
    });
  });

  test('of two migrations the second fails: the first is reversed, the schema is what it was', async () => {
    const before = await schema();
    await world.project.addMigrations(ADDS, `${ADDS_MORE}, ${FAILS}`);
    const ran = await oldVersionServedOn(() => world.deployer('deploy', SITE));
    expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
    expect(ran.stderr).toMatch(
      /deploy failed in migrate: guestbook\.\d{4}_more_\d+ failed: .*nowhere/,
    );
    expect(await schema()).toBe(before);
    await world.project.revert();
    await goesOn();
  });

  test('the Python of migrate is killed: the first is reversed, the schema is what it was', async () => {
    const before = await schema();
    const ran = await oldVersionServedOn(async () => {
      const { client, python } = await deployAtWork();
      process.kill(python, 'SIGKILL');
      return ranOf(client);
    });
    expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
    expect(ran.stderr).toContain('deploy failed in migrate');
    expect(await schema()).toBe(before);
    await world.project.revert();
    await goesOn();
  });

  test('all is killed at once in migrate: the next deploy settles it first', async () => {
    const before = await schema();
    const ran = await oldVersionServedOn(async () => {
      const { client } = await deployAtWork();
      const pids = [await sessionPid(world.site), ...(await processesOfTheRun(world.site))];
      for (const pid of pids) process.kill(pid, 'SIGKILL');
      return ranOf(client);
    });
    expect(ran).toMatchObject({ exitCode: 7 });
    await world.project.revert();
    const next = await goesOn();
    expect(next.stderr).toContain('died in migrate: settling it first');
    expect(next.stderr).toContain('it is undone');
    expect(await schema()).toBe(before);
  });

  if (name === 'PostgreSQL') {
    test('a lock that someone holds: given up, and named', async () => {
      const before = await schema();
      const reader = await cluster.hold('guestbook', 'BEGIN; SELECT count(*) FROM guestbook_entry');
      await world.project.addMigrations(ADDS);
      const ran = await oldVersionServedOn(() => world.deployer('deploy', SITE));
      await reader.end();
      expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
      expect(ran.stderr).toContain(
        `ALTER TABLE "guestbook_entry" ADD COLUMN "stars" integer NULL wanted a lock on guestbook_entry, held by process ${reader.pid} (`,
      );
      expect(ran.stderr).toContain(`SELECT pg_terminate_backend(${reader.pid})`);
      expect(await schema()).toBe(before);
      await goesOn();
    });
  }

  test('the first of two migrations drops a column and the second fails: it stays, and is named', async () => {
    await world.project.addMigrations(DROPS, FAILS);
    const ran = await oldVersionServedOn(() => world.deployer('deploy', SITE));
    expect(ran).toMatchObject({ exitCode: 5, stdout: '' });
    expect(ran.stderr).toMatch(
      /not undone: migrate: migrations stay in the database: guestbook\.\d{4}_more_\d+ \(Remove field written from entry: not a pure addition\)/,
    );
    expect(ran.stderr).toMatch(/to reverse by hand, .*: python manage\.py migrate guestbook \d{4}/);
    const folder = `${world.project.path}/guestbook/migrations`;
    const fails = (await readdir(folder)).filter((name) => /^\d{4}_/.test(name)).sort();
    await rm(`${folder}/${fails.at(-1)}`);
    await goesOn();
  });
});
