import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addSite, type NewSite } from '../../src/config/add.ts';
import { parseSites } from '../../src/config/parse.ts';
import { DeployError } from '../../src/errors.ts';

const site = (changes: Partial<NewSite> = {}): NewSite => ({
  domain: 'new.example.com',
  repository: 'git@host:new',
  settings: {},
  ...changes,
});

const LINES = `new.example.com:
  repository: git@host:new
  branch: main
  deploy_path: /var/www/sites/new.example.com
  backup_path: /var/www/sites/new.example.com/backups
`;

const refusal = (text: string | undefined, added: NewSite): DeployError => {
  try {
    addSite(text, added);
  } catch (error) {
    if (error instanceof DeployError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};

describe('what is written', () => {
  test.each([[undefined], ['']])('into no file, and an empty one: %j', (text) => {
    expect(addSite(text, site())).toBe(LINES);
  });

  test.each([
    ['# sites\n', `# sites\n\n${LINES}`],
    ['old: git@host:x', `old: git@host:x\n\n${LINES}`],
    ['old: git@host:x # why\n\n', `old: git@host:x # why\n\n\n${LINES}`],
    ['---\nold: git@host:x\n...\n# end\n', `---\nold: git@host:x\n\n${LINES}...\n# end\n`],
    ['---\n', `---\n\n${LINES}`],
    ['%YAML 1.2\n---\nold: git@host:x\n', `%YAML 1.2\n---\nold: git@host:x\n\n${LINES}`],
    ['  old: git@host:x\n', `  old: git@host:x\n\n${LINES.replace(/^(?=.)/gm, '  ')}`],
    ['old: git@host:x\r\n', `old: git@host:x\r\n\r\n${LINES.replaceAll('\n', '\r\n')}`],
    ['\ufeffold: git@host:x\n', `\ufeffold: git@host:x\n\n${LINES}`],
  ])('after %j', (text, expected) => {
    expect(addSite(text, site())).toBe(expected);
    expect(parseSites(expected, 'sites.yml').at(-1)?.name).toBe('new.example.com');
  });

  test('every option, quoted where YAML would read something else', () => {
    const settings = {
      branch: '1.10',
      deploy_path: '/srv/new/',
      venv: 'env',
      host: 'deploy@web1:2222',
      writable_chmod_mode: '0775',
      shared_dirs: ['media', '#x', 'a: b'],
      env: { A: 'true', B: '', C: "it's\ntwo lines" },
      hooks: { after_migrate: ['one', '- two'] },
      restart: [{ command: 'a && b' }],
      max_releases: 3,
    };
    const [added] = parseSites(addSite('# hi\n', site({ settings })), 'sites.yml');
    expect(added).toMatchObject({
      branch: '1.10',
      deployPath: '/srv/new',
      backupPath: '/srv/new/backups',
      runner: 'ssh',
      port: 2222,
      writableChmodMode: '775',
      sharedDirs: ['media', '#x', 'a: b'],
      env: settings.env,
      hooks: settings.hooks,
      restart: [{ kind: 'command', command: 'a && b' }],
      maxReleases: 3,
    });
  });
});

describe('what is refused', () => {
  test('a site that is there, whatever its form', () => {
    for (const text of ['new.example.com: git@host:x', '"new.example.com": git@host:x', LINES]) {
      const error = refusal(text, site());
      expect(error.code).toBe('usage');
      expect(error.message).toContain('is in sites.yml already');
    }
  });

  test('wrong values, told by their options, all at once', () => {
    const settings = { deploy_path: 'srv', env: { '1A': 'x' }, port: 22, shared_files: ['../x'] };
    const error = refusal('', site({ repository: 'ext::sh', settings }));
    expect(error.code).toBe('usage');
    for (const name of [
      'REPOSITORY: ',
      '--deploy-path: ',
      '--env 1A: ',
      '--port: ',
      '--shared-files 0: ',
    ]) {
      expect(error.message).toContain(name);
    }
    expect(refusal('', site({ domain: 'a b' })).message).toContain('DOMAIN: ');
    expect(refusal('', site({ domain: 'x-a' })).code).toBe('usage');
  });

  test('the folder of another site', () => {
    const error = refusal(
      LINES,
      site({ domain: 'b', settings: { deploy_path: '/var/www/sites/new.example.com' } }),
    );
    expect(error.message).toContain(
      '--deploy-path: /var/www/sites/new.example.com is the deploy_path of new.example.com too',
    );
  });

  test.each(['{}', '{old: "git@host:x"}', '~', '[]', 'text'])(
    'a file that is no block of lines: %s',
    (text) => {
      expect(refusal(text, site()).code).toBe('config');
    },
  );

  test('a file with errors, which are listed', () => {
    const error = refusal('old:\n  branch: -x\n', site());
    expect(error.code).toBe('config');
    expect(error.message).toContain('sites.yml:2:3 old.branch: ');
    expect(refusal('a: [', site()).message).toContain('sites.yml:1:');
  });

  test('a file whose last value would change', () => {
    const text =
      'old:\n  repository: git@host:x\n  deploy_path: /srv/x\n  backup_path: /srv/b\n  env:\n    A: |+\n      text\n';
    expect(refusal(text, site()).message).toContain('nothing can be added after it');
  });
});

test('whatever is there stays, line by line, and what is added parses', () => {
  const comment = fc.stringMatching(/^# [ -~]{0,20}$/);
  const words = fc.stringMatching(/^[ -~ñ漢]{1,20}$/).filter((text) => text.trim() !== '');
  const block = fc.record({ text: words, quoted: fc.boolean(), comment, blank: fc.boolean() }).map(
    ({ text, quoted, comment: said, blank }) =>
      (name: string) =>
        [
          said,
          `${name}:   # ${name}`,
          '   repository:   git@host:x',
          `   deploy_path: /srv/${name}`,
          '   backup_path:    /srv/backups',
          `   env: {A: ${quoted ? JSON.stringify(text) : `'${text.replaceAll("'", "''")}'`}}`,
          ...(blank ? [''] : []),
        ].join('\n'),
  );
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 4 }),
      fc.array(comment, { maxLength: 2 }),
      fc.boolean(),
      fc.dictionary(
        fc.stringMatching(/^[A-Z]{1,5}$/),
        fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', '')),
      ),
      fc.array(fc.stringMatching(/^[a-z][ -!#-.:-~]{0,9}$/), { maxLength: 3 }),
      (blocks, comments, ended, env, dirs) => {
        const old =
          [...blocks.map((make, index) => make(`site${index}`)), ...comments].join('\n') +
          (ended ? '\n' : '');
        const shared = dirs.map((dir, index) => `${index}/${dir}`);
        const added = addSite(old, site({ settings: { env, shared_dirs: shared } }));
        expect(added.startsWith(old)).toBe(true);
        const sites = parseSites(added, 'sites.yml');
        expect(sites).toHaveLength(blocks.length + 1);
        expect(sites.at(-1)).toMatchObject({ name: 'new.example.com', env, sharedDirs: shared });
        if (blocks.length > 0) expect(sites.slice(0, -1)).toEqual(parseSites(old, 'sites.yml'));
      },
    ),
    { numRuns: 300 },
  );
});
