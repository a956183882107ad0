import { readFile } from 'node:fs/promises';
import { deflateSync } from 'node:zlib';
import type { DeployEvent, Failure, Report } from './events.ts';
import type { Entry, Plan } from './plan.ts';
import type { RemoteProcess, Runner } from './runners/runner.ts';
import type { StepName } from './step-names.ts';
import { encodeFrame, FrameReader } from './wire.ts';

/** How a session ended. Only `done` is success; after `lost` nobody here knows. */
export type Outcome =
  /** The release is live; `served` tells whether that is proven. */
  | { readonly how: 'done'; readonly release: string; readonly commit: string; readonly live: string; readonly served: Served; readonly stale: string }
  /** There was nothing to do (`unlock`). */
  | { readonly how: 'nothing' }
  /** Everything that was done is undone. */
  | { readonly how: 'undone'; readonly step: StepName; readonly why: Why; readonly failure: Failure | undefined; readonly live: string; readonly release: string }
  /** Undone but for what `remains` names. */
  | { readonly how: 'stuck'; readonly step: StepName; readonly why: Why; readonly failure: Failure | undefined; readonly live: string; readonly release: string; readonly remains: readonly Remains[] }
  /** Another run holds the lock: who, in which step, since when. */
  | { readonly how: 'locked'; readonly holder: string; readonly step: string; readonly since: string }
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
}

/** Seconds: the target takes a silent client for gone; a step that is stopped has this long; patience with what cannot be stopped. */
const SILENCE = 20;
const GRACE = 5;
const PATIENCE = 60;
/** Seconds. */
const BEAT = 5;
const DEAD_AFTER = 30;
const GREETING = Buffer.from('\ndeployer session 1\n');

/** Runs a plan on a target. Reports what happens, resolves to how it ended; rejects only with a DeployError of the runner. */
export async function runSession(runner: Runner, plan: Plan, options: SessionOptions): Promise<Outcome> {
  const [program, frames] = await Promise.all([sessionProgram(), planFrames(plan, options)]);
  const process = await runner.start(['python3', '-ISc', program]);
  process.write(frames);
  return new Conversation(process, plan, options).outcome;
}

/** The session program as one argument: base64 in double quotes is safe in every login shell, and it holds no secret. */
async function sessionProgram(): Promise<string> {
  const source = await targetFile('session.py');
  const packed = deflateSync(source, { level: 9 }).toString('base64');
  return `import zlib,binascii;exec(compile(zlib.decompress(binascii.a2b_base64("${packed}")),"session.py","exec"))`;
}

const targetFile = (name: string): Promise<Buffer> => readFile(new URL(`./target/${name}`, import.meta.url));

