import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runSession } from '../../src/session.ts';
import { planOf } from '../support/plans.ts';
import { alive, expectUnlocked, lab, numbersIn, run, spawning, storyOf, textIn } from './lab.ts';

test('steps run in order, each told when it begins and ends, and the lock is free at the end', async () => {
  await using place = await lab();
  const { outcome, events } = await run(place.site, [
    { name: 'code', run: 'echo 1 >>order; answer note "a $PWD"; answer note "b\n\'\\"="' },
    { name: 'release', run: 'echo 2 >>order; answer skip "nothing to do"; exit 0' },
    { name: 'static', run: 'echo 3 >>order; answer commit abc; answer warning careful' },
    { name: 'cleanup', phase: 'after', run: 'echo 4 >>order; exit 9' },
    { name: 'cleanup', phase: 'after', run: 'echo 5 >>order; answer message "no room"; exit 9' },
  ]);
  expect(textIn(place.site, 'order')).toBe('1\n2\n3\n4\n5\n');
  expect(outcome).toMatchObject({ how: 'done', commit: 'abc', live: '', served: { proven: true } });
  expect(storyOf(events)).toEqual([
    'started lock',
    'done lock',
    'started code',
    'done code',
    'started release',
    'skipped release',
    'started static',
    'warned static',
    'done static',
    'started cleanup',
    'warned cleanup',
    'started cleanup',
    'warned cleanup',
    'started unlock',
    'done unlock',
  ]);
  expect(events).toContainEqual(
    expect.objectContaining({ type: 'done', step: 'code', notes: [`a ${place.site}`, 'b\n\'"='] }),
  );
  expect(events).toContainEqual(
    expect.objectContaining({ type: 'skipped', reason: 'nothing to do' }),
  );
  expect(events).toContainEqual(expect.objectContaining({ type: 'warned', message: 'no room' }));
  await expectUnlocked(place.site);
});

test('what serves the release is told apart: proven, not verified, not running', async () => {
  await using place = await lab();
  const served = async (script: string) => {
    const { outcome, events } = await run(place.site, [
      { name: 'restart', run: script },
      { name: 'cleanup', phase: 'after' },
    ]);
    const ended = events.find((event) => event.type === 'done' && event.step === 'restart');
    const served = outcome.how === 'done' && outcome.served;
    const notes = served && !served.proven ? [served.reason] : [];
    expect(ended, 'said where it was restarted').toMatchObject({ notes });
    return served;
  };
  expect(await served(':')).toEqual({ proven: true });
  expect(await served('answer unproven "hidden"')).toEqual({
    proven: false,
    reason: 'hidden',
    start: undefined,
  });
  expect(await served('answer unserved "gunicorn x"')).toEqual({
    proven: false,
    reason: 'nothing running',
    start: 'gunicorn x',
  });
});

test('a step starts in the site with a made environment, of which the caller has no say', async () => {
  await using place = await lab();
  const { outcome, log } = await run(
    place.site,
    [
      {
        name: 'release',
        run: `pwd; echo "$RELEASE"; echo "$RUN"; stat -c %a "$RUN"; cat "$TOOLS/common.py" | head -c 3; "$PYTHON" -c 'print(6 * 7)'
        umask; readlink /proc/$$/fd/0; sh -c 'for fd in 3 4 5 6 7 8 9 10 11; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done'; printenv | sort`,
        undo: ':',
      },
    ],
    {
      plan: { tools: ['common.py'], keys: { DEPLOYER_GIT_USER: 'ana' } },
      runner: spawning({
        before: ['sh', '-c', 'exec "$@" 9</dev/null', 'sh'],
        env: {
          PATH: process.env.PATH,
          LANG: 'es_ES.UTF-8',
          https_proxy: 'http://proxy:3128',
          GIT_DIR: '/nowhere',
          VIRTUAL_ENV: '/nowhere',
          PYTHONPATH: '/nowhere',
          DJANGO_SETTINGS_MODULE: 'x',
          DEPLOYER_PASSWORD: 'swordfish',
          DEPLOYER_RUN: 'x:1',
          ENV: '/nowhere',
          BASH_ENV: '/nowhere',
        },
      }),
    },
  );
  const [pwd, release, folder, mode, ...rest] = log.split('\n');
  expect(pwd).toBe(place.site);
  expect(release).toMatch(/^\d{8}_\d{6}_\d{3}$/);
  expect(outcome).toMatchObject({ how: 'done', release });
  expect(folder).toBe(join(place.site, '.deployer/run', release as string));
  expect(mode).toBe('700');
  expect(rest.slice(0, 4)).toEqual(['"""42', '0022', '/dev/null', '3']);
  const environment = Object.fromEntries(
    rest
      .slice(4)
      .filter(Boolean)
      .map((line) => line.split(/=(.*)/s)),
  );
  expect(environment.DEPLOYER_RUN).toBe(`${release}:0:${place.site}`);
  expect(environment.HOME).toBe(
    execFileSync('sh', ['-c', 'getent passwd "$(id -u)" | cut -d: -f6'], {
      encoding: 'utf8',
    }).trim(),
  );
  expect(
    Object.keys(environment)
      .filter((name) => !['_', 'OLDPWD', 'SHLVL'].includes(name))
      .sort(),
  ).toEqual(
    [
      'DEPLOYER_RUN',
      'HOME',
      'LANG',
      'PATH',
      'PWD',
      'PYTHON',
      'RELEASE',
      'RUN',
      'TOOLS',
      'https_proxy',
    ].sort(),
  );
  expect(environment.LANG).toBe('es_ES.UTF-8');
});

