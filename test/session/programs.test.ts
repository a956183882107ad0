import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inTurn, program, type Script, sh, together } from '../../src/shell.ts';
import { alive, begin, expectUnlocked, lab, numbersIn, run, textIn } from './lab.ts';

/** Python that is run as a step's program: by timeit, which is one that every Python has. */
const python = (code: string): Script => program('timeit.py', '-n1', '-r1', '-s', code, 'pass');

/** Ends the session, as the kernel does when memory runs out, and goes on when it is gone. */
const DIE = `
import os, signal, time
session = os.getppid()
os.kill(session, signal.SIGKILL)
while os.getppid() == session: time.sleep(0.01)`;

const CHILDREN = `
import os, subprocess, time
with open("children", "a") as file: print(os.getpid(), file=file)
subprocess.Popen(["setsid", "sh", "-c", "echo $$ >>children; trap '' TERM; while :; do sleep 1000; done"])
while len(open("children").readlines()) < 2: time.sleep(0.01)`;

const GOOD_RUN = [{ name: 'code', run: 'echo next >>order' }] as const;

test('a program sees what a script sees: folder, environment, empty input, no other file', async () => {
  await using place = await lab();
  const look = `
import os
print(os.getcwd(), os.umask(0), os.readlink("/proc/self/fd/0"), os.getsid(0) == os.getpgid(0), sorted(map(int, os.listdir("/proc/self/fd")))[:-1])
for name in sorted(os.environ): print(name, os.environ[name].replace(os.environ["DEPLOYER_RUN"], "MARK").replace(os.environ["RELEASE"], "RELEASE"))`;
  const { outcome, log } = await run(place.site, [
    {
      name: 'check',
      run: python(`import os, subprocess; os.environ.pop("LC_CTYPE", None)${look}`),
    },
    {
      name: 'release',
      run: `unset PWD OLDPWD SHLVL _; "$PYTHON" -ISc 'import os; os.environ.pop("LC_CTYPE", None)${look.replaceAll("'", '')}'`,
    },
  ]);
  expect(outcome.how).toBe('done');
  const [, first, second] = log
    .split(`${place.site} `)
    .map((text) => text.replace(/^1 loop.*\n?/gm, ''));
  expect(first).toBe(second);
  expect(first).toContain(`18 /dev/null True [0, 1, 2, 3]`);
});

test.each([
  ['print("half", end=""); raise ValueError("what happened")', 1, 'ValueError: what happened'],
  ['import os, signal; os.kill(os.getpid(), signal.SIGKILL)', 137, ''],
])('%s ends the step as it would end a process', async (code, exit, said) => {
  await using place = await lab();
  const { events, log } = await run(place.site, [{ name: 'check', run: python(code) }]);
  const failure = events.find((event) => event.type === 'failed');
  expect(failure?.failure.code).toBe(exit);
  expect(log).toContain(said);
  if (code.startsWith('print')) expect(log).toContain('half');
});

test('a program that ends itself says why, and with which code', async () => {
  await using place = await lab();
  const tools = ['history.py', 'common.py', 'named_tuple.py', 'retention.py', 'records.py'];
  const more = ['deletion.py', 'environments.py', 'kept_programs.py'];
  const { outcome, events } = await run(
    place.site,
    [{ name: 'check', run: program('history.py', 'candidate', '--to', "it's\nnone") }],
    { plan: { tools: [...tools, ...more] } },
  );
  expect(outcome.how).toBe('undone');
  const failure = events.find((event) => event.type === 'failed')?.failure;
  expect(failure).toMatchObject({ code: 1, message: "there is no release it's\nnone" });
});

test('programs run side by side, all to their ends; the step fails if one has failed', async () => {
  await using place = await lab();
  const meet = (name: string, other: string, code: number) =>
    python(`
import os, time
open(${JSON.stringify(name)}, "w").close()
while not os.path.exists(${JSON.stringify(other)}): time.sleep(0.01)
os.write(3, b"problem=${name}\\0")
if ${code}: raise ValueError`);
  const codes = async (one: number, two: number) => {
    const step = together(meet('one', 'two', one), meet('two', 'one', two));
    const { outcome, events } = await run(place.site, [{ name: 'check', run: step }]);
    const failed = events.find((event) => event.type === 'failed');
    return [outcome.how, failed?.failure.problems.toSorted()];
  };
  expect(await codes(0, 0)).toEqual(['done', undefined]);
  expect(await codes(1, 0)).toEqual(['undone', ['one', 'two']]);
  expect(await codes(0, 1)).toEqual(['undone', ['one', 'two']]);
});

