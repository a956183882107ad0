import { deflateSync } from 'node:zlib';
import { CANCEL, Conversation, type ConversationOptions, type Times } from './conversation.ts';
import type { Outcome } from './outcome.ts';
import type { Entry, Plan } from './plan.ts';
import type { Runner } from './runners/runner.ts';
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
  const [runner, program, frames] = await Promise.all([
    opening,
    sessionProgram(),
    planFrames(plan, options, times),
  ]);
  const process = await runner.start(['python3', '-ISc', program]);
  if (options.cancel?.aborted) process.write(CANCEL);
  process.write(frames);
  return new Conversation(process, plan, { ...options, times }).outcome;
}

const sessionProgram = async (): Promise<string> =>
  packed(withoutComments(await targetFile('session.py')), 'session.py');

async function planFrames(plan: Plan, options: SessionOptions, times: Times): Promise<Buffer> {
  const tools = await Promise.all(plan.tools.map(async (name) => [name, await targetFile(name)]));
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
