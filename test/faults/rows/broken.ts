import { expect } from 'vitest';
import { SITE } from '../../support/lab.ts';
import { append, expectFailure, expectSaid, revert } from '../failing.ts';
import type { Row } from '../row.ts';
import { currentVersion } from '../world.ts';

/** Releases that are ill, slow or half there; each is seen before anybody is served by it, or taken back. */
export const brokenRows: readonly Row[] = [
  {
    name: 'URLs that cannot be imported',
    protection: 'what was done is undone',
    fault: async (world) => {
      await world.lab.project.breakUrls();
      await world.push();
      await expectFailure(world, { step: 'validate', says: [/SyntaxError/] });
      await revert(world);
    },
  },
  {
    name: 'views that answer 500',
    protection: 'the release answers before the switch',
    settings: { health_check: undefined },
    fault: async (world) => {
      await world.lab.project.breakViews();
      await world.push();
      await expectFailure(world, {
        step: 'activate',
        says: ['the new release answers / with 500: RuntimeError: broken on purpose'],
      });
      await revert(world);
    },
  },
  {
    name: 'of two migrations the second fails',
    protection: 'migrations are reversed',
    fault: async (world) => {
      await world.lab.project.addFailingMigration();
      await world.push();
      await expectFailure(world, { step: 'migrate', says: ['no such table: nowhere'] });
      await revert(world);
    },
  },
  {
    name: 'static files that cannot be collected, after a migration',
    protection: 'migrations are reversed',
    fault: async (world) => {
      await world.change();
      await world.lab.project.breakCollectstatic();
      await world.push();
      await expectFailure(world, { step: 'static', says: ['nowhere.png'] });
      await revert(world);
    },
  },
  {
    name: 'static files that cannot be collected, after a migration that drops a field',
    protection: 'migrations are reversed',
    fault: async (world) => {
      await world.lab.project.addRemoveFieldMigration();
      await world.lab.project.breakCollectstatic();
      await world.push();
      const ran = await world.deployer('deploy', SITE);
      expect(ran, ran.stderr).toMatchObject({ exitCode: 5, stdout: '' });
      expectSaid(ran, {
        step: 'static',
        says: ['act now', 'not undone: migrate: migrations stay in the database: guestbook.0003_'],
      });
      const { database: _, ...state } = await world.state();
      expect(world.before).toMatchObject(state);
      await revert(world);
    },
  },
  {
    name: 'a release that boots slowly',
    protection: 'time is limited',
    fault: async (world) => {
      await append(world, 'config/settings.py', sleepIf('"boot.py" in sys.argv[0]', 25));
      await expectFailure(world, {
        step: 'activate: out of time',
        settings: { timeouts: { activate: 5 }, health_check: undefined },
      });
      await revert(world);
    },
  },
  {
    name: 'a worker that boots slowly',
    protection: 'the workers are proven',
    fault: async (world) => {
      const slow = '"gunicorn" in sys.argv[0] and "--check-config" not in sys.argv';
      await append(world, 'config/settings.py', sleepIf(slow, 20));
      await expectFailure(world, { step: 'restart', settings: { timeouts: { restart: 8 } } });
      await revert(world);
    },
  },
  {
    name: 'a health check that hangs',
    protection: 'the health check decides',
    representative: true,
    fault: async (world) => {
      await append(world, 'guestbook/views.py', HANGING_UNDER_GUNICORN);
      await expectFailure(world, {
        step: 'restart: the health check failed: /health',
        says: ['no answer within 1 s'],
        settings: { health_check: { path: '/health', timeout: 1, retries: 0 } },
      });
      await revert(world);
    },
  },
  {
    name: 'a backup that is cut short',
    protection: 'a backup is read through',
    representative: true,
    fault: async (world) => {
      await world.change();
      const half = 'tar -czf - -C current . | head -c 1000 >"$DEPLOYER_BACKUP"';
      const { dependencies } = world;
      await expectFailure(world, {
        step: 'backup: the backup cannot be read through',
        settings: { commands: { dependencies, backup: half } },
      });
    },
  },
  {
    name: 'a switch under load',
    protection: 'the switch is one rename',
    fault: async (world) => {
      await world.change();
      const next = await world.deployer('deploy', SITE);
      await world.loop.until((version) => version === '2');
      expect(await currentVersion(world)).toBe('2');
      return next;
    },
  },
  {
    name: 'an old release that a process lives in',
    protection: 'what a process lives in stays',
    fault: async (world) => {
      for (let count = 0; count < 2; count++) {
        await world.change();
        const { exitCode } = await world.deployer('deploy', SITE);
        expect(exitCode).toBe(0);
      }
    },
  },
  {
    name: 'folders of other people among the releases',
    protection: 'only what is ours goes',
    fault: async (world) => {
      await world.change();
      return world.deployer('deploy', SITE);
    },
  },
];

const sleepIf = (condition: string, seconds: number): string =>
  `\nimport sys, time\n\nif ${condition}:\n    time.sleep(${seconds})\n`;

const HANGING_UNDER_GUNICORN = `

import sys
import time

if "gunicorn" in sys.argv[0]:

    def health(request):
        time.sleep(4)
        return HttpResponse("late\\n")
`;
