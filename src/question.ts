import { DeployError } from './errors.ts';
import type { Ending, RemoteProcess, Runner } from './runners/runner.ts';
import { packedModules } from './target-program.ts';
import { unreachableHint } from './verdict.ts';
import { encodeFrame, FrameReader, type RawFrame } from './wire.ts';

/** Something that a program tells without changing anything on the target. */
export interface Question {
  /** Files in `target/`, each after those that it imports; the last one answers. */
  readonly program: readonly string[];
  readonly words: readonly string[];
  /** Rejects when it aborts, with its reason. */
  readonly cancel?: AbortSignal;
  /** Seconds that the target may say nothing; only tests have reason to choose. */
  readonly patience?: number;
}

export type Answer =
  | { readonly kind: 'answer'; readonly value: unknown }
  | { readonly kind: 'piece'; readonly data: Buffer }
  /** It cannot be told; `words` begins with the reason. The last of the answers. */
  | { readonly kind: 'refused'; readonly words: readonly string[] };

const GREETING = Buffer.from('\ndeployer answer 1\n');

/**
 * Asks a target, and yields its answers as they come: pieces of a file no faster than they are taken. Throws a
 * DeployError where the target cannot be asked, or where the answer ends before its end.
 */
export async function* ask(runner: Runner, question: Question): AsyncGenerator<Answer, void, void> {
  const program = packedModules(question.program);
  const process = await runner.start(['python3', '-ISc', program]);
  const frames = listen(process, question);
  try {
    process.write(encodeFrame('Q', question.words.join('\0')));
    for (;;) {
      const { kind, payload } = await frames.next();
      if (kind === 'A') yield { kind: 'answer', value: JSON.parse(payload.toString()) };
      if (kind === 'C') {
        yield { kind: 'piece', data: payload };
        process.write(encodeFrame('M', ''));
      }
      if (kind === 'F') return yield { kind: 'refused', words: payload.toString().split('\0') };
      if (kind === 'D') return;
    }
  } finally {
    frames.stop();
    process.release();
  }
}

interface Frames {
  /** The next frame; rejects once there can be none any more. */
  next(): Promise<RawFrame>;
  stop(): void;
}

function listen(process: RemoteProcess, { cancel, patience = 30 }: Question): Frames {
  const reader = new FrameReader(GREETING);
  const waiting: RawFrame[] = [];
  let errors = '';
  let failure: unknown;
  let wake = () => {};
  const fail = (error: unknown) => {
    failure ??= error;
    wake();
  };
  const silent = setTimeout(() => {
    if (waiting.length === 0) fail(lost(`silent for ${patience} s`, ''));
  }, patience * 1000);
  const cancelled = () => fail(cancel?.reason);
  if (cancel?.aborted) cancelled();
  cancel?.addEventListener('abort', cancelled);
  process.onErrors((data) => {
    errors = (errors + data.toString()).slice(-4096);
  });
  process.onOutput((data) => {
    silent.refresh();
    waiting.push(...reader.readRaw(data));
    wake();
  });
  process.ended.then((ending) =>
    fail(
      reader.greeted
        ? lost(endingText(ending), errors)
        : unasked([endingText(ending), errors, reader.noise]),
    ),
  );
  return {
    next: async () => {
      silent.refresh();
      while (waiting.length === 0 || cancel?.aborted) {
        if (failure !== undefined) throw failure;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return waiting.shift() as RawFrame;
    },
    stop: () => {
      clearTimeout(silent);
      cancel?.removeEventListener('abort', cancelled);
    },
  };
}

const lost = (why: string, errors: string): DeployError =>
  new DeployError(
    'failed',
    ['the target stopped before its answer was whole', why, errors.trim().split('\n').at(-1)]
      .filter(Boolean)
      .join(': '),
    { hint: 'nothing was changed there; ask again' },
  );

function unasked(lines: readonly string[]): DeployError {
  const text = lines
    .map((line) => line.trim())
    .filter(Boolean)
    .join('\n');
  const hint = unreachableHint(text);
  return new DeployError(
    'unreachable',
    `the target cannot be asked: ${text}`,
    hint === undefined ? {} : { hint },
  );
}

function endingText(ending: Ending): string {
  if (ending.how === 'lost' || ending.how === 'unstarted') return ending.reason;
  return `it ended with ${ending.how === 'exit' ? `exit code ${ending.code}` : ending.signal}`;
}
