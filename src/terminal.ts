import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';

/** A person who can be asked. */
export interface Terminal {
  ask(question: string): Promise<string>;
  /** What is typed is not shown. */
  askHidden(question: string): Promise<string>;
}

/**
 * Undefined where nobody can be asked: a script, a CI job. One question at a time, however many ask; after `cancel` and
 * Ctrl-D the answer is empty.
 */
export function openTerminal(cancel: AbortSignal): Terminal | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (question: string, hidden: boolean) => {
    const answer = last.then(() => asked(question, hidden, cancel));
    last = answer.catch(() => {});
    return answer;
  };
  return {
    ask: (question) => inTurn(question, false),
    askHidden: (question) => inTurn(question, true),
  };
}

async function asked(question: string, hidden: boolean, cancel: AbortSignal): Promise<string> {
  const prompt = createInterface({
    input: process.stdin,
    output: hidden ? nowhere() : process.stderr,
    terminal: true,
    historySize: 0,
  });
  if (hidden) process.stderr.write(question); // not before the terminal has ceased to show what is typed
  const ended = new AbortController();
  prompt.on('close', () => ended.abort());
  prompt.on('SIGINT', () => process.kill(process.pid, 'SIGINT')); // in raw mode, Ctrl-C is only a key
  const signal = AbortSignal.any([ended.signal, cancel]);
  try {
    return await prompt.question(hidden ? '' : question, { signal });
  } catch {
    return '';
  } finally {
    prompt.close();
    if (hidden) process.stderr.write('\n');
  }
}

const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });
