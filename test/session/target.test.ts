import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ordinaryUser } from '../support/tmp.ts';
import { expectUnlocked, lab, run, spawning, textIn, unlock } from './lab.ts';

const root = process.getuid?.() === 0;

/** Sessions as an ordinary user, whoever runs the tests. */
async function asOrdinaryUser() {
  const user = await ordinaryUser();
  const before = root
    ? ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
    : [];
  return {
    user,
    runner: spawning({ before, python: '/usr/bin/python3', env: { PATH: '/usr/bin:/bin' } }),
  };
}

test('a deploy_path that cannot be made is refused with the line that makes it', async () => {
  await using place = await lab();
  const { user, runner } = await asOrdinaryUser();
  await mkdir(join(place.path, 'theirs'), { mode: 0o555 });
  await chmod(place.path, 0o755);
  const site = join(place.path, 'theirs/a $ite');
  const { outcome } = await run(site, [{ name: 'code' }], { runner });
  const group = execFileSync('getent', ['group', String(user.gid)], { encoding: 'utf8' }).split(
    ':',
  )[0];
  expect(outcome).toEqual({
    how: 'refused',
    message: `${site}: Permission denied`,
    hint: `sudo install -d -o ${user.name} -g ${group} '${site.replaceAll("'", "'\\''")}'`,
  });
  expect(existsSync(site)).toBe(false);
});

test('an ordinary user deploys where the parent folder allows it', async () => {
  await using place = await lab();
  const { user, runner } = await asOrdinaryUser();
  await chmod(place.path, 0o755);
  await mkdir(join(place.path, 'ours'));
  await chown(join(place.path, 'ours'), user.uid, user.gid);
  const site = join(place.path, 'ours/www/site');
  const { outcome, log } = await run(site, [{ name: 'code', run: 'id -un; echo "$HOME"' }], {
    runner,
  });
  expect(outcome.how).toBe('done');
  expect(log).toBe(`${user.name}\n${user.home}\n`);
  expect((statSync(site).mode & 0o777).toString(8)).toBe('755');
});

test.runIf(root)(
  'a site has one owner: another user is refused, also root, and told who',
  async () => {
    await using place = await lab();
    const { user, runner } = await asOrdinaryUser();
    await chmod(place.path, 0o777);
    const site = join(place.path, 'site');
    expect((await run(site, [{ name: 'code' }], { runner })).outcome.how).toBe('done');
    expect((await run(site, [{ name: 'code' }])).outcome).toEqual({
      how: 'refused',
      message: `${site} is deployed by ${user.name}`,
      hint: `run it as ${user.name}: a site has one owner`,
    });
  },
);

test.runIf(root)(
  'a user that the target does not know deploys too, as in a container',
  async () => {
    await using place = await lab();
    await chmod(place.path, 0o777);
    const before = ['setpriv', '--reuid=54321', '--regid=54321', '--clear-groups'];
    const runner = spawning({ before, python: '/usr/bin/python3', env: { PATH: '/usr/bin:/bin' } });
    const { outcome, log } = await run(
      join(place.path, 'site'),
      [{ name: 'code', run: 'echo "$HOME"' }],
      { runner },
    );
    expect(outcome.how).toBe('done');
    expect(log).toBe('/\n');
    await mkdir(join(place.path, 'theirs'), { mode: 0o555 });
    const refused = await run(join(place.path, 'theirs/site'), [], { runner });
    expect(refused.outcome).toMatchObject({
      hint: `sudo install -d -o 54321 -g 54321 ${JSON.stringify(join(place.path, 'theirs/site')).replaceAll('"', "'").replace("it's", "it'\\''s")}`,
    });
  },
);

test.runIf(root)(
  'a disk that is full from the start: refused, and nothing is left of it',
  async () => {
    await using place = await lab();
    await withTmpfs(place.site, async () => {
      expect((await run(place.site, [{ name: 'code' }])).outcome.how).toBe('done');
      const before = tree(place.site);
      execFileSync('sh', ['-c', 'cat /dev/zero >"$1/filler" 2>/dev/null || :', 'sh', place.site]);
      const { outcome } = await run(place.site, [{ name: 'code', run: 'echo ran >>order' }]);
      expect(outcome).toMatchObject({
        how: 'refused',
        message: expect.stringContaining('No space left on device'),
      });
      execFileSync('rm', [join(place.site, 'filler')]);
      expect(tree(place.site)).toEqual(before);
      await expectUnlocked(place.site);
      expect((await run(place.site, [{ name: 'code' }])).outcome.how).toBe('done');
    });
  },
);

