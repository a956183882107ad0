import type { DeployEvent, Failure, Report } from './events.ts';
import type { Outcome, Remains, Served, Why } from './outcome.ts';
import type { Entry, Plan } from './plan.ts';
import type { Ending, RemoteProcess } from './runners/runner.ts';
import type { StepName } from './step-names.ts';
import { encodeFrame, FrameReader } from './wire.ts';

const GREETING = Buffer.from('\ndeployer session 1\n');
/** Asks the target to stop what is under way, and to undo. */
export const CANCEL = encodeFrame('C', '');

export interface ConversationOptions {
  readonly report: Report;
  /** The first abort asks the target to stop and undo; the second lets go of it. */
  readonly cancel?: AbortSignal;
  readonly leave?: AbortSignal;
  readonly times: Times;
}

/** Seconds. */
export interface Times {
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

/** Listens to one session, and turns what it says into events and an outcome. */
export class Conversation {
  readonly outcome: Promise<Outcome>;
  readonly #process: RemoteProcess;
  readonly #plan: Plan;
  readonly #tools: () => Buffer;
  readonly #options: ConversationOptions;
  readonly #frames = new FrameReader(GREETING);
  readonly #beat: NodeJS.Timeout;
  #resolve: (outcome: Outcome) => void = () => {};
  #errors = '';
  /** Beats of ours since the target last said something: a clock would also count the hours of a closed laptop. */
  #unanswered = 0;
  #begun = Date.now();
  #step: StepName = 'lock';
  #speaking: StepName = 'lock';
  #lines: string[] = [];
  #failure: Failure | undefined;
  #remains: Remains[] = [];
  readonly #skipped = new Set<StepName>();
  #served: Served = { proven: true };
  #servedAgain: Served = { proven: true };

  /** `tools`: the frame with the programs that steps call, for a target that does not have them yet. */
  constructor(
    process: RemoteProcess,
    plan: Plan,
    tools: () => Buffer,
    options: ConversationOptions,
  ) {
    this.#process = process;
    this.#plan = plan;
    this.#tools = tools;
    this.#options = options;
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#beat = setInterval(() => this.#keepAlive(), options.times.beat * 1000);
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
    const { beat, deadAfter } = this.#options.times;
    this.#unanswered++;
    if (this.#unanswered * beat > deadAfter) this.#lost(`silent for ${deadAfter} s`);
    else this.#process.write(encodeFrame('B', ''));
  }

  #closed(ending: Ending): void {
    const reason = reasonOf(ending);
    const errors = this.#errors.trim();
    if (this.#frames.greeted || ending.how === 'lost') {
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
    T: () => this.#process.write(this.#tools()),
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
    const served = servedBy(answers);
    if (code !== 0 && entry.phase === 'after') {
      const said = this.#lines.map((line) => `  | ${line}`);
      const reason = answers.one('message') ?? `${entry.name} ended with exit code ${code}`;
      const message = [reason, ...said].join('\n');
      this.#report({ type: 'warned', step: entry.name, message });
    } else if (code !== 0) {
      this.#failure = this.#failureOf(code, answers);
      this.#report({ type: 'failed', step: entry.name, seconds, failure: this.#failure });
    } else if (skip !== undefined) {
      this.#skipped.add(entry.name);
      this.#report({ type: 'skipped', step: entry.name, reason: skip, seconds });
    } else {
      const unproven = served === undefined || served.proven ? [] : [served.reason];
      const notes = [...answers.all('note'), ...unproven];
      this.#report({ type: 'done', step: entry.name, seconds, notes });
    }
    this.#served = served ?? this.#served;
  }

  #warn(step: StepName, answers: Answers): void {
    for (const message of answers.all('warning')) this.#report({ type: 'warned', step, message });
  }

  #undoing(step: StepName): void {
    this.#begin(step);
    if (!this.#skipped.has(step)) this.#report({ type: 'undoing', step });
  }

  #undone(step: StepName, code: number, answers: Answers): void {
    this.#warn(step, answers);
    const served = servedBy(answers);
    if (served?.proven === false) {
      const message = `what is live again is not verified: ${served.reason}`;
      this.#report({ type: 'warned', step, message });
    }
    this.#servedAgain = served ?? this.#servedAgain;
    const failure = code === 0 ? undefined : this.#failureOf(code, answers);
    if (failure) this.#remains.push({ step, failure });
    if (failure === undefined && this.#skipped.has(step)) return; // there was nothing to undo
    this.#report({ type: 'undone', step, seconds: this.#seconds(), failure });
  }

  #recovered(run: string, committed: boolean, failures: readonly string[]): void {
    if (this.#plan.kind !== 'unlock') this.#remains = [];
    this.#servedAgain = { proven: true };
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
      const served = this.#servedAgain;
      const undone = { step, why, failure: this.#failure, live, release, served };
      if (how === 'stuck') this.#end({ how, ...undone, remains: this.#remains });
      else if (how === 'undone') this.#end({ how, ...undone });
      else if (this.#remains.length > 0) {
        this.#end({ how: 'stuck', ...undone, step: 'unlock', remains: this.#remains });
      } else this.#end(this.#done(release, live, last));
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
  if (ending.how === 'lost' || ending.how === 'unstarted') return ending.reason;
  return `it ended with ${ending.how === 'exit' ? `exit code ${ending.code}` : ending.signal}`;
}
