import { readFile } from 'node:fs/promises';
import { deflateSync } from 'node:zlib';
import type { DeployEvent, Failure, Report } from './events.ts';
import type { Entry, Plan } from './plan.ts';
import type { Ending, RemoteProcess, Runner } from './runners/runner.ts';
import type { StepName } from './step-names.ts';
import { encodeFrame, FrameReader } from './wire.ts';

/** How a session ended. Only `done` is success; after `lost` nobody here knows. */
export type Outcome =
  /** The release is live; `served` tells whether that is proven. */
  | {
      readonly how: 'done';
      readonly release: string;
      readonly commit: string;
      readonly live: string;
      readonly served: Served;
      readonly stale: string;
    }
  /** There was nothing to do (`unlock`). */
  | { readonly how: 'nothing' }
  /** Everything that was done is undone. */
  | {
      readonly how: 'undone';
      readonly step: StepName;
      readonly why: Why;
      readonly failure: Failure | undefined;
      readonly live: string;
      readonly release: string;
    }
  /** Undone but for what `remains` names. */
  | {
      readonly how: 'stuck';
      readonly step: StepName;
      readonly why: Why;
      readonly failure: Failure | undefined;
      readonly live: string;
      readonly release: string;
      readonly remains: readonly Remains[];
    }
  /** Another run holds the lock: who, in which step, since when. */
  | {
      readonly how: 'locked';
      readonly holder: string;
      readonly step: string;
      readonly since: string;
    }
  /** The session would not begin: nothing was done. */
  | { readonly how: 'refused'; readonly message: string; readonly hint: string | undefined }
  /** No session came about: nothing was done. */
  | { readonly how: 'unreachable'; readonly message: string }
  /** The connection was lost: the target goes on by itself. */
  | { readonly how: 'lost'; readonly reason: string; readonly step: StepName };

export type Why = 'failed' | 'cancelled' | 'terminated' | 'lost';

/** What an undo could not put back. */
export interface Remains {
  readonly step: string;
  readonly failure: Failure;
}

/** What is known of the processes that serve the release. */
export type Served =
  | { readonly proven: true }
  | { readonly proven: false; readonly reason: string; readonly start: string | undefined };

export interface SessionOptions {
  /** `ana@laptop`, for whoever finds the lock. */
  readonly by: string;
  /** The command as typed, without secrets. */
  readonly command: string;
  /** `unlock` only: stops the holder. */
  readonly force?: boolean;
  readonly report: Report;
  /** The first abort asks the target to stop and undo; the second lets go of it. */
  readonly cancel?: AbortSignal;
  readonly leave?: AbortSignal;
  /** Only for tests: nobody has reason to wait for other times. */
  readonly times?: Partial<Times>;
}

/** Seconds. */
interface Times {
  /** The target takes a client for gone that says nothing for so long. */
  readonly silence: number;
  /** What a step has to end in when it is asked to stop. */
  readonly grace: number;
  /** How long the target waits for what cannot be stopped. */
  readonly patience: number;
  /** Both sides say something at least this often. */
  readonly beat: number;
  /** The client takes a target for lost that says nothing for so long. */
  readonly deadAfter: number;
}

const TIMES: Times = { silence: 20, grace: 5, patience: 60, beat: 5, deadAfter: 30 };
const GREETING = Buffer.from('\ndeployer session 1\n');
const CANCEL = encodeFrame('C', '');

/** Runs a plan on a target. Reports what happens, resolves to how it ended; rejects only with a DeployError of the runner. */
export async function runSession(
  runner: Runner,
  plan: Plan,
  options: SessionOptions,
): Promise<Outcome> {
  const [program, frames] = await Promise.all([sessionProgram(), planFrames(plan, options)]);
  const process = await runner.start(['python3', '-ISc', program]);
  if (options.cancel?.aborted) process.write(CANCEL);
  process.write(frames);
  return new Conversation(process, plan, options).outcome;
}

