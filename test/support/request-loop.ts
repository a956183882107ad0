import { request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

/** What a request loop saw. */
export interface Seen {
  /** Answers by what they said, in the order of their first appearance: `{"1": 120, "2": 80}`. */
  readonly versions: ReadonlyMap<string, number>;
  /** Requests that got no answer, or another status than 200, as text. */
  readonly failures: readonly string[];
}

export interface RequestLoop {
  /** Resolves as soon as an answer satisfies; rejects after ten seconds. */
  until(satisfied: (version: string) => boolean): Promise<void>;
  stop(): Promise<Seen>;
}

export type Address = { readonly port: number } | { readonly socketPath: string };

/**
 * Asks `/version` from `clients` connections at once, each request on a connection of its own; without a pause, or with
 * one of `gap` milliseconds, where the machine has more to do.
 */
export function requestLoop(address: Address, clients = 3, gap = 0): RequestLoop {
  const versions = new Map<string, number>();
  const failures: string[] = [];
  const waiting = new Set<(version: string) => void>();
  let running = true;
  const client = async () => {
    while (running) {
      try {
        const { status, body } = await get(address, '/version');
        const version = status === 200 ? String(JSON.parse(body).version) : '';
        if (status === 200) versions.set(version, (versions.get(version) ?? 0) + 1);
        else failures.push(`HTTP ${status}: ${body.slice(0, 200)}`);
        for (const tell of waiting) tell(version);
      } catch (error) {
        failures.push(String(error));
        await pause(10);
      }
      if (gap > 0) await pause(gap);
    }
  };
  const done = Promise.all(Array.from({ length: clients }, client));
  return {
    until: (satisfied) =>
      new Promise((resolve, reject) => {
        const end = setTimeout(
          () =>
            reject(new Error(`not seen within 10 s: ${satisfied}; seen: ${[...versions.keys()]}`)),
          10_000,
        );
        const tell = (version: string) => {
          if (!satisfied(version)) return;
          waiting.delete(tell);
          clearTimeout(end);
          resolve();
        };
        waiting.add(tell);
      }),
    stop: async () => {
      running = false;
      await done;
      return { versions, failures };
    },
  };
}

/** One GET request; rejects when there is no whole answer. */
export function get(
  address: Address,
  path: string,
  host = 'www.example.com',
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: '127.0.0.1', ...address, path, agent: false, headers: { host }, timeout: 30_000 },
      (answer) => {
        let body = '';
        answer.on('data', (data) => {
          body += data;
        });
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }));
        answer.on('error', reject);
      },
    );
    asked.on('timeout', () => asked.destroy(new Error('no answer within 30 s')));
    asked.on('error', reject);
    asked.end();
  });
}
