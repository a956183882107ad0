import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { DeployEvent, Failure } from '../../src/events.ts';
import { linesLog } from '../../src/reporters/lines.ts';
import type { Log } from '../../src/reporters/log.ts';
import { terminalLog } from '../../src/reporters/terminal.ts';
import { cut, widthOf } from '../../src/reporters/width.ts';
import type { StepName } from '../../src/step-names.ts';
import { Screen } from '../support/screen.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
});
const logs: Log[] = [];
afterEach(() => {
  for (const log of logs.splice(0)) log[Symbol.dispose]();
  vi.useRealTimers();
});

const PLAIN = { verbose: false, quiet: false, color: false, prefix: false, unicode: true };

/** A log at a terminal of its own, and a clock that only this test moves. */
function atTerminal(columns = 80, rows = 24, options: Partial<typeof PLAIN> = {}) {
  const screen = new Screen(columns, rows);
  const log = terminalLog({ terminal: screen, ...PLAIN, ...options });
  logs.push(log);
  return { screen, log, after: (seconds: number) => vi.advanceTimersByTime(seconds * 1000) };
}

const SITE = 'www.example.com';
const started = (step: StepName, site = SITE): DeployEvent => ({
  ...{ type: 'started', site, step, title: `Title of ${step}` },
});
const said = (step: StepName, text: string, site = SITE): DeployEvent => ({
  ...{ type: 'log', site, step, text },
});
const done = (step: StepName, seconds: number, site = SITE): DeployEvent => ({
  ...{ type: 'done', site, step, seconds, notes: [] },
});
const failure: Failure = {
  ...{ code: 1, error: undefined, message: undefined, hint: undefined },
  ...{ problems: [], lastLines: [] },
};

function reportAll(log: Log, events: readonly DeployEvent[]): void {
  for (const event of events) log.report(event);
}

test('a good deploy: each step under way with its seconds and its last line, what is over above it', async () => {
  const { screen, log, after } = atTerminal();
  log.print(`${SITE}: deploy of main\n`);
  reportAll(log, [started('lock'), done('lock', 0.04), started('dependencies')]);
  log.report(said('dependencies', 'Collecting django\nCollecting gunicorn\n\n'));
  after(2.2);
  expect(await screen.lines()).toEqual([
    `${SITE}: deploy of main`,
    '✓ lock                 0.0 s',
    '▸ dependencies           2 s  Collecting gunicorn',
  ]);
  expect(await screen.cursor()).toEqual({ column: 0, row: 3 });
  reportAll(log, [
    done('dependencies', 2.24),
    { site: SITE, type: 'skipped', step: 'static', reason: 'no STATIC_ROOT', seconds: 0.3 },
    { site: SITE, type: 'warned', step: 'restart', message: 'one\ntwo' },
  ]);
  log.ended(SITE);
  log.clear();
  expect(await screen.lines()).toEqual([
    `${SITE}: deploy of main`,
    '✓ lock                 0.0 s',
    '✓ dependencies         2.2 s',
    '- static               0.3 s  skipped: no STATIC_ROOT',
    '! warning: restart: one',
    '      two',
  ]);
  expect(await screen.cursor()).toEqual({ column: 0, row: 6 });
});

test('a failing deploy: what failed, each undo while it runs, a run that died before', async () => {
  const { screen, log, after } = atTerminal();
  const { site } = { site: SITE };
  log.report({ site, type: 'recovering', run: 'R', kind: 'deploy', by: 'ana@x', step: 'migrate' });
  log.report({ site, type: 'undoing', step: 'migrate' });
  log.report(said('migrate', 'Unapplying shop.0002\n'));
  after(1.1);
  expect(await screen.lines()).toEqual([
    '! the deploy R by ana@x died in migrate: settling it first',
    '▸ undo migrate           1 s  Unapplying shop.0002',
  ]);
  reportAll(log, [
    { site, type: 'undone', step: 'migrate', seconds: 1.1, failure: undefined },
    { site, type: 'recovered', run: 'R', committed: false, failures: [] },
    started('static'),
    { site, type: 'failed', step: 'static', seconds: 3, failure },
    { site, type: 'undoing', step: 'shared' },
    { site, type: 'undone', step: 'shared', seconds: 0.1, failure },
  ]);
  log.clear();
  expect(await screen.lines()).toEqual([
    '! the deploy R by ana@x died in migrate: settling it first',
    '✓ undo migrate         1.1 s',
    '  it is undone',
    '✗ static               3.0 s  FAILED',
    '✗ undo shared          0.1 s  FAILED',
  ]);
});

