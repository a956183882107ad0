import type { Signal } from './verdict.ts';

/** Ctrl-C, SIGTERM and SIGHUP while a command runs: the first asks for an orderly end, the second leaves at once. */
export interface Interruption extends Disposable {
  readonly cancel: AbortSignal;
  readonly leave: AbortSignal;
  /** What asked for the end, if anything did. */
  readonly signal: Signal | undefined;
}

const SIGNALS: readonly Signal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Listens from now on until it is disposed. `told` hears of each signal. */
export function listenForInterruption(told: (count: number) => void): Interruption {
  const cancel = new AbortController();
  const leave = new AbortController();
  let signal: Signal | undefined;
  const listeners = SIGNALS.map((name) => {
    const hear = () => {
      const again = signal !== undefined;
      signal ??= name;
      told(again ? 2 : 1);
      (again ? leave : cancel).abort();
    };
    process.on(name, hear);
    return () => process.off(name, hear);
  });
  return {
    cancel: cancel.signal,
    leave: leave.signal,
    get signal() {
      return signal;
    },
    [Symbol.dispose]: () => {
      for (const stop of listeners) stop();
    },
  };
}
