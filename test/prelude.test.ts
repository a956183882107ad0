import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { prelude } from '../src/prelude.ts';
import { SECRET_NAME } from '../src/secrets.ts';
import { siteWith } from './support/site.ts';
import { tmpFolder } from './support/tmp.ts';

const SHELLS = ['dash', 'bash --posix', 'busybox sh'];

/** Runs shell text behind a site's prelude; what is said on fd 3 comes as `key=value` lines. */
async function run(
  shell: readonly string[],
  cwd: string,
  site: ReturnType<typeof siteWith>,
  text: string,
) {
  const [command = '', ...words] = shell;
  const script = `exec 3>answers\n{\nset -eu\n${prelude(site, { lenient: false }).text}\n${text}\n} </dev/null\n`;
  const result = await execa(command, words, {
    cwd,
    input: script,
    reject: false,
    env: { LANG: 'C.UTF-8' },
  });
  const { stdout } = await execa('tr', ['\\0', '\\n'], { inputFile: `${cwd}/answers` });
  return { ...result, answers: stdout.split('\n').filter(Boolean) };
}

describe.each(SHELLS)('in %s', (command) => {
  const shell = command.split(' ');
  test('env_file is read as KEY=VALUE lines and never sourced; env wins over it', async () => {
    await using tmp = await tmpFolder();
    await writeFile(
      `${tmp.path}/.env`,
      [
        '# a comment',
        'PLAIN=value',
        'export EXPORTED=yes',
        `QUOTED="two words"`,
        `SINGLE='it is $HOME'`,
        'DANGER=$(touch touched)`touch touched`',
        'EQUALS=a=b=c',
        'CARRIAGE=return\r',
        '  INDENTED=in',
        'BOTH=of the file',
        'not a line',
        'bad-name=x',
        'DB_PASSWORD=hunter22',
        'LAST=without newline',
      ].join('\n'),
    );
    const site = siteWith({ envFile: '.env', env: { BOTH: 'of the site' } });
    const { stdout, answers } = await run(
      shell,
      tmp.path,
      site,
      'environment_file; site_environment; env; ls',
    );
    const lines = stdout.split('\n');
    for (const line of [
      'PLAIN=value',
      'EXPORTED=yes',
      'QUOTED=two words',
      'SINGLE=it is $HOME',
      'DANGER=$(touch touched)`touch touched`',
      'EQUALS=a=b=c',
      'CARRIAGE=return',
      'INDENTED=in',
      'BOTH=of the site',
      'LAST=without newline',
    ])
      expect(lines).toContain(line);
    expect(lines).not.toContain('touched');
    expect(answers).toEqual(['warning=env_file: line 12 is no KEY=VALUE', 'secret=hunter22']);
  });

  test('a missing env_file fails with what to do', async () => {
    await using tmp = await tmpFolder();
    const { exitCode, answers } = await run(
      shell,
      tmp.path,
      siteWith({ envFile: '.env' }),
      'environment_file',
    );
    expect(exitCode).toBe(1);
    expect(answers).toContain('message=env_file: there is no .env in the release');
    expect(answers).toContain('hint=list it under shared_files, or commit it');
  });

  test.each([
    { files: ['manage.py'], found: '.' },
    { files: ['manage.py', 'other/manage.py'], found: '.' },
    { files: ["it's/a b/c/manage.py"], found: "./it's/a b/c" },
    { files: ['a/b/c/d/manage.py'], message: /there is no manage\.py/ },
    {
      files: ['a/manage.py', 'b/manage.py'],
      message: /several folders hold a manage\.py: .*\.\/a\/manage\.py .*\.\/b\/manage\.py/,
    },
    {
      files: ['.venv/lib/x/manage.py', 'node_modules/x/manage.py', 'site/manage.py'],
      found: './site',
    },
  ])('the project of $files is $found', async ({ files, found, message }) => {
    await using tmp = await tmpFolder();
    for (const file of files) {
      await mkdir(dirname(`${tmp.path}/release/${file}`), { recursive: true });
      await writeFile(`${tmp.path}/release/${file}`, '');
    }
    const { stdout, answers, exitCode } = await run(
      shell,
      tmp.path,
      siteWith(),
      'cd release; found=$(project); echo "$found"',
    );
    if (message)
      expect({ exitCode, said: answers.join('\n') }).toEqual({
        exitCode: 1,
        said: expect.stringMatching(message),
      });
    else expect(stdout).toBe(found);
  });
});

test('the target and the client call the same names secret', async () => {
  await using tmp = await tmpFolder();
  const words = [
    'PASS',
    'PASSWORD',
    'DB_PW',
    'PWD2',
    'API_KEY',
    'KEYBOARD',
    'secret_thing',
    'Auth',
    'AUTHOR',
    'X_AUTH',
    'SENTRY_DSN',
    'NAME',
    'KEYS',
    'TOKENS',
  ];
  const names = fc.sample(
    fc
      .array(fc.constantFrom(...words), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join('_')),
    { numRuns: 200, seed: 7 },
  );
  const unique = [...new Set(names)];
  await writeFile(`${tmp.path}/.env`, unique.map((name) => `${name}=is ${name}`).join('\n'));
  const { answers } = await run(
    ['dash'],
    tmp.path,
    siteWith({ envFile: '.env' }),
    'environment_file',
  );
  expect(answers).toEqual(
    unique.filter((name) => SECRET_NAME.test(name)).map((name) => `secret=is ${name}`),
  );
});
