import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';
import { parseSites } from '../../src/config/parse.ts';
import { IGNORED_KEY, jsonSchema, KEYS, KEYS_BELOW } from '../../src/config/schema.ts';
import { settingRows, settingsTable } from '../../src/config/table.ts';
import { siteWith } from '../support/site.ts';

const TEMPLATE = readFileSync(new URL('../../sites-dist.yml', import.meta.url), 'utf8');

describe('the JSON Schema', () => {
  const schema = jsonSchema() as {
    definitions: {
      site: { properties: Record<string, Record<string, unknown>>; required: string[] };
    };
  };
  const { site } = schema.definitions;

  test('describes every key, requires three, and gives the defaults that a site gets', () => {
    expect(Object.keys(site.properties)).toEqual(KEYS);
    expect(site.required).toEqual(['repository', 'deploy_path', 'backup_path']);
    for (const property of Object.values(site.properties))
      expect(property.description).toBeTruthy();
    const text = 'a: {repository: "git@host:x", deploy_path: /srv/a, backup_path: /srv/b}';
    const bare = parseSites(text, 'sites.yml')[0];
    const defaults = Object.entries(site.properties)
      .filter(([, property]) => 'default' in property)
      .map(([key, property]) => `${key}: ${JSON.stringify(property.default)}`);
    expect(defaults.length).toBeGreaterThan(14);
    expect(parseSites(text.replace('}', `, ${defaults.join(', ')}}`), 'sites.yml')[0]).toEqual(
      bare,
    );
  });

  test('accepts every site of the template, and refuses what is no key', () => {
    const accepted = z.fromJSONSchema(site as Parameters<typeof z.fromJSONSchema>[0]);
    for (const [name, value] of Object.entries(parse(TEMPLATE, { merge: true }))) {
      if (!IGNORED_KEY.test(name) && typeof value !== 'string') {
        expect([name, accepted.safeParse(value).error]).toEqual([name, undefined]);
      }
    }
    expect(accepted.safeParse({ brnch: 'x' }).success).toBe(false);
  });
});

describe('the table of the README', () => {
  test('has one line for each key', () => {
    expect(settingRows().map(({ key }) => key)).toEqual(KEYS);
    expect(settingsTable().split('\n')).toHaveLength(KEYS.length + 3);
    expect(settingsTable()).not.toMatch(/undefined|null/);
  });

  test.each([
    ['repository', 'yes', ''],
    ['branch', 'no', '`master`'],
    ['host', 'if `ssh`', ''],
    ['max_backups', 'no', '`5`'],
    ['shared_files', 'no', '`[]`'],
    ['writable_chmod_mode', 'no', '`775`'],
    ['writable_recursive', 'no', '`false`'],
    ['project_path', 'no', 'found'],
    ['restart', 'no', '`auto`'],
  ])('%s', (key, required, fallback) => {
    expect(settingRows()).toContainEqual(expect.objectContaining({ key, required, fallback }));
  });
});

describe('the template', () => {
  const sites = parseSites(TEMPLATE, 'sites-dist.yml');

  test('loads, and shows each case', () => {
    expect(new Set(sites.map(({ runner }) => runner))).toEqual(new Set(['local', 'ssh', 'docker']));
    expect(sites.some(({ runner, host }) => runner === 'docker' && host !== undefined)).toBe(true);
    expect(sites[0]).toEqual(
      siteWith({
        name: 'short.example.com',
        deployPath: '/var/www/sites/short.example.com',
        backupPath: '/var/www/sites/short.example.com/backups',
      }),
    );
  });

  test.each(KEYS)('shows the key %s', (key) => {
    expect(TEMPLATE).toMatch(new RegExp(`^  ${key}:`, 'm'));
  });

  test.each(Object.entries(KEYS_BELOW).filter(([key]) => !['hooks', 'timeouts'].includes(key)))(
    'shows what may stand below %s',
    (_, below) => {
      for (const key of below) expect(TEMPLATE).toMatch(new RegExp(`\\b${key}: \\S`));
    },
  );
});
