import type { DeployEvent } from '../events.ts';
import type { Ci } from './ci.ts';
import { eventLines } from './event-lines.ts';
import type { Log } from './log.ts';

export interface GroupsOptions {
  readonly write: (text: string) => void;
  readonly ci: Ci;
  readonly color: boolean;
}

/**
 * The log of a CI job: all output of a step in a group of its own, and under it, never folded, how the step ended. For
 * one site at a time.
 */
export function groupsLog({ write, ci, color }: GroupsOptions): Log {
  let title = '';
  let end: (() => string) | undefined;
  const close = () => {
    if (end) write(end());
    end = undefined;
  };
  const open = () => {
    if (end) return;
    const group = ci.group(title);
    write(group.start);
    end = group.end;
  };
  const print = (text: string) => {
    close();
    write(ci.harmless(text));
  };
  return {
    report: (event) => {
      const lines = eventLines(event, { verbose: event.type === 'log', quiet: false, color });
      const text = lines.map((line) => `  ${line}\n`).join('');
      if (event.type === 'log') {
        open();
        write(ci.harmless(text));
      } else if (text !== '') print(text);
      title = titleOf(event) ?? title;
    },
    print,
    fail: (text) => {
      close();
      write(ci.failure(ci.harmless(text)));
    },
    ended: close,
    clear: close,
    [Symbol.dispose]: close,
  };
}

function titleOf(event: DeployEvent): string | undefined {
  if (event.type === 'started') return `${event.step}: ${event.title}`;
  return event.type === 'undoing' ? `undo ${event.step}` : undefined;
}
