import { describe, expect, test } from 'vitest';
import { parseSites } from '../../src/config/parse.ts';
import type { Site } from '../../src/config/site.ts';
import { DeployError } from '../../src/errors.ts';
import { siteWith } from '../support/site.ts';

const REQUIRED = {
  repository: 'git@github.com:example/example.git',
  deploy_path: '/srv/www',
  backup_path: '/srv/www/backups',
};

/** sites.yml with one site whose values are written as they are given: `{ port: '022' }`. */
function oneSite(changes: Record<string, string | undefined> = {}): string {
  const lines = Object.entries({ ...REQUIRED, ...changes })
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `  ${key}: ${value}`);
  return `www.example.com:\n${lines.join('\n')}\n`;
}

const parsed = (changes: Record<string, string | undefined> = {}): Site =>
  parseSites(oneSite(changes), 'sites.yml')[0] as Site;

/** The lines of the error, without the file's name: `12:3 www.example.com.branch: what is wrong`. */
function faults(text: string): readonly string[] {
  try {
    parseSites(text, 'sites.yml');
  } catch (error) {
    expect(error).toBeInstanceOf(DeployError);
    expect((error as DeployError).exitCode).toBe(2);
    const lines = (error as DeployError).message.split('\n').slice(1);
    return lines.map((line) => line.replace(/^sites\.yml:/, ''));
  }
  return [];
}

const faultsOf = (changes: Record<string, string | undefined>): readonly string[] =>
  faults(oneSite(changes));

