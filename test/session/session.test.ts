import { test, expect } from 'vitest';
import { localRunner } from '../../src/runners/local.ts';
import { runSession } from '../../src/session.ts';
import { planOf } from '../support/plans.ts';
import { tmpFolder } from '../support/tmp.ts';

test('smoke', async () => {
  await using tmp = await tmpFolder();
  const events: unknown[] = [];
  const outcome = await runSession(localRunner(), planOf(`${tmp.path}/site`, [
    { name: 'code', run: 'echo hello; answer note "x y"', undo: 'echo undone code' },
    { name: 'release', run: 'echo "$RELEASE $RUN"; ls -la . "$TOOLS"; env', undo: 'echo undone' },
    { name: 'static', run: 'echo oops; fail "it broke"' },
  ]), { by: 'me@here', command: 'deployer x', report: (e) => events.push(e) });
  console.log(events, outcome);
  expect(outcome.how).toBe('undone');
});