test.runIf(root)('a disk that fills up in a step: all is undone and written down', async () => {
  await using place = await lab();
  await withTmpfs(place.site, async () => {
    const many = Array.from(
      { length: 100 },
      () => ({ name: 'code', undo: 'echo undoing' }) as const,
    );
    const { outcome, log } = await run(place.site, [
      ...many,
      {
        name: 'release',
        run: 'cat /dev/zero >filler',
        undo: '[ ! -e filler ] || echo full; echo x >>no-room && exit 9 || :',
      },
    ]);
    expect(outcome).toMatchObject({ how: 'undone', step: 'release', why: 'failed' });
    expect(log).toMatch(/No space left[\s\S]*full\n[\s\S]*(undoing\n){100}$/);
    const name = readdirSync(join(place.site, '.deployer/run')).find((each) =>
      each.endsWith('.journal'),
    );
    const journal = textIn(place.site, `.deployer/run/${name}`).trim().split('\n');
    const newestFirst = Array.from({ length: 101 }, (_, index) => `undone ${100 - index} 0`);
    expect(journal.filter((line) => line.startsWith('undone '))).toEqual(newestFirst);
    expect(journal.at(-1)).toMatch(/^end \d{4}-\S+Z undone release \d+$/);
    expect(
      textIn(
        place.site,
        `.deployer/history/${readdirSync(join(place.site, '.deployer/history'))[0]}`,
      ),
    ).toMatch(/\nfailed /);
    await expectUnlocked(place.site);
  });
});

async function withTmpfs(path: string, work: () => Promise<void>): Promise<void> {
  mkdirSync(path);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path]);
  try {
    await work();
  } finally {
    execFileSync('umount', ['--lazy', path]); // the session that has just said its last word may still be in it
  }
}

const tree = (path: string) => readdirSync(path, { recursive: true }).map(String).sort();

test('a site under a file is refused with the reason', async () => {
  await using place = await lab();
  writeFileSync(join(place.path, 'file'), '');
  const { outcome } = await run(join(place.path, 'file/site'), [{ name: 'code' }]);
  expect(outcome).toMatchObject({
    how: 'refused',
    message: `${join(place.path, 'file/site')}: Not a directory`,
  });
});

test('a target whose locale is C takes names outside ASCII as they are', async () => {
  await using place = await lab();
  const { outcome, log } = await run(
    place.site,
    [{ name: 'code', run: "echo ñ >'ñandú'; ls *ú; pwd; answer note ñ; exit 1", undo: ':' }],
    {
      runner: spawning({ env: { PATH: process.env.PATH, LC_ALL: 'C' } }),
      options: { by: 'íñigo@ordenador' },
    },
  );
  expect(log).toBe(`ñandú\n${place.site}\n`);
  expect(outcome.how).toBe('undone');
  const [release] = readdirSync(join(place.site, '.deployer/history'));
  expect(textIn(place.site, `.deployer/history/${release}`)).toContain('íñigo@ordenador');
});

test('what a login shell prints first is no part of the session, and the reason where none begins', async () => {
  await using place = await lab();
  const { outcome } = await run(place.site, [{ name: 'code' }], {
    runner: spawning({
      before: ['sh', '-c', 'echo "Welcome!"; printf "\\nno newline"; exec "$@"', 'sh'],
    }),
  });
  expect(outcome.how).toBe('done');
  const refused = await run(place.site, [{ name: 'code' }], {
    runner: spawning({
      before: ['sh', '-c', 'echo This account is not available.; echo really >&2; exit 1', 'sh'],
    }),
  });
  expect(refused.outcome).toEqual({
    how: 'unreachable',
    message:
      'no session could be started: it ended with exit code 1\nreally\nThis account is not available.',
  });
  const missing = await run(place.site, [{ name: 'code' }], {
    runner: spawning({ python: 'python9' }),
  });
  expect(missing.outcome).toMatchObject({
    how: 'unreachable',
    message: expect.stringContaining('python9'),
  });
});

