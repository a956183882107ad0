import { chmod, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Runner } from '../../src/runners/runner.ts';
import { program } from '../../src/shell.ts';
import { FrameReader } from '../../src/wire.ts';
import { lab, type Ran, run, spawning, textIn } from './lab.ts';

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

test('nothing is run that somebody else may have written: it comes over again, in the place of that', async () => {
  await using place = await lab();
  const { folder } = await runOf(place.site);
  const session = join(folder, 'session.py');
  const [compiled] = (await readdir(join(folder, '__pycache__'))).filter((name) =>
    name.startsWith('session.'),
  );
  await writeFile(session, 'open("owned", "w"); raise SystemExit(0)');
  await chmod(session, 0o666);
  await chmod(join(folder, '__pycache__', compiled as string), 0o664);
  expect(await runOf(place.site)).toMatchObject({
    sent: 'HKPT',
    ran: { outcome: { how: 'done' } },
  });
  expect(await readFile(session, 'utf8')).toContain('One deploy, on its target');
  expect(textIn(place.site, 'owned')).toBe('');
  expect((await runOf(place.site)).sent).toBe('HKP');
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
