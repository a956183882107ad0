import type { Site } from '../config/site.ts';
import type { Report } from '../events.ts';
import { ciOf } from '../reporters/ci.ts';
import { visible } from '../secrets.ts';
import type { Verdict } from '../verdict.ts';
import type { Context } from './context.ts';
import { logOf } from './log.ts';

/** How a command is shown: its events as they come, then its answer. stdout is the answer, stderr the log. */
export interface Presentation extends Disposable {
  readonly report: Report;
  /** Before the first event of a site. */
  readonly announce: (site: Site, action: string) => void;
  readonly result: (verdict: Verdict) => void;
  /** After the last result of an `_all` command. */
  readonly summary: (verdicts: readonly Verdict[], exit: number) => void;
  readonly say: (text: string) => void;
}

/** `several`: an `_all` command, whose answer is a table. */
export async function presentation(context: Context, several: boolean): Promise<Presentation> {
  return context.globals.json ? jsonPresentation(context) : plainPresentation(context, several);
}

async function jsonPresentation({ io }: Context): Promise<Presentation> {
  const { jsonLines } = await import('../reporters/json.ts');
  const { report, say } = jsonLines((line) => io.stdout.write(line));
  return {
    report,
    announce: () => {},
    result: (verdict) => say({ type: 'result', ...verdict }),
    summary: (verdicts, exit) =>
      say({
        type: 'summary',
        exit,
        sites: verdicts.map(({ site, exit: code }) => ({ site, exit: code })),
      }),
    say: () => {},
    [Symbol.dispose]: () => {},
  };
}

async function plainPresentation(context: Context, several: boolean): Promise<Presentation> {
  const { io, globals } = context;
  const log = await logOf(context, several);
  const harmless = ciOf(io.env)?.harmless ?? ((text: string) => text);
  const answer = (text: string) => {
    log.clear();
    const write = () => void io.stdout.write(text);
    if (io.stderr.writableLength) io.stderr.write('', write);
    else write();
  };
  return {
    report: log.report,
    announce: (site, action) => {
      if (!globals.quiet) log.print(`${several ? `[${site.name}]` : `${site.name}:`} ${action}\n`);
    },
    result: (verdict) => {
      log.ended(verdict.site);
      if (!several && verdict.exit === 0 && verdict.release !== '') {
        const { site, release, commit } = verdict;
        answer(`${visible([site, release, commit].filter(Boolean).join(' '))}\n`);
      }
      if (verdict.exit === 0 && globals.quiet) return;
      const mark = several ? `[${verdict.site}] ` : `${verdict.site}: `;
      const details = verdict.details.map((detail) => `${several ? mark : '  '}${visible(detail)}`);
      const text = [`${mark}${visible(verdict.summary)}`, ...details].join('\n');
      if (verdict.exit === 0) log.print(`${text}\n`);
      else log.fail(text);
    },
    summary: (verdicts) => {
      answer(harmless(table(verdicts)));
    },
    say: (text) => log.print(`${text}\n`),
    [Symbol.dispose]: () => log[Symbol.dispose](),
  };
}

function table(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ site, exit, release, live, summary }) =>
    [site, exit === 0 ? 'ok' : `exit ${exit}`, live ?? release, summary].map((cell) =>
      visible(cell).replaceAll('\n', ' '),
    ),
  );
  const width = (column: number) => Math.max(0, ...rows.map((row) => (row[column] ?? '').length));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => (column === 3 ? cell : (cell ?? '').padEnd(width(column))))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
