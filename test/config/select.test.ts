import { expect, test } from 'vitest';
import { selectRunner, selectSite } from '../../src/config/select.ts';
import { siteWith } from '../support/site.ts';

const www = siteWith({ name: 'www.example.com' });
const shop = siteWith({ name: 'shop.example.com', runner: 'ssh', host: 'web1' });

test('a site by its name', () => {
  expect(selectSite([www, shop], 'shop.example.com')).toBe(shop);
});

test('an unknown site suggests the nearest, and lists all', () => {
  for (const [name, message] of [
    ['shop.exmaple.com', 'did you mean shop.example.com?'],
    ['quux', 'there is no site "quux"'],
    [undefined, 'which site?'],
  ] as const) {
    expect(() => selectSite([www, shop], name)).toThrowError(
      expect.objectContaining({
        code: 'usage',
        message: expect.stringContaining(message),
        hint: 'name one of: www.example.com, shop.example.com',
      }),
    );
  }
});

test('the sites of a runner', () => {
  expect(selectRunner([www, shop], undefined)).toEqual([www, shop]);
  expect(selectRunner([www, shop], 'ssh')).toEqual([shop]);
  expect(() => selectRunner([www, shop], 'docker')).toThrowError('no site has runner: docker');
  expect(() => selectRunner([www, shop], 'shh')).toThrowError('did you mean ssh?');
});
