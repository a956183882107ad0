import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lab, run, textIn } from './lab.ts';

const SWITCH = {
  name: 'activate',
  run: 'mkdir -p "releases/$RELEASE"; ln -sfn "releases/$RELEASE" current',
} as const;

/** The record of a release, without the times. */
const recordOf = (site: string, release: string) =>
  textIn(site, `.deployer/history/${release}`)
    .replace(/ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, '')
    .trim()
    .split('\n');

async function releaseOf(site: string, failing = false): Promise<string> {
  const { outcome } = await run(site, [
    SWITCH,
    ...(failing ? [{ name: 'restart', run: 'exit 1' } as const] : []),
  ]);
  return 'release' in outcome ? outcome.release : '';
}

test('ids are the time, in milliseconds, UTC', async () => {
  await using place = await lab();
  const before = new Date().toISOString().replace(/[-:Z]/g, '').replace(/[T.]/g, '_');
  const release = await releaseOf(place.site);
  const after = new Date().toISOString().replace(/[-:Z]/g, '').replace(/[T.]/g, '_');
  expect(release >= before && release <= after, `${before} ${release} ${after}`).toBe(true);
});

/** Of the form of an id, but no time, or one that nothing could come after. */
const NO_TIMES = ['99999999_999999_999', '22001340_000000_000', '99991231_235959_999'];

test.each(['.deployer/history', '.deployer/run', 'releases'])(
  'ids go on from the newest name in %s, whatever the clock says, over the end of a year',
  async (folder) => {
    await using place = await lab();
    mkdirSync(join(place.site, folder), { recursive: true });
    const names = ['21991231_235959_999', 'x', '2200010_000000_0000', ...NO_TIMES];
    const ending = folder.endsWith('run') ? '.log' : '';
    for (const name of names) writeFileSync(join(place.site, folder, `${name}${ending}`), '');
    expect(await releaseOf(place.site)).toBe('22000101_000000_000');
    expect(await releaseOf(place.site, true)).toBe('22000101_000000_001');
    const { outcome } = await run(place.site, [{ name: 'restart' }], { plan: { kind: 'restart' } });
    expect(outcome.how).toBe('done');
    expect(await releaseOf(place.site)).toBe('22000101_000000_003');
  },
);

test('the history tells of every release how it went', async () => {
  await using place = await lab();
  const first = await releaseOf(place.site);
  const { outcome } = await run(place.site, [
    { name: 'code', run: 'answer commit 0123abc; answer commit "two words"' },
    { name: 'static', run: 'cat ".deployer/history/$RELEASE"; false' },
  ]);
  const failed = 'release' in outcome ? outcome.release : '';
  const second = await releaseOf(place.site);
  const back = await run(
    place.site,
    [
      {
        name: 'check',
        run: `answer release ${first}; answer release ../evil; answer release "a b"`,
      },
      { name: 'activate', run: 'echo "$RELEASE"; ln -sfn "releases/$RELEASE" current' },
    ],
    { plan: { kind: 'rollback' } },
  );
  expect(back.outcome).toMatchObject({ how: 'done', release: first, live: first });
  expect(back.log).toBe(`${first}\n`);
  expect(recordOf(place.site, first)).toEqual([
    'begun deploy ana@laptop',
    'good ana@laptop',
    'good ana@laptop',
  ]);
  expect(recordOf(place.site, failed)).toEqual([
    'begun deploy ana@laptop',
    'commit 0123abc',
    'failed undone static',
  ]);
  expect(recordOf(place.site, second)).toEqual([
    'begun deploy ana@laptop',
    'good ana@laptop',
    'left ana@laptop',
  ]);
  expect(outcome.how === 'undone' && outcome.failure?.lastLines.join('\n')).toMatch(
    /^begun .*\ncommit 0123abc$/,
  );
  expect(readdirSync(join(place.site, '.deployer/history'))).toHaveLength(3);
});

test('a release that was live before we came is good', async () => {
  await using place = await lab();
  const old = '20200101_000000_000';
  mkdirSync(join(place.site, 'releases', old), { recursive: true });
  const { outcome } = await run(place.site, [{ name: 'code', run: 'echo' }], {
    plan: { kind: 'restart' },
  });
  expect(outcome.how).toBe('done');
  symlinkSync(`releases/${old}`, join(place.site, 'current'));
  const release = await releaseOf(place.site, true);
  expect(recordOf(place.site, old)).toEqual(['good taken over']);
  expect(recordOf(place.site, release).at(-1)).toBe('failed undone restart');
  writeFileSync(join(place.site, '.deployer/history', old), 'left 2020-01-01T00:00:00Z\n');
  await releaseOf(place.site, true);
  expect(recordOf(place.site, old)).toEqual(['left']);
});

test('a deploy may not change the id that it makes', async () => {
  await using place = await lab();
  const { outcome, log } = await run(place.site, [
    { name: 'code', run: 'answer release 20200101_000000_000' },
    { name: 'release', run: 'echo "$RELEASE"' },
  ]);
  expect(outcome).toMatchObject({ how: 'done', release: log.trim() });
  expect(log.trim()).not.toBe('20200101_000000_000');
});
