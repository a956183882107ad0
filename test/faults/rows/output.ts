import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { expect } from 'vitest';
import { SITE } from '../../support/lab.ts';
import { expectFailure } from '../failing.ts';
import type { Row } from '../row.ts';

/** What a step may say. */
export const outputRows: readonly Row[] = [
  {
    name: '200 MB of output',
    protection: 'the log on the target is limited',
    fault: async (world) => {
      await world.change();
      await world.configure({
        hooks: { after_code: 'yes "a line of output" | head -c 200000000' },
      });
      const client = world.start('deploy', SITE);
      const peak = highest(() => residentSize(client.pid as number));
      const { exitCode, stderr } = await client;
      await world.configure({});
      expect(exitCode, stderr).toBe(0);
      expect(peak.stop(), 'bytes of the client in memory').toBeLessThan(300e6);
      const log = await stat(`${world.site}/.deployer/run/${await world.lab.live()}.log`);
      expect(log.size, 'bytes of the log').toBeLessThan(10e6);
    },
  },
  {
    name: 'output without a newline',
    protection: 'a line without an end is passed on in pieces',
    fault: async (world) => {
      await world.change();
      const hook = `head -c 20000000 /dev/zero | tr '\\0' x; exit 1`;
      const { stderr } = await expectFailure(world, {
        step: 'code: the hook after_code failed',
        settings: { hooks: { after_code: hook } },
      });
      expect(stderr.length).toBeLessThan(2e6);
    },
  },
  {
    name: 'binary output and terminal escapes',
    protection: 'control characters are spelt out',
    representative: true,
    fault: async (world) => {
      await world.change();
      const hook =
        "head -c 20000 /dev/urandom; printf 'red \\033[31m title \\033]0;mine\\007 back\\b 8-bit \\302\\233 end\\n'; exit 1";
      const { stderr } = await expectFailure(world, {
        step: 'code: the hook after_code failed',
        says: ['red \\x1b[31m title \\x1b]0;mine\\x07 back\\x08 8-bit \\x9b end'],
        settings: { hooks: { after_code: hook } },
      });
      expect(stderr).not.toMatch(/(?![\n\t])\p{Cc}/u);
    },
  },
  {
    name: 'secrets in the output',
    protection: 'secrets are masked on the target',
    representative: true,
    fault: async (world) => {
      await world.change();
      const hook = 'echo "$SECRET_KEY"; printf "%s" "$DATABASE_PASSWORD" | tr -d "\\n"; exit 1';
      await expectFailure(world, {
        step: 'static: the hook after_static failed',
        settings: { hooks: { after_static: hook } },
      });
    },
  },
];

/** The highest of what is measured again and again. */
function highest(measure: () => number): { stop(): number } {
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, measure());
  }, 20);
  return {
    stop: () => {
      clearInterval(timer);
      return most;
    },
  };
}

/** Bytes; 0 of a process that is gone. */
function residentSize(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