test('a site that ended without a word of its step leaves no line behind', async () => {
  const { screen, log, after } = atTerminal();
  log.report(started('migrate'));
  after(1);
  log.ended(SITE);
  log.print('outcome unknown\n');
  after(5);
  expect(await screen.lines()).toEqual(['outcome unknown']);
});

test('a frame writes only what changed, and no more than ten of them a second', async () => {
  const { screen, log, after } = atTerminal(80, 24, { prefix: true });
  const write = vi.spyOn(screen, 'write');
  reportAll(log, [started('code', 'a'), started('backup', 'b')]);
  after(0.9);
  expect(write).toHaveBeenCalledTimes(1);
  log.report(said('backup', 'reading it through\n', 'b'));
  after(0.1);
  write.mockClear();
  log.report(said('backup', 'read\n', 'b'));
  after(0.1);
  expect(write).toHaveBeenCalledTimes(1);
  expect(write.mock.lastCall?.[0]).not.toContain('code');
  expect(await screen.lines()).toEqual([
    '[a] ▸ code                   1 s',
    '[b] ▸ backup                 1 s  read',
  ]);
  write.mockClear();
  for (let count = 0; count < 1000; count++) {
    log.report(said('backup', `file ${count}\n`, 'b'));
    after(0.001);
  }
  expect(write.mock.calls.length).toBeLessThanOrEqual(10);
});

test('a terminal that is behind gets no more frames, and all that it missed when it is ready again', async () => {
  const screen = new Screen(80, 24);
  let writableNeedDrain = true;
  const terminal = {
    write: (text: string) => screen.write(text),
    get writableNeedDrain() {
      return writableNeedDrain;
    },
  };
  using log = terminalLog({ terminal, ...PLAIN });
  reportAll(log, [started('code'), done('code', 1), started('backup')]);
  vi.advanceTimersByTime(5000);
  expect(screen.frames).toEqual([]);
  writableNeedDrain = false;
  vi.advanceTimersByTime(100);
  expect(await screen.lines()).toEqual([
    ...['✓ code                 1.0 s', '▸ backup                 5 s'],
  ]);
});

test('between two steps the live line does not go out and on again', async () => {
  const { screen, log, after } = atTerminal();
  log.report(started('shared'));
  after(0.395);
  log.report(done('shared', 0.4));
  after(0.01);
  log.report(started('writable'));
  after(0.2);
  const last = (await screen.lines()) && screen.frames.map(({ lines }) => lines.at(-1));
  expect(last.filter((line) => !line?.startsWith('▸'))).toEqual([]);
  expect(last.at(-1)).toContain('writable');
});

const ESCAPES = '\x1b[2J\x1b[H\x1b]0;title\x07\x9b5A\x1bc\x1b[?1049h\x08\x7f\x0e';

test.each([
  ['escapes', ESCAPES],
  ['a progress bar', `  10%\r  50%\r ${'#'.repeat(60)} 90%\r\n`],
  ['tabs', `a\t\tb\t${'\tc'.repeat(40)}`],
  ['wide characters', '\u65e5\u672c\u8a9e'.repeat(30)],
  ['combining characters', 'e\u0301n\u0303'.repeat(40)],
  ['marks that a terminal may not know', 'a\u08e3\u1ab0\u1df5'.repeat(40)],
  ['pictures', '\u{1f469}\u200d\u{1f469}\u200d\u{1f467}\u2764\ufe0f1\ufe0f\u20e3'.repeat(20)],
  ['half a character', '\u{1f469}'.repeat(3000).slice(1)],
  ['the direction of writing', '\u202eabc\u2066'.repeat(20)],
])('%s in the output never break the live line', async (_, text) => {
  for (const columns of [80, 33]) {
    const { screen, log, after } = atTerminal(columns, 5);
    reportAll(log, [done('lock', 1), started('code'), said('code', `${text}\n`)]);
    after(1);
    log.report(said('code', `${text}x\n`));
    after(1);
    const lines = await screen.lines();
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^✓ lock +1\.0 ?s$/);
    expect(lines[1]).toMatch(/^▸ code +2 ?s {2}\S/);
    expect(await screen.cursor()).toEqual({ column: 0, row: 2 });
    log.report(done('code', 2));
    log.clear();
    expect(await screen.lines()).toHaveLength(2);
    expect(screen.titles).toEqual([]);
    expect(screen.wraps).toBe(true);
  }
});

test('of a progress bar the last that it wrote is shown, of a table its words, and no blank line', async () => {
  const { screen, log, after } = atTerminal();
  reportAll(log, [started('code'), said('code', '10%\r 50%\r 90%\r\n'), said('code', ' \n\n')]);
  after(0.1);
  expect(await screen.lines()).toEqual(['▸ code                   0 s  90%']);
  log.report(said('code', '\tname\tsize\n'));
  after(0.1);
  expect(await screen.lines()).toEqual(['▸ code                   0 s  name size']);
});

