import { writeFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { BACKUPS_PROGRAM } from '../src/commands/backup-list.ts';
import { STATUS_PROGRAM } from '../src/commands/status.ts';
import { type Answer, ask } from '../src/question.ts';
import type { Runner } from '../src/runners/runner.ts';
import { spawning } from './session/lab.ts';
import { tmpFolder } from './support/tmp.ts';

async function answers(runner: Runner, words: readonly string[], patience = 60) {
  const all: Answer[] = [];
  for await (const answer of ask(runner, { program: STATUS_PROGRAM, words, patience }))
    all.push(answer);
  return all;
}

const shell = (script: string) => spawning({ before: ['sh', '-c', script, 'sh'] });

test('what a login shell prints first is no part of the answer', async () => {
  await using folder = await tmpFolder();
  const runner = shell('echo Welcome; printf "\\nno newline"; exec "$@"');
  expect(await answers(runner, [`${folder.path}/ñ\n$x`])).toMatchObject([
    { kind: 'answer', value: { live: '', problems: [`${folder.path}/ñ\n$x is not there`] } },
  ]);
});

test('what cannot be looked at is said', async () => {
  await using folder = await tmpFolder();
  await writeFile(`${folder.path}/file`, '');
  expect(await answers(spawning(), [`${folder.path}/file`])).toEqual([
    { kind: 'refused', words: [`${folder.path}/file: Not a directory`] },
  ]);
});

test.each([
  ['no Python', spawning({ python: 'python9' }), 'unreachable', /cannot be asked: .*python9/],
  [
    'no login',
    shell('echo This account is not available.; exit 1'),
    'unreachable',
    /not available/,
  ],
  [
    'an answer that is cut short',
    shell('"$@" | head -c 200'),
    'failed',
    /stopped before its answer was whole: it ended with exit code 0/,
  ],
  [
    'an answer that does not come',
    shell('printf "\\ndeployer answer 1\\n"; exec cat >/dev/null'),
    'failed',
    /silent for 0\.3 s/,
  ],
])('%s: an error that says so', async (_, runner, code, message) => {
  await using folder = await tmpFolder();
  await expect(
    answers(runner, [folder.path], message.source.includes('silent') ? 0.3 : 60),
  ).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message),
  });
});

test('it stops asking when it is told to', async () => {
  const stop = new AbortController();
  const runner = shell('printf "\\ndeployer answer 1\\n"; exec cat >/dev/null');
  const asked = ask(runner, { program: STATUS_PROGRAM, words: ['/'], cancel: stop.signal }).next();
  stop.abort(new Error('enough'));
  await expect(asked).rejects.toThrow('enough');
});

test('a file comes whole, and no faster than it is taken', async () => {
  await using folder = await tmpFolder();
  const name = 'www.example.com_20261122_213015_123.tar.gz';
  const size = 30_000_000;
  await writeFile(`${folder.path}/${name}`, Buffer.alloc(size, 'x'));
  let received = 0;
  let taken = 0;
  const counting = spawning({
    started: (child) => child.stdout?.on('data', (data: Buffer) => (received += data.length)),
  });
  const words = [folder.path, 'www.example.com', name];
  for await (const answer of ask(counting, { program: BACKUPS_PROGRAM, words, patience: 60 })) {
    if (answer.kind === 'answer') expect(answer.value).toEqual({ name, size });
    if (answer.kind !== 'piece') continue;
    taken += answer.data.length;
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    expect(received - taken).toBeLessThan(2_000_000);
  }
  expect(taken).toBe(size);
});

test('the programs fit into one flight', async () => {
  const sizes: number[] = [];
  for (const program of [STATUS_PROGRAM, BACKUPS_PROGRAM]) {
    const real = spawning();
    const start: Runner['start'] = (argv) => {
      sizes.push(argv.join(' ').length);
      expect(argv[2]).toMatch(/^[\w ,;.()"+/=]*$/);
      return real.start(argv);
    };
    const words = ['/nowhere', 'www.example.com'].slice(0, program === STATUS_PROGRAM ? 1 : 2);
    for await (const _ of ask({ ...real, start }, { program, words }));
  }
  expect(Math.max(...sizes)).toBeLessThan(14_000);
});
