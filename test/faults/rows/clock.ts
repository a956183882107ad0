import { expect } from 'vitest';
import { releaseIdAt } from '../../../src/layout.ts';
import { quote } from '../../../src/shell.ts';
import { SITE } from '../../support/lab.ts';
import { sessionShim } from '../held.ts';
import type { Row } from '../row.ts';
import type { World } from '../world.ts';

/** Clocks that do not go on: the session's own. */
export const clockRows: readonly Row[] = [
  {
    name: 'the clock was set back by an hour',
    protection: 'an id is later than all before',
    representative: true,
    fault: async (world) => {
      await world.change();
      await clock(world, 'real() - 3600');
      const next = await world.deployer('deploy', SITE);
      await goesOn(world);
      expect(next.exitCode, next.stderr).toBe(0);
      expect(await world.lab.live()).toBe(millisecondAfter(world.first));
      return next;
    },
  },
  {
    name: 'two releases in one millisecond',
    protection: 'an id is later than all before',
    fault: async (world) => {
      await clock(world, '1893456000.0');
      for (const millisecond of ['000', '001']) {
        await world.change();
        const { exitCode, stderr } = await world.deployer('deploy', SITE);
        expect(exitCode, stderr).toBe(0);
        expect(await world.lab.live()).toMatch(
          new RegExp(`^20(29|30)\\d{4}_\\d{6}_${millisecond}$`),
        );
      }
      await goesOn(world);
    },
  },
];

/** What the session takes for the time, as Python that may ask `real()`; what it waits for is measured by the true clock. */
async function clock(world: World, time: string): Promise<void> {
  const patch = `import sys, time
real, gm = time.time, time.gmtime
time.time = lambda: ${time}
time.gmtime = lambda *when: gm(*(when or (time.time(),)))
exec(sys.argv.pop(1))`;
  await sessionShim(world, `shift; exec /usr/bin/python3 -ISc ${quote(patch)} "$@"`);
}

const goesOn = (world: World): Promise<void> => sessionShim(world, 'exec /usr/bin/python3 "$@"');

function millisecondAfter(id: string): string {
  const [, date = '', hour, minute, second, rest] =
    /^(\d{8})_(\d\d)(\d\d)(\d\d)_(\d{3})$/.exec(id) ?? [];
  const day = date.replace(/^(....)(..)(..)$/, '$1-$2-$3');
  return releaseIdAt(new Date(Date.parse(`${day}T${hour}:${minute}:${second}.${rest}Z`) + 1));
}
