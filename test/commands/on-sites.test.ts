import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { onAllSites } from '../../src/commands/on-sites.ts';
import { unlockPlan } from '../../src/plan.ts';
import { terminal } from '../support/terminal.ts';
import { tmpFolder } from '../support/tmp.ts';

test('what nobody foresaw on one site does not stop the others', async () => {
  await using folder = await tmpFolder();
  const file = `${folder.path}/sites.yml`;
  const entry = (name: string) => {
    const path = JSON.stringify(`${folder.path}/${name}`);
    return `${name}: {repository: 'git@host:x', deploy_path: ${path}, backup_path: ${path}}\n`;
  };
  await writeFile(file, ['a.example.com', 'b.example.com', 'c.example.com'].map(entry).join(''));
  const { context, said } = terminal(file, { yes: true });
  const exit = await onAllSites(
    context,
    { runner: undefined, hosts: 4, perHost: 1 },
    {
      action: () => 'unlock',
      plan: (site) => {
        if (site.name === 'b.example.com') throw new RangeError('nobody foresaw this');
        return unlockPlan(site);
      },
    },
  );
  expect(exit, said.err).toBe(6);
  expect(said.out).toMatch(/^a\.example\.com +ok /m);
  expect(said.out).toMatch(/^b\.example\.com +exit 1 .*a fault of deployer itself/m);
  expect(said.out).toMatch(/^c\.example\.com +ok /m);
  expect(said.err).toContain('RangeError: nobody foresaw this\n');
});
