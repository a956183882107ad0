import { existsSync } from 'node:fs';
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Runner } from '../../src/runners/runner.ts';
import { program } from '../../src/shell.ts';
import { FrameReader } from '../../src/wire.ts';
import { lab, type Ran, run, spawning, textIn, warningsOf } from './lab.ts';

/** A way to a target that notes which frames were sent. */
function watched(): { readonly runner: Runner; readonly kinds: () => string } {
  const sent: Buffer[] = [Buffer.from('!')];
  const real = spawning();
  const start: Runner['start'] = async (argv) => {
    const process = await real.start(argv);
    const write = (data: Buffer) => {
      sent.push(data);
      process.write(data);
    };
    return { ...process, write };
  };
  const kinds = () => {
    const frames = new FrameReader(Buffer.from('!')).read(Buffer.concat(sent));
    return [...frames].map(({ kind }) => kind).join('');
  };
  return { runner: { ...real, start }, kinds };
}

const TOOLS = ['common.py', 'history.py', 'named_tuple.py', 'retention.py', 'records.py'];
const MORE = ['deletion.py', 'environments.py', 'kept_programs.py', 'processes.py'];
const OF_MASTERS = ['command_line.py', 'start_folder.py', 'layout.py', 'masters.py'];
const plan = { tools: [...TOOLS, ...MORE, ...OF_MASTERS] };
const PRUNE = program(
  'history.py',
  ...['prune', '--keep', '5', '--max-backups', '5', '--backup-path', '/nowhere', '--site', 'x'],
);

/** One good run; what it sent, and where the programs are. */
async function runOf(site: string, run_: Parameters<typeof run>[1] = [{ run: PRUNE }]) {
  const { runner, kinds } = watched();
  const ran = await run(site, run_, { plan, runner });
  const names = await readdir(join(site, '.deployer/tools'));
  return { ran, sent: kinds(), names, folder: join(site, '.deployer/tools', names[0] as string) };
}

const how = ({ outcome, log }: Ran) => `${outcome.how} ${log}`;

test('the programs come over once, whatever Python or another run does to what is kept', async () => {
  await using place = await lab();
  const first = await runOf(place.site);
  expect(how(first.ran)).toBe('done ');
  expect(first.sent).toBe('HKPT');
  expect(first.names).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
  const compiled = (await readdir(join(first.folder, '__pycache__'))).filter((name) =>
    name.startsWith('session.'),
  );
  expect(compiled).toHaveLength(1);
  expect((await runOf(place.site)).sent).toBe('HKP');
  await truncate(join(first.folder, '__pycache__', compiled[0] as string), 1000);
  expect(await runOf(place.site)).toMatchObject({ sent: 'HKP', ran: { outcome: { how: 'done' } } });
  await writeFile(join(first.folder, '__pycache__', compiled[0] as string), 'of another Python');
  expect(await runOf(place.site)).toMatchObject({ sent: 'HKP', ran: { outcome: { how: 'done' } } });
});

test('what was compiled is what runs', async () => {
  await using place = await lab();
  const { folder } = await runOf(place.site);
  await writeFile(join(folder, 'history.py'), 'raise ValueError("compiled anew")');
  await writeFile(join(folder, 'session.py'), 'raise ValueError("compiled anew")');
  expect(how((await runOf(place.site)).ran)).toBe('done ');
});

test.each([
  ['a program', 'common.py', 0o664],
  ['a compiled program', '__pycache__', 0o777],
  ['their folder', '.', 0o775],
  ['the folder of all versions', '..', 0o777],
  ['the folder of ours', '../..', 0o775],
] as const)(
  '%s that somebody else may write is run no more: all come anew',
  async (_, name, bits) => {
    await using place = await lab();
    const { folder } = await runOf(place.site);
    for (const file of ['history.py', 'session.py'])
      await writeFile(join(folder, file), 'open("owned", "w")');
    await rm(join(folder, '__pycache__'), { recursive: true });
    await mkdir(join(folder, '__pycache__'));
    await chmod(join(folder, name), bits);
    const { ran, sent } = await runOf(place.site);
    expect([sent, ran.outcome.how]).toEqual(['HKPT', 'done']);
    const opened = name.startsWith('..')
      ? [
          `${join(folder, name)} could be written by others, and holds what we run: chmod 755 was done`,
        ]
      : [];
    expect(warningsOf(ran.events)).toEqual(opened);
    expect(await readFile(join(folder, 'session.py'), 'utf8')).toContain(
      'One deploy, on its target',
    );
    expect(textIn(place.site, 'owned')).toBe('');
    expect((await runOf(place.site)).sent).toBe('HKP');
  },
);

test('nothing is removed through a link that somebody put where the programs lie', async () => {
  await using place = await lab();
  const { folder } = await runOf(place.site);
  const precious = join(place.path, 'precious');
  await mkdir(precious);
  await writeFile(join(precious, 'file'), '');
  await rm(folder, { recursive: true });
  for (const name of [folder, `${folder}.new`, `${folder}.old`]) await symlink(precious, name);
  expect((await runOf(place.site)).ran.outcome.how).toBe('done');
  expect(await readdir(precious)).toEqual(['file']);
});

test('a client that cancels while its programs are wanted has begun nothing', async () => {
  await using place = await lab();
  const real = spawning();
  const cancel = new AbortController();
  const runner: Runner = {
    ...real,
    start: async (argv) => {
      const process = await real.start(argv);
      const write = (data: Buffer) => {
        if (data[0] !== 'T'.charCodeAt(0)) return process.write(data);
        cancel.abort();
      };
      return { ...process, write };
    },
  };
  const { outcome } = await run(place.site, [{}], { runner, options: { cancel: cancel.signal } });
  expect(outcome).toMatchObject({ how: 'undone', why: 'cancelled', step: 'lock' });
  expect(existsSync(place.site)).toBe(false);
});

test('a dead run is undone with the programs of its own version', async () => {
  await using place = await lab();
  const undo = program('history.py', 'candidate', '--to', 'nothing');
  await run(place.site, [{ run: 'kill -KILL $PPID; sleep 1000', undo }], { plan });
  const next = await run(place.site, [{ run: 'true' }], { plan: { tools: ['common.py'] } });
  expect(next.outcome).toMatchObject({ how: 'done' });
  expect(next.events.find((event) => event.type === 'undone')?.failure?.message).toBe(
    'there is no release nothing',
  );
});

test('a dead run whose programs are gone is undone with ours', async () => {
  await using place = await lab();
  const undo = program('history.py', 'candidate', '--to', 'nothing');
  await run(place.site, [{ run: 'kill -KILL $PPID; sleep 1000', undo }], { plan });
  await rm(join(place.site, '.deployer/tools'), { recursive: true });
  const next = await run(place.site, [{ run: 'true' }], {
    plan: { tools: [...plan.tools, 'git.py'] },
  });
  expect(next.events.find((event) => event.type === 'undone')?.failure?.message).toBe(
    'there is no release nothing',
  );
});
