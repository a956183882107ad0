import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Context, Globals, Output } from '../../src/commands/context.ts';
import { presentation } from '../../src/commands/presentation.ts';
import type { Site } from '../../src/config/site.ts';
import type { Verdict } from '../../src/verdict.ts';
import { Screen } from '../support/screen.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const GLOBALS: Globals = {
  ...{ config: undefined, json: false, verbose: false, quiet: false, color: false },
  ...{ yes: false, host: undefined },
};

const SITE = 'www.example.com';
const VERDICT: Verdict = {
  ...{ site: SITE, exit: 0, reason: undefined, release: 'R', commit: 'C', live: 'R' },
  ...{ summary: 'R is live', details: [] },
};

/** An output that is or is no terminal, and what was written to it. */
function output(isTTY: boolean): Output & { readonly text: () => string } {
  let text = '';
  const write = (more: string) => {
    text += more;
  };
  return { write, isTTY, text: () => text };
}

const context = (
  stdout: Output,
  stderr: Output,
  env: NodeJS.ProcessEnv,
  globals: Partial<Globals> = {},
): Context => ({ io: { stdout, stderr, env }, globals: { ...GLOBALS, ...globals }, typed: '' });

test('the answer on the terminal that the live view is on is neither torn nor written over', async () => {
  const screen = new Screen(80, 10);
  const terminal: Output = { write: (text) => screen.write(text), isTTY: true };
  const env = { TERM: 'xterm', LANG: 'C.UTF-8' };
  {
    using show = await presentation(context(terminal, terminal, env), false);
    show.announce({ name: SITE } as Site, 'deploy');
    show.report({ site: SITE, type: 'started', step: 'cleanup', title: 'Clean' });
    vi.advanceTimersByTime(1000);
    expect((await screen.lines()).at(-1)).toMatch(/^▸ cleanup/);
    show.report({ site: SITE, type: 'done', step: 'cleanup', seconds: 1, notes: [] });
    show.result(VERDICT);
  }
  expect(await screen.lines()).toEqual([
    ...[`${SITE}: deploy`, '✓ cleanup              1.0 s', `${SITE} R C`, `${SITE}: R is live`],
  ]);
});

test('what was shown last stays whole when something is thrown in the middle of a step', async () => {
  const screen = new Screen(80, 10);
  const terminal: Output = { write: (text) => screen.write(text), isTTY: true };
  const work = async () => {
    using show = await presentation(context(terminal, terminal, { TERM: 'xterm' }), true);
    show.report({ site: SITE, type: 'started', step: 'code', title: 'Fetch' });
    vi.advanceTimersByTime(1000);
    show.say('said');
    throw new Error('a fault');
  };
  await expect(work()).rejects.toThrow('a fault');
  screen.write('deployer: a fault\n');
  vi.advanceTimersByTime(1000);
  expect(await screen.lines()).toEqual(['said', 'deployer: a fault']);
});

const XTERM = { TERM: 'xterm' };
test.each<[string, boolean, NodeJS.ProcessEnv, Partial<Globals>, boolean]>([
  ['a terminal', true, XTERM, {}, true],
  ['a terminal, --verbose', true, XTERM, { verbose: true }, true],
  ['no terminal', false, XTERM, {}, false],
  ['--quiet', true, XTERM, { quiet: true }, false],
  ['--json', true, XTERM, { json: true }, false],
  ['a dumb terminal', true, { TERM: 'dumb' }, {}, false],
  ['an unknown terminal', true, { TERM: '' }, {}, false],
  ['a CI job with a terminal', true, { ...XTERM, CI: 'true' }, {}, false],
])('%s: a live view or not', async (_, isTTY, env, globals, live) => {
  const stderr = output(isTTY);
  using show = await presentation(context(output(true), stderr, env, globals), false);
  show.report({ site: SITE, type: 'started', step: 'code', title: 'Fetch' });
  vi.advanceTimersByTime(1000);
  expect(stderr.text().includes('> code')).toBe(live);
  if (!live) expect(stderr.text()).not.toContain('\x1b');
});

test('what a target says of a failure cannot act on the terminal, nor break the table', async () => {
  const [stdout, stderr] = [output(false), output(false)];
  const evil = 'failed: \x1b[2J\nwww.example.org  ok';
  const verdict = { ...VERDICT, exit: 1, summary: evil, details: [evil], live: '\x1b[1m' };
  using show = await presentation(context(stdout, stderr, {}), true);
  show.result(verdict);
  show.summary([verdict], 1);
  expect(stderr.text()).not.toContain('\x1b');
  const shown = String.raw`failed: \x1b[2J www.example.org  ok`;
  expect(stdout.text()).toBe(`${String.raw`www.example.com  exit 1  \x1b[1m  ${shown}`}\n`);
});

test('several sites in GitHub Actions: plain lines, an error for each that failed, no commands', async () => {
  const [stdout, stderr] = [output(false), output(false)];
  const env = { GITHUB_ACTIONS: 'true', CI: 'true' };
  using show = await presentation(context(stdout, stderr, env, { verbose: true }), true);
  show.report({ site: SITE, type: 'log', step: 'code', text: '##[add-path]/x\n' });
  const verdict = { ...VERDICT, exit: 1, summary: 'failed', details: ['a\n::error::b'] };
  show.result(verdict);
  show.summary([{ ...verdict, summary: '##[error]x' }], 1);
  expect(stderr.text()).toBe(
    [
      `[${SITE}]   | ## [add-path]/x`,
      `::error::[${SITE}] failed%0A[${SITE}] a%0A| ::error::b`,
      '',
    ].join('\n'),
  );
  expect(stdout.text()).toBe(`${SITE}  exit 1  R  ## [error]x\n`);
});