describe('what a site says', () => {
  test('the required keys are enough: all else has its default', () => {
    expect(parsed()).toEqual(
      siteWith({ branch: 'master', deployPath: '/srv/www', backupPath: '/srv/www/backups' }),
    );
  });

  test('the short form is what siteadd writes', () => {
    expect(parseSites('www.example.com: git@github.com:example/example.git', 'sites.yml')).toEqual([
      siteWith({
        branch: 'main',
        deployPath: '/var/www/sites/www.example.com',
        backupPath: '/var/www/sites/www.example.com/backups',
      }),
    ]);
  });

  test.each<[string, string, Partial<Site>]>([
    ['branch', '1.10', { branch: '1.10' }],
    ['branch', '2024', { branch: '2024' }],
    ['branch', 'feature/x#1', { branch: 'feature/x#1' }],
    ['deploy_path', '/srv//www/', { deployPath: '/srv/www' }],
    ['writable_chmod_mode', '775', { writableChmodMode: '775' }],
    ['writable_chmod_mode', '0775', { writableChmodMode: '775' }],
    ['writable_chmod_mode', '"0775"', { writableChmodMode: '775' }],
    ['writable_chmod_mode', '0o775', { writableChmodMode: '775' }],
    ['writable_chmod_mode', '2775', { writableChmodMode: '2775' }],
    ['shared_dirs', '[media/, "a b/ñ"]', { sharedDirs: ['media', 'a b/ñ'] }],
    ['project_path', '.', { projectPath: '.' }],
    ['requirements', 'a.txt', { requirements: ['a.txt'] }],
    ['requirements', '[a.txt, b/c.txt]', { requirements: ['a.txt', 'b/c.txt'] }],
    ['python', '/opt/python 3/bin/python3', { python: '/opt/python 3/bin/python3' }],
    [
      'env',
      '{A: 1.10, B: true, C: 0775, D: "", E: Off}',
      { env: { A: '1.10', B: 'true', C: '0775', D: '', E: 'Off' } },
    ],
    ['wsgi', 'shop.wsgi:application', { wsgi: 'shop.wsgi:application' }],
    ['restart', 'none', { restart: [{ kind: 'none' }] }],
    ['restart', 'gunicorn', { restart: [{ kind: 'gunicorn', path: undefined }] }],
    ['restart', '{gunicorn: /run/g.pid}', { restart: [{ kind: 'gunicorn', path: '/run/g.pid' }] }],
    [
      'restart',
      '[auto, {systemd: celery@1.service}, {supervisor: "a:*"}, {touch: /run/t}, {command: x && y}]',
      {
        restart: [
          { kind: 'auto' },
          { kind: 'systemd', unit: 'celery@1.service' },
          { kind: 'supervisor', program: 'a:*' },
          { kind: 'touch', file: '/run/t' },
          { kind: 'command', command: 'x && y' },
        ],
      },
    ],
    [
      'hooks',
      '{after_migrate: one, before_static: [two, three]}',
      { hooks: { after_migrate: ['one'], before_static: ['two', 'three'] } },
    ],
    ['commands', '{backup: b}', { commands: { backup: 'b' } }],
    ['timeouts', '{migrate: 3600}', { timeouts: { migrate: 3600 } }],
  ])('%s: %s', (key, value, changes) => {
    expect(parsed({ [key]: value })).toMatchObject(changes);
  });

  const health = {
    path: '/',
    origin: undefined,
    socket: undefined,
    host: 'www.example.com',
    status: [200, 399],
    timeout: 5,
    retries: 10,
    interval: 1,
  };
  test.each([
    ['/health/?a=b', { ...health, path: '/health/?a=b' }],
    ['http://127.0.0.1:8000', { ...health, origin: 'http://127.0.0.1:8000' }],
    ['https://[::1]:8443/up?x', { ...health, origin: 'https://[::1]:8443', path: '/up?x' }],
    ['{}', health],
    ['{socket: /run/g.sock, path: /up}', { ...health, socket: '/run/g.sock', path: '/up' }],
    [
      '{url: "http://localhost:8000/", path: /up, host: other.example.com}',
      { ...health, origin: 'http://localhost:8000', path: '/up', host: 'other.example.com' },
    ],
    [
      '{status: 204, timeout: 0.5, retries: 0, interval: 0}',
      { ...health, status: [204, 204], timeout: 0.5, retries: 0, interval: 0 },
    ],
    ['{status: 200-299}', { ...health, status: [200, 299] }],
  ])('health_check: %s', (value, expected) => {
    expect(parsed({ health_check: value }).healthCheck).toEqual(expected);
  });

  test.each<[Record<string, string>, Partial<Site>]>([
    [{ host: 'web1' }, { runner: 'ssh', host: 'web1', user: undefined, port: undefined }],
    [{ host: 'deploy@web1:2222' }, { runner: 'ssh', host: 'web1', user: 'deploy', port: 2222 }],
    [
      { host: 'web1', user: 'a', port: '22' },
      { host: 'web1', user: 'a', port: 22 },
    ],
    [
      { host: 'a@web1', port: '23' },
      { host: 'web1', user: 'a', port: 23 },
    ],
    [{ host: '"a@[::1]:2222"' }, { host: '::1', user: 'a', port: 2222 }],
    [{ host: '"[fe80::1%eth0]"' }, { host: 'fe80::1%eth0', port: undefined }],
    [{ host: '"2001:db8::7"' }, { host: '2001:db8::7', port: undefined }],
    [
      { runner: 'docker', docker_container: 'shop', docker_user: '"1000:1000"' },
      { runner: 'docker', host: undefined, dockerContainer: 'shop', dockerUser: '1000:1000' },
    ],
    [
      { runner: 'docker', docker_container: 'shop', host: 'web1', user: 'a' },
      { runner: 'docker', host: 'web1', user: 'a', dockerContainer: 'shop' },
    ],
  ])('the target of %j', (keys, expected) => {
    expect(parsed(keys)).toMatchObject(expected);
  });

  test.each([
    'https://github.com/e/e.git',
    'https://user:t%40k@git.example.com:8443/e.git',
    'http://127.0.0.1:3000/e.git',
    'ssh://git@[::1]:22/e.git',
    'git://host/e',
    'file:///srv/git/e.git',
    '"/srv/it\'s a repository.git"',
    'host:path/e.git',
    'git@host:~user/e.git',
  ])('repository: %s', (value) => {
    expect(parsed({ repository: value }).repository).toBe(value.replaceAll('"', ''));
  });
});

