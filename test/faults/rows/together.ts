import { expect } from 'vitest';
import { SITE } from '../../support/lab.ts';
import { holdAt } from '../held.ts';
import type { Row } from '../row.ts';

/** Several at once: one is at work, the others are told who. */
export const togetherRows: readonly Row[] = [
  {
    name: 'eight deploys at once',
    protection: 'one at a time',
    fault: async (world) => {
      await world.change();
      const commands = Array.from({ length: 8 }, () => world.deployer('deploy', SITE));
      const all = await Promise.all(commands);
      const codes = all.map(({ exitCode }) => exitCode);
      expect(codes.filter((code) => code !== 0 && code !== 3)).toEqual([]);
      expect(codes).toContain(0);
      expect(codes).toContain(3);
      for (const { exitCode, stderr } of all)
        if (exitCode === 3) expect(stderr).toMatch(/locked: another run is under way/);
    },
  },
  {
    name: 'a rollback, a restart and an unlock while a deploy is under way',
    protection: 'one at a time',
    representative: true,
    fault: async (world) => {
      await world.change();
      const held = await holdAt(world, 'static');
      for (const command of ['rollback', 'restart', 'unlock', 'deploy']) {
        const { exitCode, stderr } = await world.deployer(command, SITE);
        expect(exitCode, stderr).toBe(3);
        expect(stderr).toMatch(/in static for \d+ s/);
        expect(stderr).toContain('Command: deployer deploy');
      }
      await held.open();
      const { exitCode, stdout, stderr } = await held.client;
      return { exitCode, stdout: String(stdout), stderr: String(stderr) };
    },
  },
  {
    name: 'unlock --force while a deploy is under way',
    protection: 'what was done is undone',
    fault: async (world) => {
      await world.change();
      const held = await holdAt(world, 'static');
      const unlocked = await world.deployer('unlock', SITE, '--force');
      expect(unlocked.exitCode, unlocked.stderr).toBe(0);
      const { exitCode, stderr } = await held.client;
      expect(exitCode, stderr).toBe(1);
      expect(stderr).toContain('stopped by unlock --force');
      expect(await world.state(), 'undone').toEqual(world.before);
    },
  },
];
