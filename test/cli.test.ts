import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BIN, exists } from './support/lab.ts';
import { type TmpFolder, tmpFolder } from './support/tmp.ts';

let folder: TmpFolder;

beforeAll(async () => {
  folder = await tmpFolder();
  await writeFile(`${folder.path}/sites.yml`, sitesOf(['www.example.com', 'shop.example.com']));
});
afterAll(() => folder?.[Symbol.asyncDispose]());

/** Sites of which nothing is there, neither the repository nor the folder: no deploy of them gets past `check`. */
const sitesOf = (names: readonly string[], root = folder.path) =>
  names
    .map((name) => {
      const path = `${root}/srv/${name}`;
      const values = [`/nowhere/${name}.git`, path, `${path}/backups`].map((text) =>
        JSON.stringify(text),
      );
      return `${name}: {repository: ${values[0]}, deploy_path: ${values[1]}, backup_path: ${values[2]}}\n`;
    })
    .join('');

interface Surroundings {
  readonly bin?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

async function deployer(words: readonly string[], { bin = BIN, cwd, env = {} }: Surroundings = {}) {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [bin, ...words], {
    cwd: cwd ?? folder.path,
    env: { PATH: process.env.PATH ?? '', HOME: folder.path, ...env },
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
  return { exitCode, stdout, stderr };
}

/** A sites.yml of its own. */
async function fileWith(name: string, text: string): Promise<string> {
  await writeFile(`${folder.path}/${name}.yml`, text);
  return `${folder.path}/${name}.yml`;
}

test.each([
  { what: 'site', words: ['deploy', 'www.exmaple.com'], near: 'www.example.com' },
  {
    what: 'site as an option',
    words: ['rollback', '--site=shop.example.co'],
    near: 'shop.example',
  },
  { what: 'command', words: ['depoly', 'www.example.com'], near: 'deploy' },
  { what: 'option', words: ['deploy', 'www.example.com', '--rebiuld'], near: '--rebuild' },
])('an unknown $what: exit 2, and the nearest one is suggested', async ({ words, near }) => {
  const { exitCode, stdout, stderr } = await deployer(words);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toMatch(new RegExp(`did you mean.*${near.replaceAll('.', '\\.')}`, 'is'));
});

test('an unknown key: exit 2, with its line and the nearest one', async () => {
  const file = await fileWith(
    'typo',
    `${sitesOf(['a.example'])}# mind the next\nb.example:\n  repositry: x\n`,
  );
  const { exitCode, stderr } = await deployer(['sites', '--config', file]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('typo.yml:4:3');
  expect(stderr).toMatch(/repositry.*did you mean.*repository/i);
});

test.each([
  ['no command', []],
  ['a word too many', ['sites', 'more']],
  ['two words where one site goes', ['deploy', 'www.example.com', 'shop.example.com']],
  ['a runner that is none', ['deploy_all', '--runner=telnet']],
  ['a number that is none', ['deploy_all', '--parallel=0']],
  ['no site of several', ['deploy']],
  ['two different sites', ['deploy', 'www.example.com', '--site=shop.example.com']],
  ['a host that is none', ['deploy', 'www.example.com', '-H', 'a b']],
  ['no such file', ['sites', '--config', 'nowhere.yml']],
])('%s: exit 2, said on stderr, nothing done', async (_, words) => {
  const { exitCode, stdout, stderr } = await deployer(words);
  expect(exitCode).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).not.toBe('');
  expect(stderr).not.toMatch(/\n +at |fault of deployer/);
  expect(await exists(`${folder.path}/srv`)).toBe(false);
});

test.each([
  ['an unknown site', ['deploy', 'www.exmaple.com'], 'usage', /www\.exmaple\.com.*did you mean/],
  ['an unknown option', ['deploy', '--rebiuld'], 'usage', /--rebiuld/],
  ['a configuration with a fault', ['sites', '--config', 'faulty.yml'], 'config', /faulty\.yml/],
])('%s with --json: the result says it on stdout too', async (_, words, reason, said) => {
  await fileWith('faulty', 'www.example.com: {repositry: x}\n');
  const { exitCode, stdout, stderr } = await deployer([...words, '--json']);
  const result = JSON.parse(stdout);
  expect(result).toMatchObject({ type: 'result', exit: 2, reason, time: expect.any(String) });
  expect([result.summary, ...result.details].join('\n')).toMatch(said);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(said);
});

test('in GitHub Actions a usage error is an annotation with its cure', async () => {
  const env = { GITHUB_ACTIONS: 'true' };
  const { exitCode, stderr } = await deployer(['sites', '--config', 'nowhere.yml'], { env });
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/^::error::deployer: .*nowhere\.yml.*%0Ato do: /);
});

test('what is said to do next finds the same configuration', async () => {
  await using place = await tmpFolder();
  const file = await fileWith('my sites', sitesOf(['www.example.com'], place.path));
  const { stderr } = await deployer(['deploy', 'www.example.com', '--config', file]);
  const command = `deployer deploy www.example.com --config '${file.replaceAll("'", `'\\''`)}'`;
  expect(stderr).toContain(`then run ${command} again`);
});

test('a site is named as a word, as an option, or as both alike', async () => {
  const scripts = await Promise.all(
    [
      ['www.example.com'],
      ['--site=www.example.com'],
      ['--site', 'www.example.com', 'www.example.com'],
    ].map((words) => deployer(['deploy', '--dry-run', ...words])),
  );
  for (const { exitCode, stdout } of scripts) {
    expect(exitCode).toBe(0);
    expect(stdout).toContain('# deploy of www.example.com');
  }
});

test.each([
  ['deploy_all', 'deploy-all'],
  ['rollback_all', 'rollback-all'],
  ['restart_all', 'restart-all'],
  ['restart www.example.com', 'restart_site www.example.com'],
])('%s and %s do the same', async (one, other) => {
  const [first, second] = await Promise.all(
    [one, other].map((words) => deployer([...words.split(' '), '--dry-run'])),
  );
  expect(first?.exitCode).toBe(0);
  expect(withoutIds(second?.stdout)).toBe(withoutIds(first?.stdout));
  expect(first?.stdout).toContain('www.example.com');
});

const withoutIds = (text = '') => text.replaceAll(/\d{8}_\d{6}_\d{3}/g, 'ID');

test('unlock_all and unlock-all: nothing is locked, exit 0; list_sites is sites', async () => {
  for (const name of ['unlock_all', 'unlock-all']) {
    const { exitCode, stdout } = await deployer([name]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^www\.example\.com +ok +nothing is locked\nshop\.example\.com +ok /);
  }
  expect(await deployer(['list_sites'])).toEqual(await deployer(['sites']));
});

test('--help shows every command, and the help of each an example that can be typed', async () => {
  const { exitCode, stdout } = await deployer(['--help']);
  expect(exitCode).toBe(0);
  const [, commands = ''] = /\nCommands:\n([\s\S]*)\nExample:/.exec(stdout) ?? [];
  const names = [...commands.matchAll(/^ {2}([a-z_]+)/gm)].map(([, name]) => name);
  expect(names.sort()).toEqual([
    ...['backups', 'deploy', 'deploy_all', 'restart', 'restart_all', 'rollback', 'rollback_all'],
    ...['schema', 'siteadd', 'sites', 'status', 'unlock', 'unlock_all'],
  ]);
  for (const name of [...names, '']) {
    const words = [name, '--help'].filter((word) => word !== '') as readonly string[];
    const help = await deployer(words);
    expect(help).toMatchObject({ exitCode: 0, stderr: '' });
    expect(help.stdout).toMatch(new RegExp(`\nExample:\n  deployer ${name}`));
  }
});

test('--version is that of package.json', async () => {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  expect(await deployer(['--version'])).toEqual({
    exitCode: 0,
    stdout: JSON.parse(text).version,
    stderr: '',
  });
});

test('--config, else DEPLOYER_CONFIG, else ./sites.yml', async () => {
  const one = await fileWith('one', sitesOf(['one.example']));
  const two = await fileWith('two', sitesOf(['two.example']));
  const listed = async (words: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    (await deployer(['sites', ...words], { env })).stdout;
  expect(await listed(['--config', one], { DEPLOYER_CONFIG: two })).toMatch(/^one\.example /);
  expect(await listed([], { DEPLOYER_CONFIG: two })).toMatch(/^two\.example /);
  expect(await listed([], { DEPLOYER_CONFIG: '' })).toMatch(/^www\.example\.com /);
  await mkdir(`${folder.path}/empty`);
  const nowhere = await deployer(['sites'], { cwd: `${folder.path}/empty` });
  expect(nowhere.exitCode).toBe(2);
  expect(nowhere.stderr).toContain('there is no sites.yml');
  expect(nowhere.stderr).toContain('deployer siteadd');
});

test('--quiet says the failure and nothing else; without it the steps are told', async () => {
  await using place = await tmpFolder();
  const text = sitesOf(['www.example.com'], place.path);
  const file = await fileWith('quiet', text);
  const loud = await deployer(['deploy', 'www.example.com', '--config', file]);
  const quiet = await deployer(['deploy', 'www.example.com', '--config', file, '--quiet']);
  expect(loud).toMatchObject({ exitCode: 1, stdout: '' });
  expect(loud.stderr).toMatch(/^www\.example\.com: deploy of master/);
  expect(loud.stderr).toMatch(/^ {2}lock +[\d.]+ s$/m);
  expect(quiet).toMatchObject({ exitCode: 1, stdout: '' });
  expect(quiet.stderr).toMatch(/check .*FAILED\nwww\.example\.com: deploy failed in check/);
  expect(quiet.stderr).not.toMatch(/lock|deploy of/);
});

const ESCAPE = '\x1b[';

test('colours at a terminal only, and not with --no-color or NO_COLOR', async () => {
  await using place = await tmpFolder();
  const text = sitesOf(['www.example.com'], place.path);
  const file = await fileWith('colour', text);
  const words = [process.execPath, BIN, 'deploy', 'www.example.com', '--config', file];
  const atTerminal = async (more: readonly string[], env = {}) => {
    const spawn = 'import pty, sys; pty.spawn(sys.argv[1:])';
    const { stdout } = await execa('/usr/bin/python3', ['-c', spawn, ...words, ...more], {
      env: { PATH: process.env.PATH ?? '', HOME: folder.path, ...env },
      extendEnv: false,
      stdin: 'ignore',
    });
    expect(stdout).toContain('FAILED');
    return stdout;
  };
  expect(await atTerminal([])).toContain(ESCAPE);
  expect(await atTerminal(['--no-color'])).not.toContain(ESCAPE);
  expect(await atTerminal([], { NO_COLOR: '1' })).not.toContain(ESCAPE);
  expect((await deployer(words.slice(2))).stderr).not.toContain(ESCAPE);
});

/** Says every package that our own code imports, on stderr. */
const SPY = `
import { register } from 'node:module';
register('data:text/javascript,' + encodeURIComponent(\`
  import { writeSync } from 'node:fs';
  export async function resolve(specifier, context, next) {
    const ours = !context.parentURL?.includes('/node_modules/');
    if (ours && /^[a-z@]/.test(specifier) && !/^(node|file|data):/.test(specifier)) writeSync(2, 'loads ' + specifier + '\\\\n');
    return next(specifier, context);
  }
\`));
`;

test.each([
  ['--version', ['commander']],
  ['--help', ['commander']],
  ['deploy --help', ['commander']],
  ['sites', ['commander', 'yaml', 'zod']],
  ['deploy www.example.com --dry-run', ['commander', 'yaml', 'zod']],
  ['unlock www.example.com', ['commander', 'yaml', 'zod']],
  ['unlock www.example.com --json', ['commander', 'pino', 'yaml', 'zod']],
])('%s loads %j and no other library', async (words, expected) => {
  await writeFile(`${folder.path}/spy.mjs`, SPY);
  const spy = pathToFileURL(`${folder.path}/spy.mjs`).href;
  const bin = `${folder.path}/file-by-file.mjs`; // a bundle names no packages
  const cli = JSON.stringify(new URL('../build/cli.js', import.meta.url));
  await writeFile(
    bin,
    `import { main } from ${cli};\nprocess.exitCode = await main(process.argv, process);\n`,
  );
  const { exitCode, stderr } = await deployer(words.split(' '), {
    env: { NODE_OPTIONS: `--import=${spy}` },
    bin,
  });
  expect(exitCode, stderr).toBe(0);
  const loaded = [...stderr.matchAll(/^loads (.*)$/gm)].map(([, name]) => name);
  expect([...new Set(loaded)].sort()).toEqual(expected);
});

test.each(['schema', '--help', 'sites --json'])(
  '%s: a reader that leaves early is no crash',
  async (words) => {
    const script = '"$@" | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}"';
    const many = await fileWith(
      'many',
      sitesOf(Array.from({ length: 900 }, (_, n) => `s${n}.example`)),
    );
    const { stdout, stderr } = await execa(
      'bash',
      ['-c', script, 'bash', process.execPath, BIN, ...words.split(' ')],
      { cwd: folder.path, env: { DEPLOYER_CONFIG: many } },
    );
    expect({ stdout, stderr }).toEqual({ stdout: '0', stderr: '' });
  },
);
