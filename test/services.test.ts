import { execa } from 'execa';
import { expect, test } from 'vitest';
import { lines, sh } from '../src/shell.ts';
import { restoreServices } from '../src/steps/services.ts';
import { siteWith } from './support/site.ts';

/** The functions of a site's scripts, as far as restarting needs them: a command is run, and what is answered is said. */
const SURROUNDINGS = sh`
  RELEASE=before RUN=. TOOLS=.
  in_release() { shift 2; "$@"; }
  answer() { echo "$1: $2"; }
  fail() { answer message "$1"; exit 1; }
  program() { :; }`;

const restored = async (...commands: readonly string[]) => {
  const restart = commands.map((command) => ({ kind: 'command', command }) as const);
  const script = lines(sh`set -eu`, SURROUNDINGS, restoreServices(siteWith({ restart })));
  const { stdout, exitCode } = await execa('sh', ['-c', script.text], { reject: false });
  return { exitCode, said: stdout.split('\n') };
};

test('the way back goes on to the next service when one cannot be restarted, and is no success then', async () => {
  expect(await restored('echo web; exit 3', 'echo worker')).toEqual({
    exitCode: 1,
    said: ['web', 'message: the restart command ended with 3', 'worker'],
  });
  expect(await restored('echo web', 'echo worker')).toEqual({
    exitCode: 0,
    said: ['web', 'worker'],
  });
});