test('input is empty, for children too; output is kept as it is, binary, without newline, and both streams', async () => {
  await using place = await lab();
  const { outcome, log } = await run(place.site, [
    { name: 'check', run: 'cat; sh -c cat; echo nothing; printf "no newline"' },
    { name: 'code', run: `printf '\\0a\\0\\377\\n'; echo to-err >&2; printf '' ` },
    { name: 'release', run: "printf 'ñ€😀'" },
  ]);
  expect(outcome.how).toBe('done');
  expect(log).toBe('nothing\nno newline\0a\0\ufffd\nto-err\nñ€😀');
});

test('a script is a script: set -eu holds, and a failing command in the middle fails the step', async () => {
  await using place = await lab();
  const failing = async (script: string) => {
    const { outcome } = await run(place.site, [{ name: 'code', run: script }]);
    return outcome.how === 'undone' && outcome.failure;
  };
  expect(await failing('false\necho on >on')).toMatchObject({ code: 1, message: undefined });
  expect(await failing('echo "$NOTHING"\necho on >on')).toMatchObject({ code: 2 });
  expect(await failing('kill -KILL $$')).toMatchObject({ code: 137 });
  expect(
    await failing(
      'i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; echo; done; fail "it\'s full"',
    ),
  ).toMatchObject({
    code: 1,
    error: 'failed',
    message: "it's full",
    lastLines: Array.from({ length: 15 }, (_, index) => `line ${index + 26}`),
  });
  expect(textIn(place.site, 'on')).toBe('');
});

test('200 MB of output come through whole, with little memory, also without a newline', async () => {
  await using place = await lab();
  const sizes: Record<string, number> = {};
  const plan = planOf(place.site, [
    { name: 'code', run: "yes 'a line of output, neither short nor long' | head -c 100000000" },
    { name: 'release', run: "head -c 100000000 /dev/zero | tr '\\0' x" },
    { name: 'static', run: PEAK_MEMORY },
  ]);
  const outcome = await runSession(spawning(), plan, {
    by: 'ana@laptop',
    command: 'deployer deploy',
    report: (event) => {
      if (event.type === 'log') sizes[event.step] = (sizes[event.step] ?? 0) + event.text.length;
    },
  });
  expect(outcome).toMatchObject({ how: 'done' });
  expect(sizes).toMatchObject({ code: 1e8, release: 1e8 });
  expect(megabytes(place.site)).toBeLessThan(32);
  const release = outcome.how === 'done' ? outcome.release : '';
  expect(statSync(join(place.site, `.deployer/run/${release}.log`)).size).toBeLessThan(9e6);
});

test('a client that reads slowly makes the step wait, not the session grow; nothing is lost', async () => {
  await using place = await lab();
  const { outcome, log } = await run(
    place.site,
    [
      {
        name: 'code',
        run: 'i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo "$i"; head -c 999999 /dev/zero | tr "\\0" "-"; echo; done',
      },
      { name: 'static', run: PEAK_MEMORY },
    ],
    { runner: spawning({ slow: 2 }) },
  );
  expect(outcome.how).toBe('done');
  expect(log.length).toBeGreaterThan(20e6);
  expect(log.replace(/-+\n/g, ' ').trim()).toBe(
    Array.from({ length: 20 }, (_, index) => `${index + 1}\n`)
      .join(' ')
      .trim(),
  );
  expect(megabytes(place.site)).toBeLessThan(32);
});

/** The most that the session ever had, which a step can see: the session is its parent. */
const PEAK_MEMORY = 'grep VmHWM /proc/$PPID/status >memory';
const megabytes = (site: string) => Number(textIn(site, 'memory').replace(/\D/g, '')) / 1024;

test('a step may say a megabyte on fd 3 without blocking', async () => {
  await using place = await lab();
  const { outcome, events } = await run(place.site, [
    {
      name: 'code',
      run: 'answer note first; answer note "$(head -c 100000 /dev/zero | tr "\\0" x)"; head -c 1000000 /dev/zero >&3; echo through >through',
    },
  ]);
  expect(outcome.how).toBe('done');
  expect(textIn(place.site, 'through')).toBe('through\n');
  const done = events.find((event) => event.type === 'done' && event.step === 'code');
  expect(done).toMatchObject({ notes: ['first', expect.stringMatching(/^x{100000}$/)] });
});

test.each(['kill', 'finish'] as const)(
  'a child that stays keeps nobody waiting, and may go on writing (%s)',
  async (orphan) => {
    await using place = await lab();
    execFileSync('mkfifo', [join(place.path, 'go on'), join(place.path, 'wrote')]);
    const daemon = `
    for pipe in "go on" wrote; do [ -p "../$pipe" ]; done
    ( read -r go <"../go on"; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "a line of the daemon, which nobody hears"; done; echo survived >../wrote ) &
    echo $! >daemon; echo started`;
    const { outcome, log } = await run(place.site, [
      { name: 'restart', orphan, run: daemon, undo: ':' },
    ]);
    expect(outcome.how).toBe('done');
    expect(log).toBe('started\n');
    await expectUnlocked(place.site);
    expect(numbersIn(place.site, 'daemon').map(alive)).toEqual([true]);
    await writeFile(join(place.path, 'go on'), '\n');
    expect(await readFile(join(place.path, 'wrote'), 'utf8')).toBe('survived\n');
  },
);
