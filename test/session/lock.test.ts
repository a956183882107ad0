import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { begin, expectUnlocked, type Lab, lab, run, spawning, textIn, warningsOf } from './lab.ts';

const WAIT = 'mkfifo go; echo waiting; read -r line <go; rm go';
const letGo = (site: string) => execFileSync('sh', ['-c', 'echo >"$1/go"', 'sh', site]);

test('the second is told who holds the lock, in which step, and since when, and touches nothing', async () => {
  await using place = await lab();
  const first = begin(place.site, [{ name: 'code' }, { name: 'migrate', run: WAIT }], {
    options: { command: 'deployer deploy x\nPid: 1 -', by: 'ana@laptop' },
  });
  await first.said('waiting');
  const second = await run(place.site, [{ name: 'code', run: 'echo second >>order' }]);
  expect(second.outcome).toMatchObject({ how: 'locked', step: 'migrate' });
  const { holder, since } = second.outcome as { holder: string; since: string };
  const release = readdirSync(join(place.site, '.deployer/history'))[0];
  expect(holder.split('\n').map((line) => line.replace(/^(Since|Pid): .*\d.*/, '$1'))).toEqual([
    ...['Site: www.example.com', 'Command: deployer deploy x Pid: 1 -', 'By: ana@laptop', 'Since'],
    ...[`Run: ${release}`, 'Pid', ''],
  ]);
  expect(textIn(place.site, '.deploy.lock')).toBe(holder);
  expect(Math.abs(Date.now() - Date.parse(since))).toBeLessThan(10_000);
  letGo(place.site);
  expect(await first.outcome).toMatchObject({ how: 'done' });
  expect(textIn(place.site, 'order')).toBe('');
  await expectUnlocked(place.site);
});

test('an undo under way is named as what it is', async () => {
  await using place = await lab();
  const first = begin(place.site, [{ name: 'static', run: 'false', undo: WAIT }]);
  await first.said('waiting');
  expect((await run(place.site, [{ name: 'code' }])).outcome).toMatchObject({
    how: 'locked',
    step: 'undo static',
  });
  letGo(place.site);
  await first.outcome;
});

/** Holds the kernel's lock without a name, until its input ends. */
async function nameless(site: string): Promise<ChildProcess> {
  const child = spawn('flock', [join(site, '.deployer/lock'), 'sh', '-c', 'echo; cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  return child;
}

/** A session that has found the lock taken: it has the file open. */
async function contender(place: Lab) {
  const children: ChildProcess[] = [];
  const session = begin(place.site, [{ name: 'code', run: 'echo ran >>order' }], {
    runner: spawning({ started: (child) => children.push(child) }),
  });
  const open = () => {
    try {
      const folder = `/proc/${children[0]?.pid}/fd`;
      return readdirSync(folder).some((fd) =>
        readlinkSync(`${folder}/${fd}`).endsWith('/.deployer/lock'),
      );
    } catch {
      return false;
    }
  };
  while (!open()) await pause(5);
  return session;
}

test('in the moment between the lock and its name, the second waits for the name', async () => {
  await using place = await lab();
  await run(place.site, [{ name: 'code' }]);
  const holder = await nameless(place.site);
  const second = await contender(place);
  writeFileSync(join(place.site, '.deploy.lock'), 'By: bea@desk\n');
  expect(await second.outcome).toEqual({
    how: 'locked',
    holder: 'By: bea@desk\n',
    step: 'lock',
    since: '',
  });
  holder.stdin?.end();
});

test('and if it is free again in that moment, the second goes on', async () => {
  await using place = await lab();
  await run(place.site, [{ name: 'code' }]);
  const holder = await nameless(place.site);
  const second = await contender(place);
  holder.stdin?.end();
  expect(await second.outcome).toMatchObject({ how: 'done' });
  expect(textIn(place.site, 'order')).toBe('ran\n');
});

test('a holder that never gives a name is a holder all the same', async () => {
  await using place = await lab();
  await run(place.site, [{ name: 'code' }]);
  const holder = await nameless(place.site);
  expect((await run(place.site, [{ name: 'code' }])).outcome).toMatchObject({
    how: 'locked',
    holder: '',
  });
  holder.stdin?.end();
});

test('a name without a living holder is stale: reported, and taken over', async () => {
  await using place = await lab();
  await run(place.site, [{ name: 'code' }]);
  writeFileSync(join(place.site, '.deploy.lock'), 'By: bea@desk\n');
  const { outcome, events } = await run(place.site, [{ name: 'code' }]);
  expect(outcome.how).toBe('done');
  expect(warningsOf(events)).toEqual([
    expect.stringMatching(/without a living holder[\s\S]*By: bea@desk/),
  ]);
  await expectUnlocked(place.site);
});

test('of eight at once exactly one deploys, and seven are told who', async () => {
  await using place = await lab();
  const sessions = Array.from({ length: 8 }, (_, index) =>
    begin(place.site, [{ name: 'code', run: WAIT }], { options: { by: `dev${index}@desk` } }),
  );
  const ends = sessions.map(({ outcome }, index) => outcome.then((end) => ({ end, index })));
  const locked: { readonly end: { readonly how: string }; readonly index: number }[] = [];
  await new Promise<void>((resolve) => {
    for (const end of ends) end.then((each) => locked.push(each) === 7 && resolve());
  });
  const winner = [0, 1, 2, 3, 4, 5, 6, 7].find(
    (index) => !locked.some((each) => each.index === index),
  ) as number;
  for (const { end } of locked)
    expect(end).toMatchObject({
      how: 'locked',
      holder: expect.stringContaining(`By: dev${winner}@desk\n`),
    });
  await sessions[winner]?.said('waiting');
  letGo(place.site);
  expect(await sessions[winner]?.outcome).toMatchObject({ how: 'done' });
  await expectUnlocked(place.site);
});
