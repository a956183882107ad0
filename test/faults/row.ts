import type { Ran } from '../support/lab.ts';
import { expectInvariants } from './invariants.ts';
import type { Protection } from './protections.ts';
import { makeWorld, type World, type WorldOptions } from './world.ts';

/** One fault. */
export interface Row extends Pick<WorldOptions, 'settings' | 'prepare' | 'folder' | 'where'> {
  readonly name: string;
  /** What keeps this fault from doing harm: without it the row must fail. */
  readonly protection: Protection;
  /** Runs in `npm test` too. */
  readonly representative?: boolean;
  /** Neither side waits as long for a sign of life as it does for people. */
  readonly quick?: boolean;
  /** It mounts a filesystem. */
  readonly needsRoot?: boolean;
  /**
   * Does the harm and asserts what must hold of it in particular. At its end the fault is over and the way is free for
   * the next deploy, which must work; where it made that itself, it resolves to it.
   */
  readonly fault: (world: World) => Promise<Ran | undefined> | Promise<void>;
}

export interface RowOptions extends Pick<WorldOptions, 'dependencies' | 'bin'> {
  /** Seconds for all of it. */
  readonly limit: number;
}

/** Makes a world, does the harm, and asserts the invariants. Rejects with what did not hold. */
export async function runRow(row: Row, { limit, ...options }: RowOptions): Promise<void> {
  await using world = await makeWorld({ ...options, ...row });
  const work = async () => expectInvariants(world, (await row.fault(world)) ?? undefined);
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over within ${limit} s`)), limit * 1000);
  });
  const done = work();
  done.catch(() => {}); // it may fail long after the deadline, when its processes are ended
  try {
    await Promise.race([done, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
