import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Lab, lab, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { get, requestLoop } from '../support/request-loop.ts';

const DEPLOYS = 100;
const ROLLBACKS = 20;
const MAX_RELEASES = 4;
const MAX_BACKUPS = 3;

let world: Lab;

beforeAll(async () => {
  world = await lab({ max_releases: MAX_RELEASES, max_backups: MAX_BACKUPS });
  const dependencies = await readyEnvironment(join(world.root, 'ready'), world.project);
  await world.configure({ commands: { dependencies } });
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Numbers from 0 to 1 that a seed repeats. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Ways for a deploy to fail, with what each is known by. */
const FLAWS = [
  { step: 'validate', make: () => world.project.breakUrls() },
  { step: 'activate', make: () => world.project.breakViews() },
  { step: 'static', make: () => world.project.breakCollectstatic() },
  { step: 'migrate', make: () => world.project.addFailingMigration() },
] as const;

test(`${DEPLOYS} deploys, good and broken, and ${ROLLBACKS} rollbacks under four request loops`, {
  timeout: 3_600_000,
}, async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e6);
  console.log(`SEED=${seed}`);
  const random = chance(seed);
  const history = new Model();
  let commits = 1;

  const good = await deployed();
  expect(good.exitCode, good.stderr).toBe(0);
  history.deployed(good.release, '1');
  const { address } = await world.serve();
  const started = good.release;
  const loop = requestLoop(address, 4, 40);

  for (const round of rounds(random)) {
    const before = history.live;
    const what = `${round}, SEED=${seed}`;
    if (round === 'rollback' && history.candidate() !== undefined) {
      const wanted = history.candidate() as Release;
      const ran = await world.deployer('rollback', SITE);
      expect(ran.exitCode, `${what}\n${ran.stderr}`).toBe(0);
      expect(ran.stdout, what).toContain(` ${wanted.id}`);
      history.rolledBack();
    } else if (round === 'broken') {
      const { step, make } = FLAWS[Math.floor(random() * FLAWS.length)] as (typeof FLAWS)[number];
      await make();
      const ran = await deployed();
      expect(ran.exitCode, `${what}\n${ran.stderr}`).toBe(1);
      expect(ran.stderr, what).toContain(`deploy failed in ${step}`);
      expect(ran.stderr, what).toContain(`live now: ${before.id}, as before`);
      await world.project.revert();
    } else {
      const version = String(++commits);
      await world.project.commitVersion(version);
      const ran = await deployed();
      expect(ran.exitCode, `${what}\n${ran.stderr}`).toBe(0);
      expect(ran.stderr, what).toContain('proven to be served');
      history.deployed(ran.release, version);
    }
    expect(await world.live(), what).toBe(history.live.id);
    const told = await world.deployer('status', SITE, '--json');
    expect(told.exitCode, `${what}\n${told.stderr}`).toBe(0);
    const status = JSON.parse(told.stdout);
    expect(status, what).toMatchObject({ live: history.live.id, lock: null });
    expect(status.rollback?.release ?? status.rollback, what).toBe(history.candidate()?.id ?? null);
    const { body } = await get(address, '/version');
    expect(JSON.parse(body).version, what).toBe(history.live.version);
  }

  const last = await deployed();
  expect(last.exitCode, last.stderr).toBe(0);
  history.deployed(last.release, String(commits));
  expect((await loop.stop()).failures, `SEED=${seed}`).toEqual([]);
  await expectRetention(history, started);
});

interface Release {
  readonly id: string;
  readonly version: string;
}

/** What the history must come to. */
class Model {
  /** All that are on the disk. The first stays: Gunicorn was started in it. */
  #good: readonly Release[] = [];
  readonly #left = new Set<string>();
  live: Release = { id: '', version: '' };

  deployed(id: string, version: string): void {
    this.live = { id, version };
    this.#good = [...this.#good, this.live];
    const kept = this.kept();
    this.#good = this.#good.filter((each, index) => index === 0 || kept.includes(each));
  }

  /** The newest good release before the live one that no rollback has left. */
  candidate(): Release | undefined {
    return this.#good.filter(({ id }) => id < this.live.id && !this.#left.has(id)).at(-1);
  }

  rolledBack(): void {
    const candidate = this.candidate() as Release;
    this.#left.add(this.live.id);
    this.live = candidate;
  }

  /** The newest good releases, oldest first, and those that a rollback left since. */
  kept(): readonly Release[] {
    const good = this.#good.filter(({ id }) => !this.#left.has(id)).slice(-MAX_RELEASES);
    const oldest = good[0]?.id ?? '';
    const left = this.#good.filter(({ id }) => this.#left.has(id) && id > oldest);
    return [...good, ...left].sort((a, b) => (a.id < b.id ? -1 : 1));
  }
}

/** As many of each as promised, in an order that the seed decides. */
function rounds(random: () => number): readonly ('good' | 'broken' | 'rollback')[] {
  const all = [
    ...Array.from({ length: DEPLOYS }, (_, index) => (index % 3 === 0 ? 'broken' : 'good')),
    ...Array.from({ length: ROLLBACKS }, () => 'rollback'),
  ] as ('good' | 'broken' | 'rollback')[];
  const order = new Map(all.map((_, index) => [index, random()]));
  return [...all.keys()]
    .sort((a, b) => (order.get(a) as number) - (order.get(b) as number))
    .map((index) => all[index] as 'good');
}

async function deployed() {
  const ran = await world.deployer('deploy', SITE);
  return { ...ran, release: ran.stdout.split(' ')[1] ?? '' };
}

/** What is on the disk is what retention promises: no more, no less. */
async function expectRetention(history: Model, started: string): Promise<void> {
  const kept = history.kept().map(({ id }) => id);
  const releases = [...new Set([started, ...kept])].sort(); // Gunicorn would return to the first
  expect(await world.releases()).toEqual(releases);
  const backups = (await readdir(`${world.root}/backups`)).sort();
  expect(backups).toHaveLength(MAX_BACKUPS);
  expect(backups.at(-1)).toBe(`${SITE}_${history.live.id}.tar.gz`);
  const runs = await readdir(`${world.site}/.deployer/run`);
  expect(runs.filter((name) => !/\.(journal|log)$/.test(name))).toEqual([]);
  expect(await readdir(`${world.site}/.deployer/environments`)).toEqual([]);
  expect((await readFile(`${world.site}/current/VERSION`, 'utf8')).trim()).toBe(
    history.live.version,
  );
}
