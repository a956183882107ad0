import type { DeployEvent, Failure, Report } from '../events.ts';
import { visible } from '../secrets.ts';

export interface LinesOptions {
  readonly write: (text: string) => void;
  /** Every line of child output. */
  readonly verbose: boolean;
  /** Failures only. */
  readonly quiet: boolean;
  readonly color: boolean;
  /** Several sites at once: each line names its own. */
  readonly prefix: boolean;
}

/** Plain lines, one for each step with its time; nothing is ever overwritten. */
export function linesReporter(options: LinesOptions): Report {
  const paint = painter(options.color);
  return (event) => {
    const text = lineOf(event, paint, options);
    if (text === undefined) return;
    const prefix = options.prefix ? `[${event.site}] ` : '  ';
    options.write(
      text
        .split('\n')
        .map((line) => `${prefix}${line}\n`)
        .join(''),
    );
  };
}

function lineOf(
  event: DeployEvent,
  paint: Paint,
  { verbose, quiet }: LinesOptions,
): string | undefined {
  const { type } = event;
  if (quiet && type !== 'failed' && type !== 'warned') return undefined;
  switch (type) {
    case 'started':
      return verbose ? paint('dim', `${event.step}: ${event.title}`) : undefined;
    case 'log':
      return verbose ? paint('dim', indented(event.text)) : undefined;
    case 'done':
      return [
        row(event.step, event.seconds),
        ...event.notes.map((note) => `    ${visible(note)}`),
      ].join('\n');
    case 'skipped':
      return `${row(event.step, event.seconds)}  ${paint('dim', `skipped: ${visible(event.reason)}`)}`;
    case 'failed':
      return paint('red', `${row(event.step, event.seconds)}  ${wordFor(event.failure)}`);
    case 'undoing':
      return undefined;
    case 'undone':
      return event.failure
        ? paint('red', `${row(`undo ${event.step}`, event.seconds)}  FAILED`)
        : row(`undo ${event.step}`, event.seconds);
    case 'recovering':
      return paint(
        'yellow',
        `the ${event.kind} ${event.run} by ${event.by} died in ${event.step}: settling it first`,
      );
    case 'recovered':
      return recovered(event, paint);
    case 'warned':
      return paint(
        'yellow',
        `warning: ${event.step ? `${event.step}: ` : ''}${visible(event.message).replaceAll('\n', '\n    ')}`,
      );
  }
}

/** A step that ended because a person asked for it did not fail. */
const wordFor = ({ code }: Failure): string => (code === STOPPED ? 'stopped' : 'FAILED');
const STOPPED = 130;

function recovered(event: Extract<DeployEvent, { type: 'recovered' }>, paint: Paint): string {
  if (event.committed) return `it had gone live and been proven: it stays`;
  if (event.failures.length === 0) return 'it is undone';
  return paint('red', `it is undone, but for: ${event.failures.join(', ')}`);
}

const row = (name: string, seconds: number): string =>
  `${name.padEnd(18)}${seconds.toFixed(1).padStart(6)} s`;

const indented = (text: string): string =>
  visible(text.trimEnd())
    .split('\n')
    .map((line) => `  | ${line}`)
    .join('\n');

type Paint = (color: keyof typeof COLORS, text: string) => string;
const COLORS = { dim: 2, red: 31, yellow: 33 } as const;

const painter =
  (color: boolean): Paint =>
  (name, text) =>
    color ? `\x1b[${COLORS[name]}m${text}\x1b[0m` : text;