async function planFrames(plan: Plan, options: SessionOptions): Promise<Buffer> {
  const tools = await Promise.all(plan.tools.map(async (name) => [name, (await targetFile(name)).toString()]));
  const words = [
    ...['1', plan.place, plan.kind, plan.site, options.by, options.command, options.force ? 'force' : ''],
    ...[SILENCE, GRACE, PATIENCE].map(String),
    plan.prelude.text,
    ...[String(plan.secrets.length), ...plan.secrets],
    ...[String(tools.length), ...tools.flat()],
    ...plan.entries.flatMap(entryWords),
  ];
  if (words.some((word) => word.includes('\0'))) throw new TypeError('a plan cannot hold a NUL character');
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
  #heard = Date.now();
  #begun = Date.now();
  #step: StepName = 'lock';
  #lines: string[] = [];
  #failure: Failure | undefined;
  #remains: Remains[] = [];
  #served: Served = { proven: true };
  #stale = '';

  constructor(process: RemoteProcess, plan: Plan, options: SessionOptions) {
    this.#process = process;
    this.#plan = plan;
    this.#options = options;
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#beat = setInterval(() => this.#keepAlive(), BEAT * 1000);
    options.cancel?.addEventListener('abort', () => process.write(encodeFrame('C', '')), { once: true });
    options.leave?.addEventListener('abort', () => this.#end({ how: 'lost', reason: 'left', step: this.#step }), { once: true });
    process.onErrors((data) => {
      this.#errors = (this.#errors + data.toString()).slice(-4096);
    });
    process.onOutput((data) => {
      this.#heard = Date.now();
      for (const { kind, words } of this.#frames.read(data)) this.#hear(kind, words);
    });
    process.ended.then((ending) => this.#closed(ending.how === 'lost' ? ending.reason : `it ended with ${ending.how === 'exit' ? `exit code ${ending.code}` : ending.signal}`));
    if (plan.entries.length > 0) this.#report({ type: 'started', step: 'lock', title: 'Take the lock' });
  }

  #keepAlive(): void {
    this.#process.write(encodeFrame('B', ''));
    if (Date.now() - this.#heard > DEAD_AFTER * 1000) this.#end({ how: 'lost', reason: `silent for ${DEAD_AFTER} s`, step: this.#step });
  }

  #closed(reason: string): void {
    if (this.#frames.greeted) return this.#end({ how: 'lost', reason, step: this.#step });
    const said = [this.#errors, this.#frames.noise].map((text) => text.trim()).filter(Boolean);
    this.#end({ how: 'unreachable', message: [`no session could be started: ${reason}`, ...said].join('\n') });
  }

  #end(outcome: Outcome): void {
    clearInterval(this.#beat);
    this.#process.release();
    this.#resolve(outcome);
  }

  #report(event: EventOfSite): void {
    this.#options.report({ site: this.#plan.site, ...event } as DeployEvent);
  }

  #hear(kind: string, words: readonly string[]): void {
    switch (kind) {
      case 'I':
        return this.#locked(words);
      case 'S':
        return this.#started(this.#plan.entries[Number(words[0])] as Entry);
      case 'O':
        return this.#log(words.join('\0'));
      case 'E':
        return this.#ended(this.#plan.entries[Number(words[0])] as Entry, Number(words[1]), words.slice(2));
      case 'U':
        this.#begin();
        return this.#report({ type: 'undoing', step: words[0] as StepName });
      case 'V':
        return this.#undone(words[0] as StepName, Number(words[1]), words.slice(2));
      case 'W':
        return this.#report({ type: 'warned', step: words[0] as StepName, message: words[1] ?? '' });
      case 'X':
        return this.#report({ type: 'recovering', run: words[0] ?? '', kind: words[1] ?? '', by: words[2] ?? '', step: words[3] ?? '' });
      case 'R':
        this.#remains = [];
        return this.#report({ type: 'recovered', run: words[0] ?? '', committed: words[1] === 'committed', failures: words.slice(2) });
      case 'L':
        return this.#end({ how: 'locked', holder: words[0] ?? '', step: words[1] ?? '', since: words[2] ?? '' });
      case 'D':
        return this.#over(words);
    }
  }

  #begin(): void {
    this.#begun = Date.now();
    this.#lines = [];
  }

  #seconds(): number {
    return (Date.now() - this.#begun) / 1000;
  }

  #locked([, , stale = '']: readonly string[]): void {
    if (stale) this.#report({ type: 'warned', step: 'lock', message: `took over a lock without a living holder:\n${stale.trim()}` });
    this.#report({ type: 'done', step: 'lock', seconds: this.#seconds(), notes: [] });
  }

  #started(entry: Entry): void {
    this.#begin();
    this.#step = entry.name;
    this.#report({ type: 'started', step: entry.name, title: entry.title });
  }

  #log(text: string): void {
    this.#lines = [...this.#lines, ...text.split('\n').filter((line) => line.trim() !== '')].slice(-LAST_LINES);
    this.#report({ type: 'log', step: this.#step, text });
  }

  #ended(entry: Entry, code: number, said: readonly string[]): void {
    const answers = readAnswers(said);
    for (const message of answers.all('warning')) this.#report({ type: 'warned', step: entry.name, message });
    const seconds = this.#seconds();
    if (code !== 0) {
      const failure = this.#failureOf(code, answers);
      if (entry.phase === 'after') {
        return this.#report({ type: 'warned', step: entry.name, message: failure.message ?? `${entry.name} ended with exit code ${code}` });
      }
      this.#failure = failure;
      return this.#report({ type: 'failed', step: entry.name, seconds, failure });
    }
    const unserved = answers.one('unserved');
    const unproven = answers.one('unproven');
    if (unserved !== undefined) this.#served = { proven: false, reason: 'nothing running', start: unserved };
    else if (unproven !== undefined) this.#served = { proven: false, reason: unproven, start: undefined };
    const skip = answers.one('skip');
    if (skip !== undefined) return this.#report({ type: 'skipped', step: entry.name, reason: skip, seconds });
    this.#report({ type: 'done', step: entry.name, seconds, notes: answers.all('note') });
  }

  #undone(step: StepName, code: number, said: readonly string[]): void {
    const answers = readAnswers(said);
    for (const message of answers.all('warning')) this.#report({ type: 'warned', step, message });
    const failure = code === 0 ? undefined : this.#failureOf(code, answers);
    if (failure) this.#remains.push({ step, failure });
    this.#report({ type: 'undone', step, seconds: this.#seconds(), failure });
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

  #over([how, reason = '', detail = '', step = '', release = '', live = '', last = '']: readonly string[]): void {
    if (how === 'nothing') return this.#end({ how: 'nothing' });
    if (how === 'refused') return this.#end({ how: 'refused', message: reason, hint: detail || undefined });
    if (this.#plan.entries.length > 0) {
      this.#report({ type: 'started', step: 'unlock', title: 'Release the lock' });
      this.#report({ type: 'done', step: 'unlock', seconds: 0, notes: [] });
    }
    if (how === 'done' && this.#plan.kind === 'unlock') this.#stale = last;
    if (how === 'done') return this.#end({ how, release, commit: last, live, served: this.#served, stale: this.#stale });
    const why: Why = reason === 'failed' ? 'failed' : detail === 'cancelled' || detail === 'terminated' ? detail : 'lost';
    const end = { step: (step || this.#step) as StepName, why, failure: this.#failure, live, release };
    this.#end(how === 'stuck' ? { how, ...end, remains: this.#remains } : { how: 'undone', ...end });
  }
}

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
