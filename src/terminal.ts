import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';

/** A person who can be asked. */
export interface Terminal {
  ask(question: string): Promise<string>;
  /** What is typed is not shown. */
  askHidden(question: string): Promise<string>;
}

/** Undefined where nobody can be asked: a script, a CI job. One question at a time, however many ask. */
export function openTerminal(): Terminal | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (question: string, hidden: boolean) => {
    const answer = last.then(() => asked(question, hidden));
    last = answer.catch(() => {});
    return answer;
  };
  return {
    ask: (question) => inTurn(question, false),
    askHidden: (question) => inTurn(question, true),
  };
}

async function asked(question: string, hidden: boolean): Promise<string> {
  if (hidden) process.stderr.write(question);
  const prompt = createInterface({
    input: process.stdin,
    output: hidden ? nowhere() : process.stderr,
    terminal: true,
    historySize: 0,
  });
  const ended = new AbortController();
  prompt.on('close', () => ended.abort()); // Ctrl-D
  prompt.on('SIGINT', () => {
    process.kill(process.pid, 'SIGINT'); // in raw mode, Ctrl-C is only a key
    prompt.close();
  });
  try {
    return await prompt.question(hidden ? '' : question, { signal: ended.signal });
  } catch {
    return '';
  } finally {
    prompt.close();
    if (hidden) process.stderr.write('\n');
  }
}

const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });
