import { readFile } from 'node:fs/promises';
import { deflateSync } from 'node:zlib';
import { CANCEL, Conversation, type ConversationOptions, type Times } from './conversation.ts';
import type { Outcome } from './outcome.ts';
import type { Entry, Plan } from './plan.ts';
import type { Runner } from './runners/runner.ts';
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

/** Runs a plan on a target. Reports what happens, resolves to how it ended; rejects only with a DeployError of the runner. */
export async function runSession(
  runner: Runner,
  plan: Plan,
  options: SessionOptions,
): Promise<Outcome> {
  const times = { ...TIMES, ...options.times };
  const [program, frames] = await Promise.all([sessionProgram(), planFrames(plan, options, times)]);
  const process = await runner.start(['python3', '-ISc', program]);
  if (options.cancel?.aborted) process.write(CANCEL);
  process.write(frames);
  return new Conversation(process, plan, { ...options, times }).outcome;
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

async function planFrames(plan: Plan, options: SessionOptions, times: Times): Promise<Buffer> {
  const tools = await Promise.all(
    plan.tools.map(async (name) => [name, (await targetFile(name)).toString()]),
  );
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
