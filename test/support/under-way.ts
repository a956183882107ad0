import { readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { quote } from '../../src/shell.ts';

/** A hook that holds its step until the gate is opened, which happens at the latest at the end of `await using`. */
export interface Gate extends AsyncDisposable {
  /** The shell command: says `word` first. */
  readonly hook: string;
  readonly word: string;
  open(): Promise<void>;
}

let gates = 0;

/** `folder` must be gone at the end of the test: a hook whose gate is gone with it ends too. */
export function gate(folder: string): Gate {
  const word = `held at gate ${++gates}`;
  const key = `${folder}/gate-${gates}-is-open`;
  const open = () => writeFile(key, '');
  return {
    hook: `trap 'echo got an interrupt' INT; echo ${quote(word)}; while [ -d ${quote(folder)} ] && [ ! -e ${quote(key)} ]; do sleep 0.05; done`,
    word,
    open,
    [Symbol.asyncDispose]: () => open().catch(() => {}),
  };
}

interface Speaking {
  readonly stdout: Readable;
  readonly stderr: Readable;
  once(event: 'close', listener: () => void): unknown;
}

/** Resolves as soon as a command has said the text from now on; rejects when it ends without. */
export function said(command: Speaking, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let heard = '';
    const hear = (data: Buffer) => {
      heard += data;
      if (heard.includes(text)) resolve();
    };
    command.stdout.on('data', hear);
    command.stderr.on('data', hear);
    command.once('close', () => reject(new Error(`it ended without "${text}":\n${heard}`)));
  });
}

/** Resolves as soon as nobody holds the lock of the site; rejects after a minute, or at once with `seconds` 0. */
export async function lockFree(site: string, seconds = 60): Promise<void> {
  await execa('flock', ['-w', String(seconds), `${site}/.deployer/lock`, 'true']);
}

/** The session that holds the lock of the site. */
export const sessionPid = async (site: string): Promise<number> =>
  Number(/^Pid: (\d+)/m.exec(await readFile(`${site}/.deploy.lock`, 'utf8'))?.[1]);

/** The processes of the run that holds the lock, by the mark that all of them carry in their environment; not the session. */
export async function processesOfTheRun(site: string): Promise<readonly number[]> {
  const run = /^Run: (\S+)/m.exec(await readFile(`${site}/.deploy.lock`, 'utf8'))?.[1];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => environmentOf(pid).includes(`\0DEPLOYER_RUN=${run}:`))
    .map(Number);
}

function environmentOf(pid: string): string {
  try {
    return `\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}`;
  } catch {
    return '';
  }
}