/** The session program as one argument: base64 in double quotes is safe in every login shell, and it holds no secret. */
async function sessionProgram(): Promise<string> {
  const source = withoutComments((await targetFile('session.py')).toString());
  const packed = deflateSync(source, { level: 9 }).toString('base64');
  return `import zlib,binascii;exec(compile(zlib.decompress(binascii.a2b_base64("${packed}")),"session.py","exec"))`;
}

/** With every line where it was, so that a traceback names the right ones. */
const withoutComments = (source: string): string =>
  source
    .replace(/^ *"""[\s\S]*?"""$/gm, (text) => text.replace(/[^\n]+/g, ''))
    .replace(/(^ *| {2})# .*$/gm, '');

const targetFile = (name: string): Promise<Buffer> =>
  readFile(new URL(`./target/${name}`, import.meta.url));

async function planFrames(plan: Plan, options: SessionOptions): Promise<Buffer> {
  const tools = await Promise.all(
    plan.tools.map(async (name) => [name, (await targetFile(name)).toString()]),
  );
  const times = { ...TIMES, ...options.times };
  const words = [
    ...[
      '1',
      plan.place,
      plan.kind,
      plan.site,
      options.by,
      options.command,
      options.force ? 'force' : '',
    ],
    ...[times.silence, times.grace, times.patience, times.beat].map(String),
    plan.prelude.text,
    ...[String(plan.secrets.length), ...plan.secrets],
    ...[String(tools.length), ...tools.flat()],
    ...plan.entries.flatMap(entryWords),
  ];
  if (words.some((word) => word.includes('\0')))
    throw new TypeError('a plan cannot hold a NUL character');
  const keys = [
    ...Object.entries(plan.keys).map(([name, value]) => `${name}=${value}`),
    ...plan.keySecrets.map((value) => `=${value}`),
  ];
  return Buffer.concat([
    encodeFrame('K', keys.join('\0')),
    encodeFrame('P', deflateSync(`${words.join('\0')}\0`)),
  ]);
}

function entryWords(entry: Entry): readonly string[] {
  return [
    ...[entry.name, entry.phase, entry.orphan, String(entry.limit), String(entry.undoLimit)],
    ...[entry.needsKeys ? 'keys' : '', entry.run.text, entry.undo?.text ?? ''],
  ];
}

/** Listens to one session, and turns what it says into events and an outcome. */
class Conversation {
  readonly outcome: Promise<Outcome>;
  readonly #process: RemoteProcess;
  readonly #plan: Plan;
  readonly #options: SessionOptions;
  readonly #frames = new FrameReader(GREETING);
  readonly #beat: NodeJS.Timeout;
  #resolve: (outcome: Outcome) => void = () => {};
  #errors = '';
  readonly #times: Times;
  /** Beats of ours since the target last said something: a clock would also count the hours of a closed laptop. */
  #unanswered = 0;
  #begun = Date.now();
  #step: StepName = 'lock';
  #speaking: StepName = 'lock';
  #lines: string[] = [];
  #failure: Failure | undefined;
  #remains: Remains[] = [];
  #served: Served = { proven: true };

  constructor(process: RemoteProcess, plan: Plan, options: SessionOptions) {
    this.#process = process;
    this.#plan = plan;
    this.#options = options;
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#times = { ...TIMES, ...options.times };
    this.#beat = setInterval(() => this.#keepAlive(), this.#times.beat * 1000);
    options.cancel?.addEventListener('abort', this.#cancel);
    options.leave?.addEventListener('abort', this.#leave);
    process.onErrors((data) => {
      this.#errors = (this.#errors + data.toString()).slice(-4096);
    });
    process.onOutput((data) => {
      this.#unanswered = 0;
      for (const { kind, words } of this.#frames.read(data)) this.#hears[kind]?.(words);
    });
    process.ended.then((ending) => this.#closed(ending));
    if (plan.entries.length > 0)
      this.#report({ type: 'started', step: 'lock', title: 'Take the lock' });
    if (options.leave?.aborted) this.#leave();
  }

  readonly #cancel = (): void => this.#process.write(CANCEL);
  readonly #leave = (): void => this.#lost('left');

  #keepAlive(): void {
    const { beat, deadAfter } = this.#times;
    this.#unanswered++;
    if (this.#unanswered * beat > deadAfter) this.#lost(`silent for ${deadAfter} s`);
    else this.#process.write(encodeFrame('B', ''));
  }

  #closed(ending: Ending): void {
    const reason = reasonOf(ending);
    const errors = this.#errors.trim();
    if (this.#frames.greeted) {
      this.#lost([reason, ...errors.split('\n').slice(-1)].filter(Boolean).join(': '));
    } else {
      const lines = [`no session could be started: ${reason}`, errors, this.#frames.noise.trim()];
      this.#end({ how: 'unreachable', message: lines.filter(Boolean).join('\n') });
    }
  }

  #lost(reason: string): void {
    this.#end({ how: 'lost', reason, step: this.#step });
  }

  #end(outcome: Outcome): void {
    clearInterval(this.#beat);
    this.#options.cancel?.removeEventListener('abort', this.#cancel);
    this.#options.leave?.removeEventListener('abort', this.#leave);
    this.#process.release();
    this.#resolve(outcome);
  }

  #report(event: EventOfSite): void {
    this.#options.report({ site: this.#plan.site, ...event } as DeployEvent);
  }

  readonly #hears: Readonly<Record<string, (words: readonly string[]) => void>> = {
    I: ([, , stale]) => this.#locked(stale),
    S: ([index]) => this.#started(this.#entry(index)),
    O: (words) => this.#log(words.join('\0')),
    E: ([index, code, ...said]) => this.#ended(this.#entry(index), Number(code), readAnswers(said)),
    U: ([step]) => this.#undoing(step as StepName),
    V: ([step, code, ...said]) => this.#undone(step as StepName, Number(code), readAnswers(said)),
    W: ([step, message = '']) => this.#report({ type: 'warned', step: step as StepName, message }),
    X: ([run = '', kind = '', by = '', step = '']) =>
      this.#report({ type: 'recovering', run, kind, by, step }),
    R: ([run = '', how, ...failures]) => this.#recovered(run, how === 'committed', failures),
    L: ([holder = '', step = '', since = '']) => this.#end({ how: 'locked', holder, step, since }),
    D: (words) => this.#over(words),
  };

  #entry(index: string | undefined): Entry {
    return this.#plan.entries[Number(index)] as Entry;
  }

  #begin(speaking: StepName): void {
    this.#speaking = speaking;
    this.#begun = Date.now();
    this.#lines = [];
  }

  #seconds(): number {
    return (Date.now() - this.#begun) / 1000;
  }

  #locked(stale: string | undefined): void {
    if (stale)
      this.#report({
        type: 'warned',
        step: 'lock',
        message: `took over a lock without a living holder:\n${stale.trim()}`,
      });
    this.#report({ type: 'done', step: 'lock', seconds: this.#seconds(), notes: [] });
  }

  #started(entry: Entry): void {
    this.#begin(entry.name);
    this.#step = entry.name;
    this.#report({ type: 'started', step: entry.name, title: entry.title });
  }

  #log(text: string): void {
    this.#lines = [...this.#lines, ...text.split('\n').filter((line) => line.trim() !== '')].slice(
      -LAST_LINES,
    );
    this.#report({ type: 'log', step: this.#speaking, text });
  }

  #ended(entry: Entry, code: number, answers: Answers): void {
    this.#warn(entry.name, answers);
    const seconds = this.#seconds();
    const skip = answers.one('skip');
    if (code !== 0 && entry.phase === 'after') {
      const message = answers.one('message') ?? `${entry.name} ended with exit code ${code}`;
      this.#report({ type: 'warned', step: entry.name, message });
    } else if (code !== 0) {
      this.#failure = this.#failureOf(code, answers);
      this.#report({ type: 'failed', step: entry.name, seconds, failure: this.#failure });
    } else if (skip !== undefined) {
      this.#report({ type: 'skipped', step: entry.name, reason: skip, seconds });
    } else {
      this.#report({ type: 'done', step: entry.name, seconds, notes: answers.all('note') });
    }
    this.#served = servedBy(answers) ?? this.#served;
  }

  #warn(step: StepName, answers: Answers): void {
    for (const message of answers.all('warning')) this.#report({ type: 'warned', step, message });
  }

  #undoing(step: StepName): void {
    this.#begin(step);
    this.#report({ type: 'undoing', step });
  }

  #undone(step: StepName, code: number, answers: Answers): void {
    this.#warn(step, answers);
    const failure = code === 0 ? undefined : this.#failureOf(code, answers);
    if (failure) this.#remains.push({ step, failure });
    this.#report({ type: 'undone', step, seconds: this.#seconds(), failure });
  }

  #recovered(run: string, committed: boolean, failures: readonly string[]): void {
    this.#remains = [];
    this.#report({ type: 'recovered', run, committed, failures });
  }

  #failureOf(code: number, answers: Answers): Failure {
    return {
      code,
      error: answers.one('error'),
      message: answers.one('message'),
      hint: answers.one('hint'),
      problems: answers.all('problem'),
      lastLines: this.#lines,
    };
  }

  #over(words: readonly string[]): void {
    const [how, reason = '', detail = '', at = '', release = '', live = '', last = ''] = words;
    if (how === 'refused') {
      this.#end({ how, message: reason, hint: detail || undefined });
    } else if (how === 'nothing') {
      this.#end({ how });
    } else {
      this.#unlocked();
      const step = (at || this.#step) as StepName;
      const why = reason === 'failed' ? reason : (WHYS.find((each) => each === detail) ?? 'lost');
      const undone = { step, why, failure: this.#failure, live, release };
      if (how === 'stuck') this.#end({ how, ...undone, remains: this.#remains });
      else if (how === 'undone') this.#end({ how, ...undone });
      else this.#end(this.#done(release, live, last));
    }
  }

  #unlocked(): void {
    if (this.#plan.entries.length === 0) return;
    this.#report({ type: 'started', step: 'unlock', title: 'Release the lock' });
    this.#report({ type: 'done', step: 'unlock', seconds: 0, notes: [] });
  }

  #done(release: string, live: string, last: string): Outcome {
    const unlock = this.#plan.kind === 'unlock';
    const served = this.#served;
    return {
      how: 'done',
      release,
      commit: unlock ? '' : last,
      live,
      served,
      stale: unlock ? last : '',
    };
  }
}

const WHYS: readonly Why[] = ['cancelled', 'terminated'];
const LAST_LINES = 15;

type WithoutSite<E> = E extends unknown ? Omit<E, 'site'> : never;
type EventOfSite = WithoutSite<DeployEvent>;

interface Answers {
  one(key: string): string | undefined;
  all(key: string): readonly string[];
}

function readAnswers(said: readonly string[]): Answers {
  const pairs = said.map((answer) => {
    const at = answer.indexOf('=');
    return [answer.slice(0, at), answer.slice(at + 1)] as const;
  });
  const all = (key: string) => pairs.filter(([name]) => name === key).map(([, value]) => value);
  return { all, one: (key) => all(key).at(-1) };
}

function servedBy(answers: Answers): Served | undefined {
  const start = answers.one('unserved');
  if (start !== undefined) return { proven: false, reason: 'nothing running', start };
  const reason = answers.one('unproven');
  return reason === undefined ? undefined : { proven: false, reason, start: undefined };
}

function reasonOf(ending: Ending): string {
  if (ending.how === 'lost') return ending.reason;
  return `it ended with ${ending.how === 'exit' ? `exit code ${ending.code}` : ending.signal}`;
}