test('--verbose: every line of output stands above the live line, escapes spelt out', async () => {
  const { screen, log, after } = atTerminal(60, 6, { verbose: true });
  log.report(started('code'));
  for (let line = 0; line < 30; line++) {
    log.report(said('code', `line ${line} ${line === 7 ? ESCAPES : ''}\n`));
    after(0.07);
  }
  const lines = await screen.lines();
  expect(lines[0]).toBe('  code: Title of code');
  expect(lines.filter((line) => line.startsWith('    | line'))).toHaveLength(30);
  expect(lines.at(-1)).toBe('▸ code                   2 s  line 29');
  expect(lines.join('')).toContain('line 7 \\x1b[2J\\x1b[H\\x1b]0;title\\x07\\x9b5A');
  expect(screen.titles).toEqual([]);
});

test('20 columns: nothing wraps that lives', async () => {
  const { screen, log, after } = atTerminal(20, 10);
  reportAll(log, [done('lock', 0.1), started('dependencies'), said('dependencies', 'Collecting')]);
  after(13);
  expect(await screen.lines()).toEqual(['✓ lock 0.1s', '▸ dependencies 13s']);
  reportAll(log, [done('dependencies', 13), started('code'), said('code', 'Receiving objects')]);
  after(2);
  expect(await screen.lines()).toEqual([
    ...['✓ lock 0.1s', '✓ dependencies 13.0s', '▸ code 2s  Receivi…'],
  ]);
});

test('a window that is made narrow and wide again: what is over stays, the live line fits', async () => {
  const { screen, log, after } = atTerminal(100, 10);
  reportAll(log, [done('lock', 0.1), started('code'), said('code', 'word '.repeat(40))]);
  after(1);
  for (const columns of [41, 20, 70, 35, 100]) {
    await screen.lines();
    await screen.resize(columns, 10);
    after(1);
    const lines = await screen.lines();
    expect(lines.filter((line) => line.includes('▸'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('✓'))).toHaveLength(1);
    expect(lines.at(-1)?.length).toBeGreaterThan(columns - 8);
  }
  log.report(done('code', 9));
  log.clear();
  expect(await screen.lines()).toEqual([
    '✓ lock                 0.1 s',
    '✓ code                 9.0 s',
  ]);
});

test('more sites than a low terminal has lines: it shows what it can, and every end once', async () => {
  const { screen, log, after } = atTerminal(80, 6, { prefix: true });
  const sites = Array.from({ length: 12 }, (_, index) => `s${index}`);
  reportAll(
    log,
    sites.map((site) => started('code', site)),
  );
  after(2);
  expect(await screen.lines()).toEqual([
    ...['s0', 's1', 's2'].map((site) => `[${site}] ▸ code                   2 s`),
    '  and 9 more',
  ]);
  for (const site of sites) {
    log.report(done('code', 3, site));
    after(0.2);
    log.ended(site);
  }
  log.clear();
  expect(await screen.lines()).toEqual(
    sites.map((site) => `[${site}] ✓ code                 3.0 s`),
  );
});

test('what others write after clear, or while we were stopped, stays as it is', async () => {
  const { screen, log, after } = atTerminal();
  log.report(started('code'));
  after(1);
  log.clear();
  screen.write('the answer\n');
  after(1);
  screen.write('^Z\n[1]+ Stopped\n$ fg\n');
  process.emit('SIGCONT');
  after(2);
  log.report(done('code', 4));
  log[Symbol.dispose]();
  screen.write('$ ');
  expect(await screen.lines()).toEqual([
    'the answer',
    '▸ code                   2 s',
    ...['^Z', '[1]+ Stopped', '$ fg', '✓ code                 4.0 s', '$'],
  ]);
  expect(process.listenerCount('SIGCONT')).toBe(0);
});

test('without Unicode every mark is ASCII; without colours nothing is coloured', async () => {
  const screen = new Screen(60, 10);
  const write = vi.spyOn(screen, 'write');
  const log = terminalLog({ terminal: screen, ...PLAIN, unicode: false });
  reportAll(log, [started('code'), said('code', 'word '.repeat(40))]);
  vi.advanceTimersByTime(1000);
  log.report({ site: SITE, type: 'failed', step: 'code', seconds: 1, failure });
  log[Symbol.dispose]();
  const bytes = write.mock.calls.join('');
  expect(bytes).not.toMatch(/[^\p{ASCII}]/u);
  expect(bytes.match(/\[[0-9;]*m/)).toBe(null);
  expect(await screen.lines()).toEqual(['x code                 1.0 s  FAILED']);
});

const STEP = fc.constantFrom<StepName>('code', 'static', 'dependencies', 'migrate');
/** What may happen on three sites at once, each event with the milliseconds that pass after it. */
const storyOf = (text: fc.Arbitrary<string>) =>
  fc.array(fc.tuple(eventWith(text), fc.integer({ min: 0, max: 300 })), { maxLength: 40 });

const eventWith = (text: fc.Arbitrary<string>): fc.Arbitrary<DeployEvent> =>
  fc.constantFrom('a', 'b', 'c').chain((site) =>
    fc.oneof(
      STEP.map((step) => started(step, site)),
      fc.tuple(STEP, text).map(([step, words]) => said(step, words, site)),
      STEP.map((step) => done(step, 1, site)),
      STEP.map((step): DeployEvent => ({ site, type: 'undoing', step })),
      STEP.map((step): DeployEvent => ({ site, type: 'failed', step, seconds: 1, failure })),
      text.map((message): DeployEvent => ({ site, type: 'warned', step: undefined, message })),
    ),
  );

test('whatever happens, every frame is the plain log so far with the live lines below it', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 90 });
  await fc.assert(
    fc.asyncProperty(storyOf(text), fc.boolean(), async (events, verbose) => {
      const screen = new Screen(4000, 8);
      const log = terminalLog({ terminal: screen, ...PLAIN, verbose, prefix: true });
      let plain = '';
      const write = (text: string) => {
        plain += text;
      };
      const plainLog = linesLog({ ...PLAIN, write, verbose, prefix: true });
      for (const [event, pause] of events) {
        log.report(event);
        plainLog.report(event);
        vi.advanceTimersByTime(pause);
      }
      log[Symbol.dispose]();
      const only = new Screen(4000, 8);
      only.write(plain);
      const squeezed = (line: string) => line.replace(/\s+/g, ' ').trimEnd(); // a tab is as wide as its place
      const unmarked = (line: string) => squeezed(line.replace(/^(\[\w\]) [✓✗!▸ -] ?/, '$1 '));
      const expected = (await only.lines()).map(squeezed);
      expect((await screen.lines()).map(unmarked)).toEqual(expected);
      for (const { lines: frame, column } of screen.frames) {
        const live = frame.findIndex((line) => line.includes('▸'));
        const above = live < 0 ? frame : frame.slice(0, live);
        expect(column).toBe(0);
        expect(above.map(unmarked)).toEqual(expected.slice(0, above.length));
        expect(frame.length - above.length).toBeLessThanOrEqual(3);
      }
    }),
    { numRuns: 100 },
  );
});

