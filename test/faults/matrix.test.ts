import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProject } from '../support/django-project.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { type TmpFolder, tmpFolder } from '../support/tmp.ts';
import { endEngine } from './other-machine.ts';
import { ALL_PROTECTIONS, type Changes, copyWith, expectThere } from './protections.ts';
import { type Row, runRow } from './row.ts';
import { brokenRows } from './rows/broken.ts';
import { cableRows } from './rows/cable.ts';
import { clockRows } from './rows/clock.ts';
import { currentRows } from './rows/current.ts';
import { deadDiskRows } from './rows/dead-disks.ts';
import { diskRows } from './rows/disks.ts';
import { networkRows } from './rows/network.ts';
import { numberRows } from './rows/numbers.ts';
import { outputRows } from './rows/output.ts';
import { readOnlyRows } from './rows/read-only.ts';
import { containerRows, stepRows } from './rows/steps.ts';
import { togetherRows } from './rows/together.ts';
import { wayBackRows } from './rows/way-back.ts';

const ALL: readonly Row[] = [
  ...stepRows,
  ...cableRows,
  ...containerRows,
  ...togetherRows,
  ...brokenRows,
  ...wayBackRows,
  ...currentRows,
  ...diskRows,
  ...deadDiskRows,
  ...readOnlyRows,
  ...networkRows,
  ...outputRows,
  ...clockRows,
  ...numberRows,
];
const ROWS = process.env.FAULTS === 'all' ? ALL : ALL.filter((row) => row.representative);
const ROOT = process.getuid?.() === 0;
const PROVE = process.env.FAULTS_PROVE === '1';

let folder: TmpFolder;
let dependencies: string;

beforeAll(async () => {
  folder = await tmpFolder();
  await chmod(folder.path, 0o755); // a site on another machine is an ordinary user's
  const project = await createProject(join(folder.path, 'project'));
  dependencies = await readyEnvironment(join(folder.path, 'environment'), project);
});
afterAll(async () => {
  await endEngine();
  await folder?.[Symbol.asyncDispose]();
});

const copies = new Map<string, Promise<string>>();
const copyOf = (changes: Changes): Promise<string> => {
  const key = JSON.stringify(changes);
  const made = copies.get(key) ?? copyWith(changes, join(folder.path, `copy ${copies.size + 1}`));
  copies.set(key, made);
  return made;
};

for (const row of ROWS) {
  const options = { concurrent: true, timeout: 240_000 };
  test.skipIf(row.needsRoot && !ROOT)(row.name, options, async () => {
    if (PROVE) await expectRed(row);
    else
      await runRow(row, {
        ...(row.quick && { bin: await copyOf({ quick: true }) }),
        dependencies,
        limit: 180,
      });
  });
}

/** Without its protection the row must fail. */
async function expectRed(row: Row): Promise<void> {
  const bin = await copyOf({ without: row.protection, quick: row.quick === true });
  const why = await runRow(row, { dependencies, bin, limit: 60 }).then(
    () => undefined,
    (error: Error) => error.message.split('\n')[0],
  );
  console.log(`${row.name}\n  without "${row.protection}": ${why ?? 'GREEN'}`);
  expect(why, `green without "${row.protection}"`).toBeDefined();
}

test('every protection can be taken away, and some row needs it', async () => {
  for (const protection of ALL_PROTECTIONS) await expectThere(protection);
  expect(new Set(ALL.map((row) => row.protection))).toEqual(new Set(ALL_PROTECTIONS));
});
