import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { begin, lab, run, textIn } from './lab.ts';

const runLog = async (site: string) => {
  const names = await readdir(join(site, '.deployer/run'));
  return names
    .filter((name) => name.endsWith('.log'))
    .map((name) => textIn(site, `.deployer/run/${name}`))
    .join('');
};

test('known secrets are hidden in output, answers, warnings and the log of the run', async () => {
  await using place = await lab();
  const { events, log, outcome } = await run(
    place.site,
    [
      {
        name: 'code',
        run: `echo "password=swordfish, or sword"; answer note "it is swordfish"; answer warning swordfish
        echo "https://ana:pw@example.com/a https://ghp_token@example.com git@example.com:a ftp://user@host"
        answer message "no: swordfish"; exit 1`,
        undo: 'echo swordfish again; answer message swordfish; exit 1',
      },
    ],
    { plan: { secrets: ['swordfish'] } },
  );
  expect(log).toBe(
    'password=***, or sword\\nhttps://***@example.com/a https://***@example.com git@example.com:a ftp://user@host\\n*** again\\n'.replaceAll(
      '\\n',
      '\n',
    ),
  );
  expect(outcome).toMatchObject({ how: 'stuck', failure: { message: 'no: ***' } });
  expect(JSON.stringify([events, outcome])).not.toContain('swordfish');
  expect(await runLog(place.site)).toContain('password=***');
  expect(await runLog(place.site)).not.toContain('swordfish');
});

test('a secret that a step finds on the target is hidden from then on, and never passed on', async () => {
  await using place = await lab();
  const { events, log } = await run(place.site, [
    {
      name: 'shared',
      run: `answer secret found-on-target; echo "see found-on-target"; answer note "x found-on-target"`,
    },
    { name: 'static', run: `echo 'later: found-on-target'` },
  ]);
  expect(log).toBe('see ***\nlater: ***\n');
  expect(JSON.stringify(events)).not.toContain('found-on-target');
  expect(await runLog(place.site)).not.toContain('found-on-target');
});

test('a secret is known before the output that follows it, however the two race', async () => {
  await using place = await lab();
  const step = `i=0; while [ $i -lt 300 ]; do i=$((i+1)); answer secret "secret-$i-of-many"; echo "secret-$i-of-many"; done`;
  const { log } = await run(place.site, [{ name: 'shared', run: step }]);
  expect(log).toBe('***\n'.repeat(300));
});

test('a secret in several writes, of several lines, or in a line without end is hidden whole', async () => {
  await using place = await lab();
  const { log } = await run(
    place.site,
    [
      {
        name: 'shared',
        run: `printf 'it is sword'; sleep 0.05; printf 'fish.\\n'; printf '%s' "$(printf 'first-line\\nsecond-line')"; echo
        answer secret "$(printf 'KEY-BEGIN\\nabcdefgh\\nKEY-END')"; echo abcdefgh; echo KEY-BEGIN
        head -c 65000 /dev/zero | tr '\\0' '-'; printf sword; sleep 0.05; printf 'fish'; head -c 200000 /dev/zero | tr '\\0' '-'`,
      },
    ],
    { plan: { secrets: ['swordfish', 'first-line\nsecond-line'] } },
  );
  expect(log.replace(/-+/g, (dashes) => String(dashes.length))).toMatch(
    /^it is \*{3}\.\n(\*{3}\n){3,4}65000\*{3}200000$/,
  );
});

test('a long secret in a line without end is not cut into readable pieces', async () => {
  await using place = await lab();
  const secret = 'x'.repeat(30) + Array.from({ length: 4000 }, (_, index) => index).join('');
  const { log } = await run(
    place.site,
    [
      {
        name: 'shared',
        run: `head -c 60000 /dev/zero | tr '\\0' '-'; printf %s ${secret.slice(0, 9000)}; sleep 0.05; printf %s ${secret.slice(9000)}`,
      },
    ],
    { plan: { secrets: [secret] } },
  );
  expect(log.replace(/-+/g, '-')).toBe('-***');
});

test('keys are in the environment of those that need them, and in no file', async () => {
  await using place = await lab();
  const look =
    'echo "${DEPLOYER_GIT_PASSWORD-none}"; tr "\\0" "\\n" </proc/$PPID/environ | grep -c GIT_PASS || :';
  const session = begin(
    place.site,
    [
      {
        name: 'check',
        needsKeys: true,
        run: `echo "$DEPLOYER_GIT_PASSWORD"`,
      },
      { name: 'code', run: look },
      { name: 'release', run: 'mkfifo go; echo ready; read -r line <go' },
    ],
    {
      plan: {
        keys: { DEPLOYER_GIT_USER: 'ana', DEPLOYER_GIT_PASSWORD: 'k3y of the repository' },
        keySecrets: ['k3y of the repository', 'k3y%20of'],
      },
    },
  );
  await session.said('ready');
  const found = (word: string) => {
    try {
      return execFileSync('grep', ['-rlaD', 'skip', '--', word, place.site], { encoding: 'utf8' });
    } catch {
      return '';
    }
  };
  expect(found('k3y')).toBe('');
  expect(inflated(place.site)).not.toContain('k3y');
  expect(inflated(place.site)).toContain('echo ready');
  execFileSync('sh', ['-c', 'echo >"$1/go"', 'sh', place.site]);
  expect(await session.outcome).toMatchObject({ how: 'done' });
  expect(
    session.events
      .filter((event) => event.type === 'log')
      .map((event) => event.type === 'log' && event.text)
      .join(''),
  ).toBe('***\nnone\n0\nready\n');
  expect(found('k3y')).toBe('');
});

/** The plans on the disk as text. */
const inflated = (site: string) =>
  execFileSync(
    'python3',
    [
      '-c',
      'import glob, sys, zlib\nfor path in glob.glob(glob.escape(sys.argv[1]) + "/.deployer/run/*.plan"): print(zlib.decompress(open(path, "rb").read()).decode())',
      site,
    ],
    { encoding: 'utf8' },
  );
