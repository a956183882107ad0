import { describe, expect, test } from 'vitest';
import { applyOverride, readOverride } from '../../src/config/override.ts';
import type { Site } from '../../src/config/site.ts';
import { siteWith } from '../support/site.ts';

const target = ({ runner, host, user, port }: Site) => ({ runner, host, user, port });

const local = siteWith({ name: 'local', deployPath: '/srv/a' });
const ssh = siteWith({
  name: 'ssh',
  deployPath: '/srv/b',
  runner: 'ssh',
  host: 'old',
  user: 'me',
  port: 23,
});
const docker = siteWith({
  name: 'docker',
  deployPath: '/srv/c',
  runner: 'docker',
  dockerContainer: 'c',
});
const hostless = siteWith({ name: 'hostless', deployPath: '/srv/d', runner: 'ssh' });

describe('what the environment and -H say', () => {
  test.each([
    [{}, undefined, undefined],
    [{ DEPLOYER_HOST: 'web1' }, undefined, { host: 'web1', user: undefined, port: undefined }],
    [{ DEPLOYER_HOST: 'a@web1:2' }, undefined, { host: 'web1', user: 'a', port: 2 }],
    [
      { DEPLOYER_HOST: 'web1', DEPLOYER_USER: 'a', DEPLOYER_PORT: '2' },
      undefined,
      { host: 'web1', user: 'a', port: 2 },
    ],
    [
      { DEPLOYER_HOST: 'a@web1', DEPLOYER_USER: 'a' },
      undefined,
      { host: 'web1', user: 'a', port: undefined },
    ],
    [{ DEPLOYER_USER: 'a' }, undefined, { host: undefined, user: 'a', port: undefined }],
    [{ DEPLOYER_PORT: '2' }, undefined, { host: undefined, user: undefined, port: 2 }],
    [
      { DEPLOYER_HOST: 'x', DEPLOYER_USER: 'a', DEPLOYER_PORT: 'bad' },
      'web2',
      { host: 'web2', user: undefined, port: undefined },
    ],
    [{}, 'a@[::1]:2222', { host: '::1', user: 'a', port: 2222 }],
  ])('%j and -H %s', (env, flag, expected) => {
    expect(readOverride(env, flag)).toEqual(expected);
  });

  test.each([
    [{ DEPLOYER_HOST: '' }, undefined, 'DEPLOYER_HOST: "" is no host'],
    [{ DEPLOYER_HOST: '-oProxyCommand=x' }, undefined, 'DEPLOYER_HOST: '],
    [{ DEPLOYER_USER: 'a b' }, undefined, 'DEPLOYER_USER: '],
    [{ DEPLOYER_PORT: '0' }, undefined, 'DEPLOYER_PORT: "0" is no port'],
    [{ DEPLOYER_PORT: '22x' }, undefined, 'DEPLOYER_PORT: '],
    [{ DEPLOYER_HOST: 'a@web1', DEPLOYER_USER: 'b' }, undefined, 'DEPLOYER_USER: b contradicts a'],
    [{ DEPLOYER_HOST: 'web1:2', DEPLOYER_PORT: '3' }, undefined, 'DEPLOYER_PORT: 3 contradicts 2'],
    [{}, 'web1:', '-H: "" is no port'],
    [{}, '[web1]', '-H: "web1" is no host'],
    [{}, 'a@b c', '-H: '],
  ])('%j and -H %s are refused', (env, flag, message) => {
    expect(() => readOverride(env, flag)).toThrowError(message);
    expect(() => readOverride(env, flag)).toThrowError(expect.objectContaining({ code: 'usage' }));
  });
});

describe('what becomes of the sites', () => {
  test('nothing without an override', () => {
    expect(applyOverride([local, ssh, docker], undefined)).toEqual([local, ssh, docker]);
  });

  test('a host replaces the whole connection', () => {
    const changed = applyOverride([local, ssh, docker, hostless], readOverride({}, 'new'));
    const whole = { host: 'new', user: undefined, port: undefined };
    expect(changed.map(target)).toEqual([
      { runner: 'ssh', ...whole },
      { runner: 'ssh', ...whole },
      { runner: 'docker', ...whole },
      { runner: 'ssh', ...whole },
    ]);
    expect(changed[2]?.dockerContainer).toBe('c');
  });

  test('a user or a port alone is for sites that have a host', () => {
    const changed = applyOverride(
      [local, ssh, docker],
      readOverride({ DEPLOYER_USER: 'you' }, undefined),
    );
    expect(changed).toEqual([local, { ...ssh, user: 'you' }, docker]);
    expect(
      applyOverride([ssh], readOverride({ DEPLOYER_PORT: '24' }, undefined)).map(target),
    ).toEqual([{ runner: 'ssh', host: 'old', user: 'me', port: 24 }]);
  });

  test('sites that meet in one folder are refused', () => {
    const other = { ...ssh, name: 'other', deployPath: '/srv/b/c', host: 'elsewhere' };
    expect(applyOverride([ssh, other], undefined)).toHaveLength(2);
    expect(() => applyOverride([ssh, other], readOverride({}, 'new'))).toThrowError(
      'other.deploy_path: /srv/b/c lies inside /srv/b, the deploy_path of ssh',
    );
  });

  test('a site for SSH that still has no host is refused', () => {
    for (const env of [{}, { DEPLOYER_USER: 'you' }]) {
      expect(() => applyOverride([hostless], readOverride(env, undefined))).toThrowError(
        'hostless.host: is missing',
      );
    }
  });
});
