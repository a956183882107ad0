import { chmod, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localRunner } from '../../src/runners/local.ts';
import type { RemoteProcess, Runner } from '../../src/runners/runner.ts';
import { Hosts } from '../../src/runners/ssh/hosts.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';

let tmp: TmpFolder;
let server: Sshd;
let hosts: Hosts;
const runners: Record<string, () => Promise<Runner>> = {
  local: async () => localRunner(),
  ssh: async () => {
    const { name: user } = await ordinaryUser();
    const address = { host: '127.0.0.1', user, port: server.port };
    const host = await hosts.host(address, false, () => {});
    return {
      target: 'ssh',
      start: (argv) => host.start(argv),
      [Symbol.asyncDispose]: async () => {},
    };
  },
};

beforeAll(async () => {
  tmp = await tmpFolder();
  await chmod(tmp.path, 0o755);
  const key = await makeKey(`${tmp.path}/key`);
  server = await sshd(tmp.path, { authorized: await publicKey(key) });
  const known = `${tmp.path}/known_hosts`;
  await writeFile(known, server.knownHosts);
  hosts = new Hosts({
    env: { PATH: process.env.PATH, DEPLOYER_IDENTITY: key, DEPLOYER_KNOWN_HOSTS: known },
    terminal: undefined,
    cancel: new AbortController().signal,
  });
});
afterAll(async () => {
  await hosts?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await tmp?.[Symbol.asyncDispose]();
});

/** Runs Python, which needs no quote that a login shell would take for its own. */
async function python(kind: string, program: string): Promise<Running> {
  const runner = await (runners[kind] as () => Promise<Runner>)();
  const running = await runner.start(['python3', '-c', program]);
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  running.onOutput((data) => output.push(data));
  running.onErrors((data) => errors.push(data));
  return {
    ...running,
    output: () => Buffer.concat(output),
    errors: () => Buffer.concat(errors).toString(),
  };
}

interface Running extends RemoteProcess {
  output(): Buffer;
  errors(): string;
}

const kinds = Object.keys(runners);

test.each(kinds)('%s: output, errors and exit code', async (kind) => {
  const running = await python(
    kind,
    'import sys; print(1); print(2, file=sys.stderr); sys.exit(3)',
  );
  expect(await running.ended).toEqual({ how: 'exit', code: 3 });
  expect(running.output().toString()).toBe('1\n');
  expect(running.errors()).toBe('2\n');
});

test.each(kinds)('%s: bytes go in and out as they are', async (kind) => {
  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7) % 256));
  const running = await python(
    kind,
    'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read(300000))',
  );
  running.write(bytes);
  expect(await running.ended).toEqual({ how: 'exit', code: 0 });
  expect(running.output().equals(bytes)).toBe(true);
});

test.each(kinds)('%s: 30 MB of output come whole', async (kind) => {
  const program = 'import sys; [sys.stdout.write("x" * 1000000) for _ in range(30)]';
  const running = await python(kind, program);
  expect(await running.ended).toEqual({ how: 'exit', code: 0 });
  expect(running.output()).toHaveLength(30_000_000);
});

test.each(kinds)('%s: a signal is told apart from an exit code', async (kind) => {
  const running = await python(kind, 'import os; os.kill(os.getpid(), 9)');
  expect(await running.ended).toEqual({ how: 'signal', signal: 'SIGKILL' });
});

test.each(kinds)('%s: released, it goes on, and sees the end of its input', async (kind) => {
  const note = `${tmp.path}/note of ${kind}`;
  await writeFile(note, '');
  await chmod(note, 0o666);
  const running = await python(
    kind,
    `import sys; print(1, flush=True); sys.stdin.read(); open("${note.replaceAll("'", '" + chr(39) + "')}", "w").write("went on")`,
  );
  await expect.poll(() => running.output().toString(), { timeout: 60_000 }).toBe('1\n');
  running.release();
  await expect.poll(() => readFile(note, 'utf8'), { timeout: 60_000 }).toBe('went on');
});

test('local: a program that is not there was never started', async () => {
  const running = await localRunner().start(['/nowhere/python3']);
  expect(await running.ended).toMatchObject({ how: 'unstarted' });
});

test('ssh: a program that is not there ends with 127, as a shell has it', async () => {
  const runner = await (runners.ssh as () => Promise<Runner>)();
  const running = await runner.start(['/nowhere/python3']);
  running.onOutput(() => {});
  running.onErrors(() => {});
  expect(await running.ended).toEqual({ how: 'exit', code: 127 });
});
