import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mask, secretsOf, visible, withoutCredentials } from '../src/secrets.ts';
import { sh } from '../src/shell.ts';

const plain = { repository: 'git@github.com:example/example.git', env: {} };

describe('secrets of a site', () => {
  test.each([
    ['https://ci:s3cr3t-pass@host/x.git', ['s3cr3t-pass']],
    ['https://ci:s3cr3t%2Fpass@host/x.git', ['s3cr3t%2Fpass', 's3cr3t/pass']],
    ['https://ci:p@ssword@host/x.git', ['p@ssword']],
    ['https://ghp_token@host/x.git', ['ghp_token']],
    ['https://ghp_token:@host/x.git', ['ghp_token']],
    ['https://ghp_token:x-oauth-basic@host/x.git', ['ghp_token']],
    ['ssh://deployer:s3cr3t-pass@host/x.git', ['s3cr3t-pass']],
    ['ssh://deployer@host/x.git', []],
    ['git@github.com:example/example.git', []],
    ['https://host/x@y.git', []],
  ])('repository %s', (repository, secrets) => {
    expect(secretsOf({ repository, env: {} })).toEqual(secrets);
  });

  test.each([
    'SECRET_KEY',
    'DJANGO_SECRET_KEY_FALLBACKS',
    'API_KEY',
    'APIKEY',
    'db_password',
    'PGPASSWORD',
    'DB_PASS',
    'MYSQL_PWD',
    'SENTRY_DSN',
    'AUTH_TOKEN',
    'AWS_CREDENTIALS',
    'KEY_PASSPHRASE',
    'SMTP_AUTH',
  ])('env %s', (name) => {
    expect(secretsOf({ ...plain, env: { [name]: 'correct horse' } })).toEqual(['correct horse']);
  });

  test.each([
    ['DJANGO_SETTINGS_MODULE', 'example.settings'],
    ['CACHE_KEY_PREFIX', 'example'],
    ['KEYCLOAK_HOST', 'example'],
    ['COMPASS', 'example'],
    ['SECRET_KEY', 'short'],
  ])('not env %s=%s', (name, value) => {
    expect(secretsOf({ ...plain, env: { [name]: value } })).toEqual([]);
  });

  test('credentials of URLs in env, whatever the name', () => {
    const env = {
      DATABASE_URL: 'postgres://app:pa%24%24word@db/app',
      REDIS: 'redis://:first-one@a:1,redis://:second-one@b:1',
    };
    expect(secretsOf({ ...plain, env })).toEqual([
      'pa%24%24word',
      'pa$$word',
      'first-one',
      'second-one',
    ]);
  });

  test('a key of several lines is masked in a log that is read line by line', () => {
    const key = '-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n';
    const secrets = secretsOf({ ...plain, env: { PRIVATE_KEY: key } });
    expect(key.split('\n').map((line) => mask(line, secrets))).toEqual(['***', '***', '***', '']);
  });
});

describe('mask', () => {
  test('no secret is left, also where one begins another', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b', "'", '"', '\\'), minLength: 6 })),
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b', ' ') })),
        (secrets, noise) => {
          const text = secrets.map((secret, index) => `${noise[index] ?? ''}${secret}`).join('|');
          const masked = mask(text, secrets);
          for (const secret of secrets) expect(masked).not.toContain(secret);
        },
      ),
    );
    expect(mask('hunter22-long hunter22', ['hunter22', 'hunter22-long'])).toBe('*** ***');
  });

  test('a secret is found as the shell and as JSON write it', () => {
    const value = `it's a "secret\\"`;
    const secrets = secretsOf({ ...plain, env: { SECRET: value } });
    expect(mask(sh`export SECRET=${value}`.text, secrets)).toBe("export SECRET='***'");
    expect(mask(JSON.stringify({ value }), secrets)).toBe('{"value":"***"}');
  });

  test.each([
    ["fatal: 'https://u:p@host/x'", "fatal: 'https://***@host/x'"],
    ['https://u:p@ss@host/x', 'https://***@host/x'],
    ['https://token@host', 'https://***@host'],
    ['postgresql+psycopg://a:b@db', 'postgresql+psycopg://***@db'],
    ['ssh://git@host/x', 'ssh://git@host/x'],
    ['see https://host/@x, mail me@host', 'see https://host/@x, mail me@host'],
  ])('credentials of unknown URLs: %s', (text, masked) => {
    expect(mask(text, [])).toBe(masked);
  });
});

test.each([
  ['https://ci:a%2Fb%25@host:8/x.git', 'https://host:8/x.git', 'ci', 'a/b%'],
  ['https://token@host/x', 'https://host/x', 'token', undefined],
  ['http://:p@host/x', 'http://host/x', undefined, 'p'],
  ['https://ci:100%@host/x', 'https://host/x', 'ci', '100%'],
  ['https://ci:p@ss:word@host/x', 'https://host/x', 'ci', 'p@ss:word'],
  ['https://host/a@b', 'https://host/a@b', undefined, undefined],
  ['ssh://git@host/x', 'ssh://git@host/x', undefined, undefined],
  ['git@host:x', 'git@host:x', undefined, undefined],
  ["/srv/it's/x.git", "/srv/it's/x.git", undefined, undefined],
])('%s without credentials', (given, url, user, password) => {
  expect(withoutCredentials(given)).toEqual({ url, user, password });
});

test('control characters are spelt out, lines and tabs stay', () => {
  expect(visible('a\tb\nc\r\x1b[2J\x07\x7f\x9b\u202ed é👩‍🚀')).toBe(
    'a\tb\nc\\x0d\\x1b[2J\\x07\\x7f\\x9b\\u202ed é👩‍🚀',
  );
});
