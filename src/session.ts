import { createHash } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { CANCEL, Conversation, type ConversationOptions, type Times } from './conversation.ts';
import type { Outcome } from './outcome.ts';
import type { Entry, Plan } from './plan.ts';
import type { Runner } from './runners/runner.ts';
import type { Part, Script } from './shell.ts';
import { packed, targetFile, withoutComments } from './target-program.ts';
import { encodeFrame } from './wire.ts';

export interface SessionOptions extends Omit<ConversationOptions, 'times'> {
  /** `ana@laptop`, for whoever finds the lock. */
  readonly by: string;
  /** The command as typed, without secrets. */
  readonly command: string;
  /** `unlock` only: stops the holder. */
  readonly force?: boolean;
  /** Only for tests: nobody has reason to wait for other times. */
  readonly times?: Partial<Times>;
}

const TIMES: Times = { silence: 20, grace: 5, patience: 60, beat: 5, deadAfter: 30 };

/**
 * Runs a plan on a target, to which the way may still be being opened. Reports what happens, resolves to how it ended;
 * rejects only with a DeployError of the runner.
 */
export async function runSession(
  opening: Runner | Promise<Runner>,
  plan: Plan,
  options: SessionOptions,
): Promise<Outcome> {
  const times = { ...TIMES, ...options.times };
  const { words: tools, version } = programs(plan.tools);
  const head = encodeFrame('H', `${plan.place}\0${version}`);
  const frames = planFrames(plan, version, options, times);
  const begin = packed(withoutComments(`${targetFile('begin.py')}`), 'begin.py');
  const runner = await opening;
  const process = await runner.start(['python3', '-ISc', begin]);
  process.write(Buffer.concat([head, ...(options.cancel?.aborted ? [CANCEL] : []), ...frames]));
  const frame = () => encodeFrame('T', deflateSync(tools));
  return new Conversation(process, plan, frame, { ...options, times }).outcome;
}

interface Programs {
  /** Each as its name and its text. */
  readonly words: Buffer;
  /** The name under which a target keeps them: their hash. */
  readonly version: string;
}

const known = new WeakMap<readonly string[], Programs>();

/** The session and the programs that its steps call, read once for all sites. */
function programs(names: readonly string[]): Programs {
  const before = known.get(names);
  if (before) return before;
  const texts = ['session.py', ...names].map((name) => [name, targetFile(name)] as const);
  const words = Buffer.concat(
    texts.flatMap(([name, text]) => [Buffer.from(`${name}\0`), text, Buffer.alloc(1)]),
  );
  const version = createHash('sha256').update(words).digest('hex').slice(0, 32);
  known.set(names, { words, version });
  return { words, version };
}

function planFrames(
  plan: Plan,
  version: string,
  options: SessionOptions,
  times: Times,
): readonly Buffer[] {
  const words = [
    ...[
      '2',
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
    version,
    ...plan.entries.flatMap(entryWords),
  ];
  if (words.some((word) => word.includes('\0')))
    throw new TypeError('a plan cannot hold a NUL character');
  const keys = [
    ...Object.entries(plan.keys).map(([name, value]) => `${name}=${value}`),
    ...plan.keySecrets.map((value) => `=${value}`),
  ];
  return [
    encodeFrame('K', keys.join('\0')),
    encodeFrame('P', deflateSync(`${words.join('\0')}\0`)),
  ];
}

function entryWords(entry: Entry): readonly string[] {
  return [
    ...[entry.name, entry.phase, entry.orphan, String(entry.limit), String(entry.undoLimit)],
    ...[entry.needsKeys ? 'keys' : '', ...[entry.run, entry.undo].map(sent)],
  ];
}

/** What stands on the wire between the parts of a script, before a program, between its words, and for the release. */
const [PART, PROGRAM, WORD, THE_RELEASE] = ['\x1c', '\x1e', '\x1f', '\x1d'] as const;
/** Before a script that is the shell's as a whole. */
const WHOLE = '\x1a';

/** A script in its parts, unless something in it could be taken for one of these signs: then as the shell's. */
function sent(script: Script | undefined): string {
  if (script === undefined) return '';
  const signs = [PART, PROGRAM, WORD, THE_RELEASE, WHOLE];
  const odd = signs.some((sign) => script.text.includes(sign));
  return odd ? WHOLE + script.text : script.parts.map(sentPart).join(PART);
}

function sentPart(part: Part): string {
  if (typeof part === 'string') return part;
  const word = (each: string | Script) => (typeof each === 'string' ? each : THE_RELEASE);
  return part.map((words) => PROGRAM + words.map(word).join(WORD)).join('');
}
