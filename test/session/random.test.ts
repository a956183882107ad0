import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { EntryText } from '../support/plans.ts';
import { begin, expectUnlocked, lab, lockFree, run, sever, spawning } from './lab.ts';

const PARTS = ['check', 'code', 'release', 'shared', 'writable', 'dependencies', 'static'] as const;
const ROUNDS = 40;

/** A small deploy: a release of seven parts, a switch, and a check that what is live is whole. */
const STEPS: readonly EntryText[] = [
  ...PARTS.map((name) => ({
    name,
    run: `mkdir -p "releases/$RELEASE"; echo >"releases/$RELEASE/${name}"`,
    undo: `rm -f "releases/$RELEASE/${name}"; rmdir "releases/$RELEASE" 2>/dev/null || :`,
  })),
  {
    name: 'activate',
    orphan: 'finish',
    run: 'readlink current >"$RUN/previous" || :; mkdir -p .deployer/switch; rm -f .deployer/switch/current; ln -s "releases/$RELEASE" .deployer/switch/current; mv -f .deployer/switch/current .',
    undo: `[ -e "$RUN/previous" ] || exit 0
      previous=$(cat "$RUN/previous")
      if [ -z "$previous" ]; then rm -f current; exit 0; fi
      mkdir -p .deployer/switch; rm -f .deployer/switch/current; ln -s "$previous" .deployer/switch/current; mv -f .deployer/switch/current .`,
  },
  { name: 'restart', orphan: 'finish', run: '[ "$(ls current/ | wc -l)" = 7 ]' },
  { name: 'cleanup', phase: 'after', run: 'echo cleanup' },
];

function expectWholeCurrent(site: string): void {
  if (!existsSync(join(site, 'releases'))) return;
  const link = existsSync(join(site, 'current')) ? readlinkSync(join(site, 'current')) : undefined;
  if (link !== undefined) expect(readdirSync(join(site, link))).toHaveLength(PARTS.length);
}

function expectWholeReleases(site: string): void {
  for (const release of readdirSync(join(site, 'releases')))
    expect(readdirSync(join(site, 'releases', release)), release).toHaveLength(PARTS.length);
}

/** Numbers from 0 to 1 that a seed repeats. */
function chance(seed: number): () => number {
  let state = seed;
  return (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed: number = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test.each([
  ['client', sever],
  ['session', (child: ChildProcess): boolean => child.kill('SIGKILL')],
] as const)(
  'a %s killed at any moment breaks nothing, and the next deploy works',
  async (_, kill) => {
    const seed = Number(process.env.SEED ?? Date.now() % 1e6);
    console.log(`SEED=${seed}`);
    const random = chance(seed);
    await using place = await lab();
    const begun = Date.now();
    expect((await run(place.site, STEPS)).outcome.how).toBe('done');
    const whole = (Date.now() - begun) * 1.1;
    for (let round = 0; round < ROUNDS; round++) {
      const children: ChildProcess[] = [];
      const exited: Promise<unknown>[] = [];
      const { outcome } = begin(place.site, STEPS, {
        runner: spawning({
          started: (child) => {
            children.push(child);
            exited.push(new Promise((resolve) => child.on('exit', resolve)));
          },
        }),
      });
      while (children.length === 0) await pause(1);
      await pause(random() * whole);
      kill(children[0] as ChildProcess);
      await Promise.all([outcome, ...exited]);
      expectWholeCurrent(place.site);
      const next = await run(place.site, STEPS);
      expect(next.outcome, `round ${round}, SEED=${seed}`).toMatchObject({ how: 'done' });
      await lockFree(place.site);
      await expectUnlocked(place.site);
      expectWholeReleases(place.site);
      expect(readlinkSync(join(place.site, 'current'))).toBe(
        `releases/${next.outcome.how === 'done' && next.outcome.release}`,
      );
    }
  },
);