describe('what is refused', () => {
  test.each([
    ['repository', '-u', 'begins with "-"'],
    ['repository', 'ext::sh -c date', 'no repository'],
    ['repository', 'fd::17/x', 'no repository'],
    ['repository', './here', 'no repository'],
    ['repository', 'ssh://-oProxyCommand=x/y', 'no repository'],
    ['repository', 'ssh://a@-oProxyCommand=x/y', 'no repository'],
    ['repository', '"a@-oProxyCommand=x:y"', 'no repository'],
    ['repository', '"git@host:-x"', 'no repository'],
    ['repository', 'ftp://host/x', 'no repository'],
    ['repository', '"git@host:a\\nb"', 'control character'],
    ['repository', '""', 'is empty'],
    ['branch', '--upload-pack=x', 'begins with "-"'],
    ['branch', 'a..b', 'holds ".."'],
    ['branch', 'a b', 'holds one of: space'],
    ['branch', '"a~1"', 'holds one of'],
    ['branch', 'a@{1}', '"@{"'],
    ['branch', '"@"', 'no branch'],
    ['branch', 'a//b', '"//"'],
    ['branch', '/a', 'begins or ends with "/"'],
    ['branch', 'a.', 'ends with "."'],
    ['branch', 'a/.b', 'begins with "."'],
    ['branch', 'a.lock', '".lock"'],
    ['branch', 'a.lock/b', '".lock"'],
    ['branch', '"a\\x07"', 'control character'],
    ['branch', '', 'must be text'],
    ['branch', '[main]', 'must be text'],
    ['deploy_path', 'srv/www', 'must be absolute'],
    ['deploy_path', '~/www', 'nothing expands'],
    ['deploy_path', '/', 'root of the whole machine'],
    ['deploy_path', '/srv/../etc', 'holds ".."'],
    ['deploy_path', '/srv', 'belongs to the system'],
    ['deploy_path', '/var/lib/', 'belongs to the system'],
    ['deploy_path', '/etc/www', 'belongs to the system'],
    ['deploy_path', '/usr//bin/www', 'belongs to the system'],
    ['deploy_path', '/www', "site's own"],
    ['deploy_path', '/var/backups', "site's own"],
    ['deploy_path', "'/srv/a\"b'", 'holds a "'],
    ['deploy_path', '/srv/$a', 'holds $'],
    ['deploy_path', '/srv/a:b', 'holds :'],
    ['deploy_path', '"/srv/a\\nb"', 'control character'],
    ['backup_path', 'backups', 'must be absolute'],
    ['backup_path', '/etc', 'belongs to the system'],
    ['backup_path', '/srv/www/releases', 'old releases are removed'],
    ['backup_path', '/srv/www/current/backups', 'old releases are removed'],
    ['backup_path', "'/srv/a\"b'", 'holds a "'],
    ['venv', 'a/b', 'one name'],
    ['venv', '-v', 'one name'],
    ['venv', '..', 'must not be'],
    ['venv', 'releases', 'must not be'],
    ['venv', '.git', 'must not be'],
    ['runner', 'shh', 'must be one of local, ssh, docker, not "shh"; did you mean ssh?'],
    ['host', '-oProxyCommand=x', 'is no host'],
    ['host', '"web1:99999"', 'is no port'],
    ['host', '"-x@web1"', 'is no user'],
    ['host', '"a b"', 'is no host'],
    ['max_backups', '0', 'must be 1 or more'],
    ['max_releases', 'many', 'must be a number, not "many"'],
    ['max_releases', '2.5', 'must be a whole number'],
    ['forward_agent', 'yes', 'must be true or false, not "yes"'],
    ['shared_files', '.env', 'must be a list, not ".env"'],
    ['writable_chmod_mode', '789', 'octal mode'],
    ['writable_chmod_mode', 'u+w', 'octal mode'],
    ['project_path', '../x', 'holds ".."'],
    ['requirements', '/etc/x.txt', 'must be relative'],
    ['requirements', '[]', 'is an empty list'],
    ['requirements', '{}', 'must be a path or a list of them'],
    ['python', 'bin/python', 'must be absolute'],
    ['python', '-c', 'begins with "-"'],
    ['env_file', '/srv/.env', 'must be relative'],
    ['wsgi', 'app/wsgi.py', 'must be a module'],
    ['commands', '{bakcup: x}', 'unknown key; did you mean backup?'],
    ['commands', '{static: ""}', 'is empty'],
    ['timeouts', '{migrate: ten}', 'must be a number, not "ten"'],
    ['timeouts', '{lock: 5}', 'unknown key'],
    ['timeouts', '{static: 0}', 'must be 1 or more'],
    ['hooks', '{after_migrations: x}', 'did you mean after_migrate?'],
    ['hooks', '{before_lock: x}', 'nothing hooks into lock and unlock'],
    ['hooks', '{after_code: []}', 'is an empty list'],
    ['hooks', '{after_code: [x, 5]}', 'must be text'],
    ['hooks', '{after_code: {a: b}}', 'must be a shell command or a list of them'],
    ['restart', 'auot', 'did you mean auto?'],
    ['restart', 'systemd', '{systemd: UNIT}'],
    ['restart', '[auto, none]', 'stands alone'],
    ['restart', '[]', 'is an empty list'],
    ['restart', '{}', 'exactly one key'],
    ['restart', '{command: a, touch: /b}', 'exactly one key'],
    ['restart', '{gunicorn: run/g.pid}', 'must be absolute'],
    ['restart', '{systemd: -x}', 'must be a systemd unit'],
    ['restart', '[{systmd: x}]', 'unknown key; did you mean systemd?'],
    ['restart', '5', 'use auto, none, gunicorn'],
    ['health_check', 'health', 'a path such as /health/, or a URL'],
    ['health_check', '5', 'a path such as /health/, a URL, or a map'],
    ['health_check', 'http://a:b@host/', 'must not hold a user'],
    ['health_check', '{url: "http://h/x", path: /y}', 'has a path already'],
    ['health_check', '{url: "http://h/", socket: /s}', 'beside socket'],
    ['health_check', '{status: 400-200}', 'must be a status'],
    ['health_check', '{path: "/a b"}', 'percent-encoded'],
    ['health_check', '{retires: 5}', 'unknown key; did you mean retries?'],
    ['env', '{DEPLOYER_X: y}', 'begins with DEPLOYER_'],
    ['env', '{1A: y}', 'no name of an environment variable'],
    ['env', '{A: }', 'must be text, a number, true or false'],
    ['env', '{A: [1]}', 'must be text, a number, true or false'],
    ['env', '"A=b"', 'must be a map, not "A=b"'],
    ['port', '22', 'for a host, and there is none'],
    ['user', 'me', 'for a host, and there is none'],
    ['runner', 'ssh', 'is missing for runner: ssh'],
    ['runner', 'docker', 'is missing for runner: docker'],
    ['docker_container', 'shop', 'add runner: docker'],
    ['brnch', 'main', 'unknown key; did you mean branch?'],
  ])('%s: %s', (key, value, message) => {
    const found = faultsOf({ [key]: value });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
    expect(found[0]).toContain(' www.example.com.');
  });

  test.each([
    ['/etc/passwd', 'must be relative'],
    ['../x', 'holds ".."'],
    ['a/../../x', 'holds ".."'],
    ['./a', 'holds an empty part or "."'],
    ['a//b', 'holds an empty part or "."'],
    ['""', 'is empty'],
    ['-a', 'begins with "-"'],
    ['~/a', 'begins with "-" or "~"'],
    ['.git/config', 'lies in .git'],
    ['.deployer', 'lies in .deployer'],
    ['REVISION', 'lies in REVISION'],
    ['.venv/lib', 'lies in .venv'],
    ['"a\\tb"', 'control character'],
    ["'a\"b'", 'holds a "'],
  ])('%s in a list of paths', (path, message) => {
    for (const key of ['shared_files', 'shared_dirs', 'writable_dirs']) {
      const found = faultsOf({ [key]: `[ok, ${path}]` });
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(new RegExp(`^5:\\d+ www\\.example\\.com\\.${key}\\.1: `));
      expect(found[0]).toContain(message);
    }
  });

  test('paths that overlap, but a shared folder may be writable', () => {
    expect(
      faultsOf({ shared_dirs: '[media, data]', writable_dirs: '[media/cache, media]' }),
    ).toEqual([]);
    for (const keys of [
      { shared_dirs: '[media, media/x]' },
      { shared_dirs: '[a, a/]' },
      { shared_files: '[media/a]', shared_dirs: '[media]' },
      { writable_dirs: '[a, a]' },
      { shared_files: '[a]', writable_dirs: '[a/b]' },
      { venv: 'env', shared_dirs: '[env]' },
    ]) {
      expect(faultsOf(keys)).toHaveLength(1);
    }
  });

  test('a host that contradicts other keys', () => {
    expect(faultsOf({ runner: 'local', host: 'web1' })[0]).toContain('beside runner: local');
    expect(faultsOf({ host: 'a@web1:22', user: 'a', port: '22' })).toEqual([
      '6:3 www.example.com.user: is named in host too: remove one of the two',
      '7:3 www.example.com.port: is named in host too: remove one of the two',
    ]);
    expect(faultsOf({ runner: 'docker', docker_container: 'c', user: 'x' })[0]).toContain(
      'docker_user',
    );
    expect(faultsOf({ host: 'web1', docker_user: 'x' })[0]).toContain('the runner is ssh');
  });

  test('a site for SSH without a host, unless the command line gives one', () => {
    const text = oneSite({ runner: 'ssh', user: 'deploy' });
    expect(faults(text)).toEqual([
      '1:1 www.example.com.host: is missing for runner: ssh; add the line: host: HOST (or give it with -H)',
    ]);
    expect(parseSites(text, 'sites.yml', { hostless: true })[0]).toMatchObject({
      runner: 'ssh',
      host: undefined,
      user: 'deploy',
    });
  });

  test.each(['a..b', '.a', 'a/b', '-a', '"a b"', 'ñ.example.com', 'a_', `${'a'.repeat(223)}`])(
    'a site named %s',
    (name) => {
      expect(faults(`${name}: git@host:x`)[0]).toContain('is no name of a site');
    },
  );

  test('a missing key comes with the line to add', () => {
    expect(faultsOf({ repository: undefined, backup_path: undefined })).toEqual([
      '1:1 www.example.com.repository: is missing; add the line: repository: git@github.com:OWNER/PROJECT.git',
      '1:1 www.example.com.backup_path: is missing; add the line: backup_path: /srv/www/backups',
    ]);
  });
});

