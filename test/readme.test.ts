import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { settingsTable } from '../src/config/table.ts';
import { exitCodeOf } from '../src/errors.ts';
import { STEP_NAMES } from '../src/step-names.ts';

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
const BIN = fileURLToPath(new URL('../bin/deployer.cjs', import.meta.url));

test('its table of settings is the one of the schema', () => {
  const [, table] =
    /<!-- settings:[^\n]*-->\n([\s\S]*?)<!-- end of settings -->/.exec(readme) ?? [];
  expect(table).toBe(settingsTable());
});

test('its table of steps names them all, in their order', () => {
  const rows = [...readme.matchAll(/^\| `([a-z]+)` \|/gm)].map(([, name]) => name);
  const from = rows.indexOf('lock');
  expect(rows.slice(from, from + STEP_NAMES.length)).toEqual(STEP_NAMES);
});

test('its exit codes are those of the errors', () => {
  const { failed, locked, unreachable, partial, unknown } = {
    failed: exitCodeOf('failed'),
    locked: exitCodeOf('locked'),
    unreachable: exitCodeOf('unreachable'),
    partial: exitCodeOf('partial'),
    unknown: exitCodeOf('unknown'),
  };
  for (const code of [
    failed,
    locked,
    unreachable,
    partial,
    unknown,
    exitCodeOf('not-undone'),
    exitCodeOf('usage'),
  ]) {
    expect(readme).toMatch(new RegExp(`^\\| ${code} \\|`, 'm'));
  }
});

test('its commands are those of the help', async () => {
  const { stdout } = await execa(process.execPath, [BIN, '--help']);
  const [, list = ''] = /^Commands:\n([\s\S]*?)\n\n/m.exec(stdout) ?? [];
  const known = [...list.matchAll(/^ {2}([a-z_]+)/gm)].map(([, name]) => name);
  const named = [...readme.matchAll(/`deployer ([a-z_]+)|`([a-z]+_all)`/g)].map(
    ([, one, all]) => one ?? all,
  );
  expect([...new Set(named)].sort()).toEqual([...known].sort());
});

test('the npm scripts that it names exist', async () => {
  const { scripts } = JSON.parse(
    await readFile(new URL('../package.json', import.meta.url), 'utf8'),
  );
  const named = [...readme.matchAll(/npm (?:run ([a-z:]+)|(test))/g)].map(
    ([, script, word]) => script ?? word,
  );
  expect(named.length).toBeGreaterThan(5);
  for (const name of named) expect(Object.keys(scripts)).toContain(name);
});
