import { chmod, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DockerEngine } from '../../src/runners/docker/container.ts';
import { localEndpoint } from '../../src/runners/docker/endpoint.ts';
import { remoteEndpoint } from '../../src/runners/docker/remote.ts';
import { localRunner } from '../../src/runners/local.ts';
import type { RemoteProcess, Runner } from '../../src/runners/runner.ts';
import { Hosts } from '../../src/runners/ssh/hosts.ts';
import { dockerEngine, type Engine } from '../support/docker.ts';
import { APP } from '../support/docker-images.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';

let tmp: TmpFolder;
let server: Sshd;
let hosts: Hosts;
let engine: Engine;
const cancel = new AbortController().signal;
const place = { container: 'web', user: APP };
const hostOf = async () => {
  const { name: user } = await ordinaryUser();
  return hosts.host({ host: '127.0.0.1', user, port: server.port }, false, () => {});
};
const asRunner = (start: Runner['start']): Runner => ({
  target: '',
  start,
  [Symbol.asyncDispose]: async () => {},
});
const runners: Record<string, () => Promise<Runner>> = {
  local: async () => localRunner(),
  ssh: async () => {
    const host = await hostOf();
    return asRunner((argv) => host.start(argv));
  },
  docker: async () => {
    const docker = new DockerEngine(
      localEndpoint({ DOCKER_HOST: `unix://${engine.socket}` }),
      cancel,
    );
    return asRunner((argv) => docker.start(place, argv));
  },
  'docker over ssh': async () => {
    const docker = new DockerEngine(remoteEndpoint(await hostOf()), cancel);
    return asRunner((argv) => docker.start(place, argv));
  },
};

beforeAll(async () => {
  tmp = await tmpFolder();
  await chmod(tmp.path, 0o755);
  const key = await makeKey(`${tmp.path}/key`);
  engine = await dockerEngine();
  await engine.run('web', {
    mounts: [tmp.path],
    options: ['--env', 'PATH=/opt/bin:/usr/bin:/bin', '--env', 'HOME=/root'],
  });
  server = await sshd(tmp.path, {
    authorized: await publicKey(key),
    config: [`SetEnv XDG_RUNTIME_DIR=${engine.folder}`],
  });
  const known = `${tmp.path}/known_hosts`;
  await writeFile(known, server.knownHosts);
  hosts = new Hosts({
    env: { PATH: process.env.PATH, DEPLOYER_IDENTITY: key, DEPLOYER_KNOWN_HOSTS: known },
    terminal: undefined,
    cancel,
  });
});
afterAll(async () => {
  await hosts?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
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

test.each(['docker', 'docker over ssh'])(
  '%s: a program that is not there was never started, and what the engine says of it is heard',
  async (kind) => {
    const runner = await (runners[kind] as () => Promise<Runner>)();
    const running = await runner.start(['/nowhere/python3']);
    const said: Buffer[] = [];
    running.onOutput((data) => said.push(data));
    running.onErrors(() => {});
    expect(await running.ended).toMatchObject({ how: 'unstarted' });
    expect(Buffer.concat(said).toString()).toContain('/nowhere/python3');
  },
);

test.each(['docker', 'docker over ssh'])(
  '%s: it runs as the account, in its HOME, with the PATH of the image',
  async (kind) => {
    const running = await python(
      kind,
      'import os; print(os.getuid(), os.environ["HOME"], os.environ["PATH"], os.getcwd())',
    );
    await running.ended;
    const { uid } = await ordinaryUser();
    expect(running.output().toString()).toBe(`${uid} /home/${APP} /opt/bin:/usr/bin:/bin /\n`);
  },
);

test('docker: what ends while its container is removed is lost, or was killed', async () => {
  await engine.run('short', {});
  const docker = new DockerEngine(
    localEndpoint({ DOCKER_HOST: `unix://${engine.socket}` }),
    cancel,
  );
  const running = await docker.start({ container: 'short', user: undefined }, ['sleep', '600']);
  running.onOutput(() => {});
  await engine.docker('rm', '--force', 'short');
  const ending = await running.ended;
  expect([
    { how: 'signal', signal: 'SIGKILL' },
    { how: 'lost', reason: expect.any(String) },
  ]).toContainEqual(ending);
});