describe('several sites', () => {
  const at = (name: string, path: string, more = '') =>
    `${name}: {repository: 'git@host:x', deploy_path: ${path}, backup_path: /srv/backups${more}}\n`;

  test.each([
    ['/srv/x', '/srv/x', 'is the deploy_path of a too'],
    ['/srv/x', '/srv/x/', 'is the deploy_path of a too'],
    ['/srv/x', '/srv/x/y', 'lies inside /srv/x'],
    ['/srv/x/y', '/srv/x', 'holds /srv/x/y'],
  ])('%s and %s on one target', (first, second, message) => {
    for (const target of ['', ', host: web1', ', runner: docker, docker_container: c']) {
      const found = faults(at('a', first, target) + at('b', second, target));
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(/^2:\d+ b\.deploy_path: /);
      expect(found[0]).toContain(message);
    }
  });

  test('the same place is told by host and port, whatever the user', () => {
    const same = at('a', '/srv/x', ', host: u@web1') + at('b', '/srv/x', ', host: "v@WEB1:22"');
    expect(faults(same)).toHaveLength(1);
  });

  test.each([
    ['', '/srv/x', ', host: web1', '/srv/x'],
    [', host: web1', '/srv/x', ', host: web2', '/srv/x'],
    [', host: "web1:1"', '/srv/x', ', host: "web1:2"', '/srv/x'],
    [
      ', runner: docker, docker_container: c',
      '/srv/x',
      ', runner: docker, docker_container: d',
      '/srv/x',
    ],
    ['', '/srv/x', '', '/srv/xy'],
  ])('%s %s and %s %s are apart', (target, path, otherTarget, otherPath) => {
    expect(faults(at('a', path, target) + at('b', otherPath, otherTarget))).toEqual([]);
  });

  test('backups among the releases of another site', () => {
    const other =
      "b: {repository: 'git@host:x', deploy_path: /srv/y, backup_path: /srv/x/releases}\n";
    expect(faults(at('a', '/srv/x') + other)[0]).toContain(
      'b.backup_path: /srv/x/releases lies in',
    );
  });

  test('a clash is found though another key is wrong', () => {
    const found = faults(at('a', '/srv/x') + at('b', '/srv/x', ', max_backups: 0'));
    expect(found).toHaveLength(2);
  });

  test('all errors at once, in the order of the text', () => {
    const text = [
      'a.example.com:',
      '  repository: git@host:x',
      '  branch: -x',
      '  venv: a/b',
      '  deploy_path: /srv/a',
      'b.example.com:',
      '  - 1',
      'c.example.com: 5',
      'd.example.com:',
    ].join('\n');
    expect(faults(text).map((line) => line.split(': ')[0])).toEqual([
      '1:1 a.example.com.backup_path',
      '3:3 a.example.com.branch',
      '4:3 a.example.com.venv',
      '6:1 b.example.com',
      '8:1 c.example.com',
      '9:1 d.example.com',
    ]);
  });
});