test('one that is stopped leaves no child behind, and its undo may be a program, too', async () => {
  await using place = await lab();
  const cancel = new AbortController();
  const undo = python('open("order", "a").write("undo\\n")');
  const step = together(
    python(`${CHILDREN}\nprint("waiting", flush=True)\ntime.sleep(1000)`),
    python('import time; time.sleep(1000)'),
  );
  const running = begin(place.site, [{ name: 'code', run: step, undo }], {
    options: { cancel: cancel.signal, times: { grace: 0.2 } },
  });
  await running.said('waiting');
  cancel.abort();
  expect(await running.outcome).toMatchObject({ how: 'undone', why: 'cancelled' });
  expect(numbersIn(place.site, 'children').filter(alive)).toEqual([]);
  expect(textIn(place.site, 'order')).toBe('undo\n');
  await expectUnlocked(place.site);
});

test('one whose session died and that may be killed is killed by the next run, with its children; it holds no lock', async () => {
  await using place = await lab();
  const first = await run(place.site, [
    { name: 'code', run: python(`${CHILDREN}${DIE}\ntime.sleep(1000)`), undo: 'echo undo >>order' },
  ]);
  expect(first.outcome).toMatchObject({ how: 'lost', step: 'code' });
  execFileSync('flock', ['-n', join(place.site, '.deployer/lock'), 'true']);
  expect(numbersIn(place.site, 'children').filter(alive)).toHaveLength(2);
  expect((await run(place.site, GOOD_RUN)).outcome.how).toBe('done');
  expect(textIn(place.site, 'order')).toBe('undo\nnext\n');
  expect(numbersIn(place.site, 'children').filter(alive)).toEqual([]);
  await expectUnlocked(place.site);
});

test('one whose session died and that must end is heard out, and undone once', async () => {
  await using place = await lab();
  const step = `${DIE}
print("nobody hears this", flush=True)
open("waiting", "w").close()
while not os.path.exists("go"): time.sleep(0.01)
os.write(1, b"x" * 300000)
open("order", "a").write("ended\\n")`;
  await run(place.site, [
    { name: 'writable', orphan: 'finish', run: python(step), undo: 'echo undo >>order' },
  ]);
  const next = begin(place.site, GOOD_RUN);
  await next.saw((event) => event.type === 'recovering');
  execFileSync('touch', [join(place.site, 'go')]);
  expect(await next.outcome).toMatchObject({ how: 'done' });
  expect(textIn(place.site, 'order')).toBe('ended\nundo\nnext\n');
  await expectUnlocked(place.site);
});

test('siblings do not outlive one that waits for them and is killed', async () => {
  await using place = await lab();
  const sibling = `
import os, time
with open("children", "a") as file: print(os.getpid(), file=file)
time.sleep(1000)`;
  const killer = `
import os, signal, time
while not os.path.exists("children"): time.sleep(0.01)
os.kill(os.getppid(), signal.SIGKILL)`;
  const step = together(python(sibling), python(killer));
  const { outcome } = await run(place.site, [{ run: step, undo: 'echo undo >>order' }]);
  expect(outcome).toMatchObject({ how: 'undone', failure: { code: 137 } });
  await expect.poll(() => numbersIn(place.site, 'children').filter(alive)).toEqual([]);
});

test('a part of a step fails it, and what comes after is not run; the next is told of each process', async () => {
  await using place = await lab();
  const step = inTurn(sh`echo one >>order`, python('raise ValueError'), sh`echo three >>order`);
  const { outcome } = await run(place.site, [{ run: step }]);
  expect(outcome).toMatchObject({ how: 'undone', failure: { code: 1 } });
  expect(textIn(place.site, 'order')).toBe('one\n');
  const [id = ''] = readdirSync(join(place.site, '.deployer/history'));
  const journal = textIn(place.site, `.deployer/run/${id}.journal`);
  expect(journal).toMatch(/\nstart 0 .*\npid .*\npart\npid .*\ndone 0 1\n/);
});

test.each(['\x1c', '\x1e', '\x1f', '\x1d', '\x1a'])(
  'a command may hold %j, with which parts are parted',
  async (sign) => {
    await using place = await lab();
    const { outcome, log } = await run(place.site, [
      { run: inTurn(sh`echo before`, sh`printf '%s' ${`a${sign}b`} | od -An -c`) },
    ]);
    expect(outcome.how).toBe('done');
    expect(log.replace(/\s+/g, ' ')).toMatch(/^before a \d+ b $/);
  },
);
