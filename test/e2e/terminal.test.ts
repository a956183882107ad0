import { readFile, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AtTerminal, atTerminal } from '../support/at-terminal.ts';
import { BIN, type Lab, lab, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { gate } from '../support/under-way.ts';

let world: Lab;
let dependencies: string;

beforeAll(async () => {
  world = await lab();
  dependencies = await readyEnvironment(`${world.root}/ready`, world.project);
});
afterAll(() => world?.[Symbol.asyncDispose]());

const ENV = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', LANG: 'C.UTF-8' };

function deployer(
  words: readonly string[],
  { columns = 100, rows = 50, env = {} } = {},
): AtTerminal {
  const argv = [process.execPath, BIN, ...words];
  const all = { ...ENV, TERM: 'xterm-256color', ...env };
  return atTerminal(argv, { cwd: world.root, env: all, columns, rows });
}

/** A site that is deployed in a second or two, with these hooks. */
const configure = (hooks: Readonly<Record<string, string>>) =>
  world.configure({ restart: 'none', commands: { dependencies }, hooks });

const isLive = (line: string): boolean => line.includes('▸');

/** No frame of a single deploy shows two live lines, or one anywhere but at the end (or above a ^C that was typed). */
function expectCleanFrames({ screen }: AtTerminal): void {
  const broken = screen.frames
    .map(({ lines }) => lines.filter((line) => line !== '^C'))
    .filter((lines) => lines.slice(0, -1).some(isLive));
  expect(broken).toEqual([]);
  expect(screen.titles).toEqual([]);
}

/** printf of what would clear the screen, name the window, and hide the cursor. */
const ESCAPES = String.raw`printf '\033[2J\033[H\033]0;title\007\033[?25lescaped\n'`;

test('a good deploy: one line per step with its time, the one under way below, at last the answer', async () => {
  await using held = gate(world.root);
  await configure({ before_static: `${ESCAPES}; ${held.hook}` });
  const terminal = deployer(['deploy', SITE]);
  await terminal.until((lines) => /^▸ static +1 s {2}held at gate/.test(lines.at(-1) ?? ''));
  await terminal.resize(50, 50);
  await terminal.until((lines) => /^▸ static \d+s {2}held at gate/.test(lines.at(-1) ?? ''));
  await terminal.resize(100, 50);
  await terminal.until((lines) => /^▸ static {10}/.test(lines.at(-1) ?? ''));
  await held.open();
  expect(await terminal.ended).toBe(0);
  const id = await world.live();
  const lines = await terminal.screen.lines();
  expect(lines[0]).toMatch(new RegExp(`^${SITE}: deploy of main to /`));
  const steps = lines.filter((line) => /^[✓-] /.test(line)).map((line) => line.split(' ')[1]);
  expect(steps).toEqual([
    ...['lock', 'check', 'backup', 'code', 'release', 'shared', 'writable', 'dependencies'],
    ...['validate', 'migrate', 'static', 'activate', 'restart', 'cleanup', 'unlock'],
  ]);
  expect(lines.filter((line) => /✓ static +\d+\.\d s$/.test(line))).toHaveLength(1);
  expect(lines.at(-2)).toMatch(new RegExp(`^${SITE} ${id} [0-9a-f]{40}$`));
  expect(lines.at(-1)).toMatch(new RegExp(`^${SITE}: ${id} is released, not verified`));
  expect(await terminal.screen.cursor()).toEqual({ column: 0, row: lines.length });
  expectCleanFrames(terminal);
});

test('a deploy that fails on a small screen: at last what failed, its last lines, and what is live', async () => {
  await configure({ before_static: `${ESCAPES}; seq 100; echo the reason; exit 3` });
  const before = await world.live();
  const terminal = deployer(['deploy', SITE], { columns: 60, rows: 8 });
  expect(await terminal.ended).toBe(1);
  const lines = await terminal.screen.lines();
  expect(lines.filter(isLive)).toEqual([]);
  const failed = lines.findIndex((line) => /^✗ static +\d+\.\d s {2}FAILED$/.test(line));
  expect(lines[failed + 1]).toMatch(/^✓ undo /);
  const text = lines.slice(failed).join('\n');
  expect(text).toMatch(/✓ unlock[\s\S]*: deploy failed in static[\s\S]* \| 100\n +\| the reason\n/);
  expect(text).toContain(`live now: ${before || 'nothing'}`);
  expectCleanFrames(terminal);
});

test('^C: what it does is said at once, and the end is as clean as any', async () => {
  await using held = gate(world.root);
  await configure({ before_static: held.hook });
  const terminal = deployer(['deploy', SITE]);
  await terminal.until((lines) => /^▸ static .*held at gate/.test(lines.at(-1) ?? ''));
  terminal.type('\x03');
  await terminal.until((lines) => lines.some((line) => line.startsWith('stopping: ')));
  await held.open();
  expect(await terminal.ended).toBe(130);
  const text = (await terminal.screen.lines()).join('\n');
  expect(text).not.toMatch(/▸|\^C/);
  expect(text).toMatch(
    /\nstopping: [\s\S]*\n✗ static .*stopped\n✓ undo [\s\S]*: deploy stopped in static/,
  );
  expect((await terminal.screen.cursor()).column).toBe(0);
  expectCleanFrames(terminal);
});

test.each([
  ['^D', '\x04'],
  ['an empty line', '\r'],
])('%s where all sites are asked about: nothing is done, and that is said', async (_, keys) => {
  await configure({});
  const terminal = deployer(['rollback_all']);
  await terminal.until(
    (lines) => lines.at(-1)?.startsWith('Roll all of these back? [y/N]') ?? false,
  );
  terminal.type(keys);
  expect(await terminal.ended).toBe(2);
  expect((await terminal.screen.lines()).slice(-2)).toEqual([
    'deployer: nothing was done',
    'to do: answer y, or give --yes',
  ]);
});

test('sites side by side: a line for each, at last the table', async () => {
  await using held = gate(world.root);
  await configure({ before_static: held.hook });
  const text = await readFile(`${world.root}/sites.yml`, 'utf8');
  const second = text.replaceAll(SITE, 'b.example.com');
  await writeFile(`${world.root}/sites.yml`, text + second);
  const terminal = deployer(['deploy_all', '--parallel-per-host=2'], { columns: 150 });
  const live = await terminal.until(
    (lines) => lines.filter((line) => /▸ static .*held at gate/.test(line)).length === 2,
  );
  expect(live.slice(-2).filter(isLive)).toHaveLength(2);
  await held.open();
  expect(await terminal.ended).toBe(0);
  const lines = await terminal.screen.lines();
  expect(lines.filter(isLive)).toEqual([]);
  expect(lines.at(-2)).toMatch(/^www\.example\.com {2}ok /);
  expect(lines.at(-1)).toMatch(/^b\.example\.com {4}ok /);
  expect(lines.filter((line) => /^\[b\.example\.com\] ✓ static /.test(line))).toHaveLength(1);
});

test('a dumb terminal gets plain lines', async () => {
  await configure({ before_check: `${ESCAPES}; exit 3` });
  const terminal = deployer(['deploy', SITE, '--verbose'], { env: { TERM: 'dumb' } });
  expect(await terminal.ended).toBe(1);
  expect(terminal.bytes()).not.toContain('\x1b');
  expect(terminal.bytes()).toContain(String.raw`\x1b[2J\x1b[H\x1b]0;title\x07\x1b[?25lescaped`);
  expect(terminal.bytes()).toMatch(/\n {2}check +\d+\.\d s {2}FAILED\r\n/);
});

/** Draws a live view and counts in a file, as an endless step would let us. */
const ENDLESS = `
import { appendFileSync } from 'node:fs';
import { logOf } from ${JSON.stringify(new URL('../../build/commands/log.js', import.meta.url))};
const globals = { verbose: false, quiet: false, color: false };
const log = await logOf({ io: process, globals }, false);
log.report({ site: 'x', type: 'started', step: 'code', title: '' });
setInterval(() => appendFileSync('beats', '.'), 50);
process.on('SIGINT', () => {
  log[Symbol.dispose]();
  process.exitCode = 3;
  process.exit();
});
`;

test('^S stops the screen and not the deploy', async () => {
  const argv = [process.execPath, '--input-type=module', '--eval', ENDLESS];
  const env = { ...ENV, TERM: 'xterm-256color' };
  const terminal = atTerminal(argv, { cwd: world.root, env, columns: 80, rows: 24 });
  const beats = async () => (await readFile(`${world.root}/beats`, 'utf8')).length;
  await terminal.until((lines) => /^▸ code/.test(lines.at(-1) ?? ''));
  terminal.type('\x13');
  const before = await beats();
  await expect.poll(beats, { timeout: 60_000 }).toBeGreaterThan(before + 80);
  const seconds = Number(/(\d+) s/.exec((await terminal.screen.lines()).join())?.[1]);
  terminal.type('\x11');
  await terminal.until(
    (lines) => Number(/^▸ code +(\d+) s/.exec(lines.at(-1) ?? '')?.[1]) > seconds + 2,
  );
  terminal.type('\x03');
  expect(await terminal.ended).toBe(3);
});

test('in GitHub Actions: the output of a step folded, the reason not, nothing of it a command', async () => {
  await configure({ before_static: `echo ::set-env name=A::b; ${ESCAPES}; exit 3` });
  const { stderr, exitCode } = await execa(process.execPath, [BIN, 'deploy', SITE], {
    cwd: world.root,
    env: { ...ENV, GITHUB_ACTIONS: 'true', CI: 'true' },
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
  expect(exitCode).toBe(1);
  const group = /^::group::static: .*\n([\s\S]*?)\n::endgroup::\n {2}static .* FAILED$/m.exec(
    stderr,
  );
  const said = [
    '    | ::set-env name=A::b',
    String.raw`    | \x1b[2J\x1b[H\x1b]0;title\x07\x1b[?25lescaped`,
  ].join('\n');
  expect(group?.[1]).toContain(said);
  const error = /^::error::(www\.example\.com: deploy failed in static.*)$/m.exec(stderr);
  expect(error?.[1]?.replaceAll('%0A', '\n')).toContain(said);
  expect(stderr).not.toMatch(/^\s*::(?!group::|endgroup::$|error::www)/m);
});