describe('YAML', () => {
  const anchors = [
    'x-defaults: &defaults',
    '  repository: git@host:x',
    '  branch: dev',
    '  max_backups: 7',
    'x-more: &more',
    '  branch: other',
    '  venv: env',
  ].join('\n');
  const own = '  deploy_path: /srv/a\n  backup_path: /srv/b';

  test('anchors and merge keys: what a site says itself wins, then the earlier map', () => {
    const text = `${anchors}\na:\n  branch: mine\n  <<: *defaults\n${own}\nb:\n  <<: [*defaults, *more]\n  deploy_path: /srv/c\n  backup_path: /srv/b\n`;
    expect(parseSites(text, 'sites.yml')).toMatchObject([
      { name: 'a', branch: 'mine', maxBackups: 7, venv: '.venv' },
      { name: 'b', branch: 'dev', maxBackups: 7, venv: 'env' },
    ]);
  });

  test('a site may be the anchor of another', () => {
    const text = `www: &www\n  repository: git@host:x\n${own}\nstage:\n  <<: *www\n  deploy_path: /srv/stage\n`;
    expect(parseSites(text, 'sites.yml').map(({ deployPath }) => deployPath)).toEqual([
      '/srv/a',
      '/srv/stage',
    ]);
  });

  test('what is wrong with a merged key is shown where it stands', () => {
    const text = `x-d: &d\n  repository: git@host:x\n  max_backups: 0\na:\n  <<: *d\n${own}\n`;
    expect(faults(text)).toEqual(['3:3 a.max_backups: must be 1 or more']);
  });

  test('an alias as a value', () => {
    const text = `x-host: &host web1\na:\n  repository: git@host:x\n  host: *host\n${own}\n`;
    expect(parseSites(text, 'sites.yml')[0]).toMatchObject({ host: 'web1' });
  });

  test('x- keys with a dot are sites', () => {
    expect(parseSites('x-y.example.com: git@host:x', 'sites.yml')).toHaveLength(1);
  });

  test.each([
    ['a: [1\nb: 2', '2:1: Flow sequence'],
    ['a:\n\tb: 1', '2:1: a tab is no indentation'],
    ['a: git@host:x\n---\nb: git@host:x', '2:1: a second YAML document'],
    ['- a\n- b', '1:1: must be a map of sites'],
    ['hello', '1:1: must be a map of sites'],
    ['www.a: git@host:x\nwww.a: git@host:y', '2:1 www.a: is given twice'],
    ['a:\n  <<: *x', '2:7 a: no anchor &x stands above'],
    [
      'x-default: &default {}\na: *defalt',
      '2:4 a: no anchor &defalt stands above; did you mean default?',
    ],
    ['a: &a\n  repository: *a', '2:15 a.repository: holds itself'],
    ['a:\n  <<: text', '2:3 a: << merges maps only'],
    ['a: !secret x', '1:4: Unresolved tag: !secret'],
    ['? [a]\n: b', '1:3: a key must be a name'],
  ])('%j', (text, message) => {
    expect(faults(text)).toContainEqual(expect.stringContaining(message));
  });

  test('a key that is given twice in a site', () => {
    expect(faults(`${oneSite()}  repository: git@host:y\n`)).toEqual([
      '5:3 www.example.com.repository: is given twice',
    ]);
  });

  test('an alias that leads nowhere is one error, not two', () => {
    expect(faultsOf({ repository: '*x' })).toEqual([
      '2:15 www.example.com.repository: no anchor &x stands above',
    ]);
  });

  test.each(['', '\n', '# nothing\n', '---\n', 'x-only: {}\n', '{}'])(
    '%j names no site',
    (text) => {
      expect(() => parseSites(text, 'my.yml')).toThrowError('my.yml names no site');
    },
  );

  test('a home for anchors that is named like a site', () => {
    expect(faults('defaults: &d\n  branch: x\n')[0]).toContain('name it x-defaults');
  });
});