/** An interpreter of that version on PATH or of pyenv, and its own name for it; undefined if there is none. */
function pythonOf(version: string): string | undefined {
  const folder = join(homedir(), '.pyenv/versions');
  const pyenv = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.startsWith(`${version}.`))
        .map((name) => join(folder, name, 'bin/python3'))
    : [];
  return [...pyenv, `python${version}`].find((python) => {
    try {
      return (
        execFileSync(python, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'], {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'ignore'],
        }).trim() === version
      );
    } catch {
      return false;
    }
  });
}

const OLD = pythonOf('3.8');
test.runIf(OLD)(
  `Python 3.8 runs a whole session (${OLD ?? 'NOT TESTED: no Python 3.8 here'})`,
  async () => {
    await using place = await lab();
    const runner = spawning({ python: OLD as string });
    const good = await run(
      place.site,
      [
        {
          name: 'code',
          run: 'answer commit abc; echo "$PYTHON"; sleep 1000 >/dev/null 2>&1 & sleep 0.01 & echo',
        },
        { name: 'cleanup', phase: 'after' },
      ],
      { runner },
    );
    expect(good.outcome).toMatchObject({ how: 'done', commit: 'abc' });
    expect(good.log).toBe(`${OLD}\n\n`);
    const failed = await run(
      place.site,
      [{ name: 'code', limit: 0.2, run: 'sleep 1000', undo: 'echo undo >>order' }],
      { runner, options: { times: { grace: 0.1 } } },
    );
    expect(failed.outcome).toMatchObject({ how: 'undone', failure: { code: 124 } });
    await run(
      place.site,
      [{ name: 'code', run: 'kill -KILL $PPID; sleep 1000', undo: 'echo undo >>order' }],
      { runner },
    );
    const next = await run(place.site, [{ name: 'code' }], { runner });
    expect(next.outcome.how).toBe('done');
    expect(textIn(place.site, 'order')).toBe('undo\nundo\n');
    expect((await unlock(place.site)).outcome.how).toBe('nothing');
  },
);

test.each(
  ['3.7', '3.6']
    .map((version) => [version, pythonOf(version)] as const)
    .filter(([, python]) => python),
)('Python %s is refused in plain words (%s)', async (version, python) => {
  await using place = await lab();
  const { outcome } = await run(place.site, [{ name: 'code' }], {
    runner: spawning({ python: python as string }),
  });
  expect(outcome).toMatchObject({
    how: 'unreachable',
    message: expect.stringContaining(`python3 is older than 3.8: it is ${version}.`),
  });
  expect(existsSync(place.site)).toBe(false);
});

test('what is started is short, and what is cut from it is only comments', async () => {
  await using place = await lab();
  const seen: string[] = [];
  const real = spawning();
  await run(place.site, [{ name: 'code' }], {
    runner: {
      ...real,
      start: (argv) => {
        seen.push(...argv);
        return real.start(argv);
      },
    },
  });
  const [python, flags, program = ''] = seen;
  expect([python, flags]).toEqual(['python3', '-ISc']);
  expect(program.length).toBeLessThan(3_000);
  expect(program).toMatch(/^[\w ,;.()"+/=]*$/);
  const compare = `
import ast, base64, re, sys, zlib
def bare(text):
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(getattr(body[0].value, "value", None), str):
            del body[0]
    return [(type(node).__name__, getattr(node, "lineno", 0)) for node in ast.walk(tree)], ast.dump(tree)
sent = zlib.decompress(base64.b64decode(re.search('"([^"]{1000,})"', sys.stdin.read()).group(1))).decode()
print(bare(sent) == bare(open(sys.argv[1]).read()), len(sent.splitlines()) == len(open(sys.argv[1]).read().splitlines()))`;
  const source = fileURLToPath(new URL('../../src/target/begin.py', import.meta.url));
  expect(readFileSync(source, 'utf8')).toContain('"""');
  expect(
    execFileSync('/usr/bin/python3', ['-c', compare, source], { input: program, encoding: 'utf8' }),
  ).toBe('True True\n');
});