test('at any size of the window, what is over stands there once, whole and in order', async () => {
  const text = fc.string({ unit: fc.constantFrom(...'abc \n'), maxLength: 120 });
  const columnsAndRows = fc.tuple(fc.integer({ min: 8, max: 80 }), fc.integer({ min: 2, max: 12 }));
  await fc.assert(
    fc.asyncProperty(storyOf(text), columnsAndRows, async (events, [columns, rows]) => {
      const screen = new Screen(columns, rows);
      const log = terminalLog({ terminal: screen, ...PLAIN, verbose: true, prefix: true });
      let plain = '';
      const write = (more: string) => {
        plain += more;
      };
      const compact = columns < 60;
      const plainLog = linesLog({ ...PLAIN, write, compact, verbose: true, prefix: true });
      for (const [event, pause] of events) {
        log.report(event);
        plainLog.report(event);
        vi.advanceTimersByTime(pause);
      }
      log[Symbol.dispose]();
      const shown = (await screen.paragraphs()).map((line) =>
        line.replace(/^(\[\w\]) [✓✗!▸ -] ?/, '$1 ').trimEnd(),
      );
      expect(shown).toEqual(
        plain
          .split('\n')
          .map((line) => line.trimEnd())
          .slice(0, -1),
      );
      expect(screen.frames.filter(({ column }) => column !== 0)).toEqual([]);
    }),
    { numRuns: 100 },
  );
});

test.each([
  'plain ascii',
  'cafe\u0301 ñandú',
  '日本語テキスト',
  '한국어',
  '👩‍👩‍👧 ❤️ 1️⃣ 🇪🇸',
  'ﬁ Ω © ™ ①',
])('no terminal shows %s wider than it is counted, and a cut one fits', async (text) => {
  const screen = new Screen(400, 4);
  screen.write(text);
  expect((await screen.cursor()).column).toBeLessThanOrEqual(widthOf(text));
  for (let room = 0; room < 30; room++) {
    const part = cut(text, room, '…');
    expect(widthOf(part)).toBeLessThanOrEqual(room);
    if (part !== text && room > 0) expect(text.startsWith(part.slice(0, -1))).toBe(true);
  }
});
