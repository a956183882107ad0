import { expect, test } from 'vitest';
import { nearest, suggestion } from '../src/nearest.ts';

const KEYS = [
  'branch',
  'repository',
  'deploy_path',
  'shared_dirs',
  'shared_files',
  'env',
  'env_file',
];

test.each([
  ['brnch', 'branch'],
  ['barnch', 'branch'],
  ['repo_sitory', 'repository'],
  ['deployPath', 'deploy_path'],
  ['deploy-path', 'deploy_path'],
  ['SHARED_DIR', 'shared_dirs'],
  ['evn', 'env'],
  ['environment', undefined],
  ['x', undefined],
])('%s is meant as %s', (word, meant) => {
  expect(nearest(word, KEYS)).toBe(meant);
});

test('of several the nearest is chosen, and nothing of none', () => {
  expect(nearest('www2.example.com', ['www.example.com', 'www3.example.org'])).toBe(
    'www.example.com',
  );
  expect(nearest('www', [])).toBeUndefined();
  expect(suggestion('brnch', KEYS)).toBe('; did you mean branch?');
  expect(suggestion('quux', KEYS)).toBe('');
});
