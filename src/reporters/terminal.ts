import type { DeployEvent } from '../events.ts';
import { visible } from '../secrets.ts';
import { eventLines, paint, row, type Wording } from './event-lines.ts';
import { LiveRegion, type Terminal } from './live-region.ts';
import type { Log } from './log.ts';
import { cut, widthOf } from './width.ts';

export interface TerminalOptions extends Wording {
  readonly terminal: Terminal;
  /** Several sites at once: each line names its own. */
  readonly prefix: boolean;
  /** Whether the terminal can show more than ASCII. */
  readonly unicode: boolean;
}

/** What is under way on one site. `since` is of `performance.now`; `said` the last line of its output. */
interface Running {
  readonly name: string;
  readonly since: number;
  said: string;
}

/**
 * The live view: what is over stands as lines, and below it each step under way has one line with its seconds and the
 * last line of its output. At most ten frames a second, each of them one write.
 */
export function terminalLog(options: TerminalOptions): Log {
  const region = new LiveRegion(options.terminal);
  const running = new Map<string, Running>();
  let above = '';
  let betweenSteps = false;
  const draw = () => {
    const lines = [...running].map(([site, step]) => liveLine(site, step, options, region.columns));
    region.draw(above, fitting(lines, region));
    above = '';
  };
  const frames = setInterval(() => {
    if (betweenSteps) betweenSteps = false;
    else if (!options.terminal.writableNeedDrain) draw();
  }, 100).unref();
  const forget = () => region.forget();
  process.on('SIGCONT', forget);
  const print = (text: string) => {
    above += text;
    draw();
  };
  const clear = () => {
    region.draw(above, []);
    above = '';
  };
  return {
    report: (event) => {
      follow(event, running);
      betweenSteps = ['done', 'skipped', 'undone'].includes(event.type);
      above += linesAbove(event, options, region.columns);
    },
    print,
    fail: (text) => print(`${text}\n`),
    ended: (site) => void running.delete(site),
    clear,
    [Symbol.dispose]: () => {
      clearInterval(frames);
      process.off('SIGCONT', forget);
      clear();
    },
  };
}

function follow(event: DeployEvent, running: Map<string, Running>): void {
  const begin = (name: string) =>
    running.set(event.site, { name, since: performance.now(), said: '' });
  if (event.type === 'started') begin(event.step);
  else if (event.type === 'undoing') begin(`undo ${event.step}`);
  else if (event.type === 'log') {
    const step = running.get(event.site);
    if (step) step.said = lastLine(event.text) || step.said;
  } else if (['done', 'skipped', 'failed', 'undone'].includes(event.type))
    running.delete(event.site);
}

/** Of a line that a progress bar wrote again and again, what it wrote last. */
function lastLine(text: string): string {
  const lines = text.slice(-4096).split(/[\r\n]/);
  const last = lines.findLast((line) => line.trim() !== '') ?? '';
  return visible(last.replaceAll('\t', ' ').trim());
}

function linesAbove(event: DeployEvent, options: TerminalOptions, columns: number): string {
  const mark = markOf(event, options);
  return eventLines(event, { ...options, compact: isNarrow(columns) })
    .map((line, index) => `${prefixOf(event.site, options)}${index === 0 ? mark : ' '} ${line}\n`)
    .join('');
}

function liveLine(
  site: string,
  { name, since, said }: Running,
  options: TerminalOptions,
  columns: number,
): string {
  const { running, more } = marks(options);
  const seconds = String(Math.floor((performance.now() - since) / 1000));
  const compact = isNarrow(columns);
  const head = `${prefixOf(site, options)}${running} ${row(name, seconds, { compact })}`;
  const start = cut(head, columns - 1, more);
  const room = columns - 1 - widthOf(start) - 2;
  if (said === '' || room < 4) return start;
  return `${start}  ${paint('dim', cut(said, room, more), options.color)}`;
}

function fitting(lines: readonly string[], { room, columns }: LiveRegion): readonly string[] {
  if (lines.length <= room) return lines;
  const shown = lines.slice(0, room - 1);
  return [...shown, cut(`  and ${lines.length - shown.length} more`, columns - 1, '')];
}

const prefixOf = (site: string, { prefix }: TerminalOptions): string =>
  prefix ? `[${site}] ` : '';

const isNarrow = (columns: number): boolean => columns < 60;

const marks = ({ unicode }: TerminalOptions) =>
  unicode
    ? { done: '✓', failed: '✗', running: '▸', more: '…' }
    : { done: '+', failed: 'x', running: '>', more: '~' };

function markOf(event: DeployEvent, options: TerminalOptions): string {
  const { done, failed } = marks(options);
  switch (event.type) {
    case 'done':
      return paint('green', done, options.color);
    case 'undone':
      return event.failure
        ? paint('red', failed, options.color)
        : paint('green', done, options.color);
    case 'failed':
      return paint('red', failed, options.color);
    case 'skipped':
      return '-';
    case 'recovering':
    case 'warned':
      return paint('yellow', '!', options.color);
    default:
      return ' ';
  }
}
