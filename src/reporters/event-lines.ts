import type { DeployEvent, Failure } from '../events.ts';
import { visible } from '../secrets.ts';

export interface Wording {
  /** Every line of child output. */
  readonly verbose: boolean;
  /** Failures and warnings only. */
  readonly quiet: boolean;
  readonly color: boolean;
  /** For a narrow terminal: names and times do not stand in columns. */
  readonly compact?: boolean;
}

/** What an event says to people, without newlines; nothing of it can act on a terminal. Empty: not worth a line. */
export function eventLines(event: DeployEvent, wording: Wording): readonly string[] {
  const said = textOf(event, wording);
  if (said === undefined) return [];
  const [text, color] = said;
  return visible(text)
    .split('\n')
    .map((line) => (color === undefined ? line : paint(color, line, wording.color)));
}

/** A step and its seconds, as they stand in their columns. */
export const row = (
  name: string,
  seconds: string,
  { compact = false }: Partial<Wording>,
): string => (compact ? `${name} ${seconds}s` : `${name.padEnd(18)}${seconds.padStart(6)} s`);

/** The text in a colour, if colours are allowed. */
export const paint = (color: Color, text: string, allowed: boolean): string =>
  allowed ? `\x1b[${COLORS[color]}m${text}\x1b[0m` : text;

type Color = keyof typeof COLORS;
const COLORS = { dim: 2, red: 31, green: 32, yellow: 33 } as const;

type Said = readonly [text: string, color?: Color];

function textOf(event: DeployEvent, wording: Wording): Said | undefined {
  const { type } = event;
  if (wording.quiet && type !== 'failed' && type !== 'warned') return undefined;
  const timed = (name: string, seconds: number) => row(name, seconds.toFixed(1), wording);
  switch (type) {
    case 'started':
      return wording.verbose ? [`${event.step}: ${event.title}`, 'dim'] : undefined;
    case 'log':
      return wording.verbose ? [indented(event.text), 'dim'] : undefined;
    case 'done':
      return [
        [timed(event.step, event.seconds), ...event.notes.map((note) => `    ${note}`)].join('\n'),
      ];
    case 'skipped':
      return [`${timed(event.step, event.seconds)}  skipped: ${event.reason}`, 'dim'];
    case 'failed':
      return [`${timed(event.step, event.seconds)}  ${wordFor(event.failure)}`, 'red'];
    case 'undoing':
      return undefined;
    case 'undone': {
      const undone = timed(`undo ${event.step}`, event.seconds);
      return event.failure ? [`${undone}  FAILED`, 'red'] : [undone];
    }
    case 'recovering':
      return [
        `the ${event.kind} ${event.run} by ${event.by} died in ${event.step}: settling it first`,
        'yellow',
      ];
    case 'recovered':
      return recovered(event);
    case 'warned':
      return [
        `warning: ${event.step ? `${event.step}: ` : ''}${event.message.replaceAll('\n', '\n    ')}`,
        'yellow',
      ];
  }
}

/** A step that ended because a person asked for it did not fail. */
const wordFor = ({ code }: Failure): string => (code === STOPPED ? 'stopped' : 'FAILED');
const STOPPED = 130;

function recovered(event: Extract<DeployEvent, { type: 'recovered' }>): Said {
  if (event.committed) return ['it had gone live and been proven: it stays'];
  if (event.failures.length === 0) return ['it is undone'];
  return [`it is undone, but for: ${event.failures.join(', ')}`, 'red'];
}

const indented = (text: string): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => `  | ${line}`)
    .join('\n');
