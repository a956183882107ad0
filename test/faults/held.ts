import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { quote } from '../../src/shell.ts';
import type { StepName } from '../../src/step-names.ts';
import { exists, type Lab, SITE } from '../support/lab.ts';
import { gate, said } from '../support/under-way.ts';
import { kill, scriptsOf } from './processes.ts';
import type { World } from './world.ts';

/** A deploy that stands still in one of its steps. */
export interface Held {
  readonly client: ReturnType<Lab['start']>;
  readonly session: number;
  /** Lets it go on. */
  open(): Promise<void>;
  /** Whether what held it came to its own end, and was not killed. */
  wentOn(): Promise<boolean>;
}

/** Starts a deploy, or another command, that stops in the step: at its end, or, where the release is proven at its end, at its beginning. */
export function holdAt(
  world: World,
  step: StepName,
  stubborn = false,
  command = 'deploy',
): Promise<Held> {
  return step === 'lock' || step === 'unlock'
    ? holdSession(world, step)
    : holdStep(world, step, stubborn, command);
}

/** By a hook. `stubborn`: it does not end when it is asked to. It says secrets, which must not be seen. */
async function holdStep(
  world: World,
  step: StepName,
  stubborn: boolean,
  command: string,
): Promise<Held> {
  const held = gate(world.root);
  const end = `${world.root}/went-on`;
  const hook = [
    'echo "secrets: $SECRET_KEY $DATABASE_PASSWORD"',
    ...(stubborn ? ["trap '' TERM"] : []),
    held.hook,
    `: >${quote(end)}`,
  ].join('; ');
  const late = step === 'restart' || step === 'cleanup';
  await world.configure({ hooks: { [`${late ? 'before' : 'after'}_${step}`]: hook } });
  const client = world.start(command, SITE, '--verbose');
  await said(client, held.word);
  await world.configure({});
  return {
    client,
    session: await sessionOf(world.site),
    open: held.open,
    wentOn: () => exists(end),
  };
}

/** Python tells of what the session is about to do: the plan becomes valid; the name of the lock is removed. */
const MOMENTS = {
  lock: { event: 'os.rename', ending: '.plan.new', time: 1 },
  unlock: { event: 'os.remove', ending: '.deploy.lock', time: 2 },
} as const;

/** By a `python3` on the PATH of the client that stops the session itself. */
async function holdSession(world: World, step: 'lock' | 'unlock'): Promise<Held> {
  const [reached, opened] = [`${world.root}/${step}-reached`, `${world.root}/${step}-open`];
  const { event, ending, time } = MOMENTS[step];
  const words = [event, ending, String(time), reached, opened].map((word) => JSON.stringify(word));
  await sessionPreamble(world, `${HOLD}hold(${words.join(', ')})\n`);
  const client = world.start('deploy', SITE, '--verbose');
  while (!(await exists(reached))) {
    if (client.exitCode !== null && client.exitCode !== undefined)
      throw new Error(`the deploy was never in ${step}`);
    await pause(20);
  }
  await rm(`${world.root}/shims/python3`);
  const open = () => writeFile(opened, '');
  return {
    client,
    session: Number(await readFile(reached, 'utf8')),
    open,
    wentOn: async () => true,
  };
}

const HOLD = `
import os, sys, time
def hold(wanted, ending, times, reached, opened):
    seen = []
    def hear(event, words):
        if event == wanted and os.fsdecode(words[0]).endswith(ending):
            seen.append(1)
            if len(seen) == int(times):
                with open(reached + ".new", "w") as file:
                    file.write(str(os.getpid()))
                os.link(reached + ".new", reached)
                while not os.path.exists(opened) and os.path.exists(reached):
                    time.sleep(0.02)
    sys.addaudithook(hear)
`;

/** Has the session run some Python first, until `shims/python3` is gone. */
async function sessionPreamble(world: World, text: string): Promise<void> {
  const path = `${world.root}/preamble.py`;
  await writeFile(path, text);
  const run = `exec(open(${JSON.stringify(path)}).read());`;
  await sessionShim(world, `exec /usr/bin/python3 -ISc ${quote(run)}"$2"`);
}

/** Puts a shell command in the place of what starts the session. */
export async function sessionShim(world: World, command: string): Promise<void> {
  const text = `#!/bin/sh\n[ "$1" = -ISc ] || exec /usr/bin/python3 "$@"\n${command}\n`;
  await writeFile(`${world.root}/shims/python3`, text, { mode: 0o755 });
}

/** The process that holds the lock. */
export const sessionOf = async (site: string): Promise<number> =>
  Number(/^Pid: (\d+)/m.exec(await readFile(`${site}/.deploy.lock`, 'utf8'))?.[1]);

/** Kills client, session and every process of the run at once. */
export function killEverything(world: World, held: Pick<Held, 'client' | 'session'>): void {
  for (const pid of [held.client.pid as number, held.session]) kill(pid);
  for (const { pid } of scriptsOf(world.root)) kill(pid);
}
