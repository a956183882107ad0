import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { PassThrough } from 'node:stream';
import { createServer as createSecureServer } from 'node:tls';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DockerEngine } from '../../src/runners/docker/container.ts';
import { localEndpoint } from '../../src/runners/docker/endpoint.ts';
import { processOf } from '../../src/runners/docker/process.ts';
import { type TmpFolder, tmpFolder } from '../support/tmp.ts';

let tmp: TmpFolder;
const servers: Server[] = [];

beforeEach(async () => {
  tmp = await tmpFolder();
});
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await tmp[Symbol.asyncDispose]();
});

/** Something that greets with a word, at a path below the folder or at a port. */
async function listening(at: string | 0, word: string): Promise<number> {
  const server = createServer((socket) => void socket.on('error', () => {}).end(word));
  servers.push(server);
  if (at !== 0) await mkdir(dirname(`${tmp.path}/${at}`), { recursive: true });
  await new Promise<void>((resolve) =>
    at === 0 ? server.listen(0, '127.0.0.1', resolve) : server.listen(`${tmp.path}/${at}`, resolve),
  );
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

/** Who answers. */
async function greeting(env: Readonly<Record<string, string>>): Promise<string> {
  const endpoint = localEndpoint({ HOME: tmp.path, XDG_RUNTIME_DIR: tmp.path, ...env });
  const stream = await endpoint.open(new AbortController().signal);
  let said = '';
  for await (const data of stream) said += data;
  return said;
}

async function context(name: string, address: string): Promise<void> {
  const id = createHash('sha256').update(name).digest('hex');
  const folder = `${tmp.path}/.docker/contexts/meta/${id}`;
  await mkdir(folder, { recursive: true });
  const meta = { Name: name, Endpoints: { docker: { Host: address } } };
  await writeFile(`${folder}/meta.json`, JSON.stringify(meta));
}

const use = async (name: string) => {
  await mkdir(`${tmp.path}/.docker`, { recursive: true });
  await writeFile(`${tmp.path}/.docker/config.json`, JSON.stringify({ currentContext: name }));
};

test('DOCKER_HOST wins over DOCKER_CONTEXT, which wins over the context in use', async () => {
  await listening('one.sock', 'one');
  const port = await listening(0, 'two');
  await listening('three.sock', 'three');
  await context('work', `tcp://127.0.0.1:${port}`);
  await context('home', `unix://${tmp.path}/three.sock`);
  await use('home');
  expect(await greeting({})).toBe('three');
  expect(await greeting({ DOCKER_CONTEXT: 'work' })).toBe('two');
  const host = `unix://${tmp.path}/one.sock`;
  expect(await greeting({ DOCKER_CONTEXT: 'work', DOCKER_HOST: host })).toBe('one');
  await expect(greeting({ DOCKER_CONTEXT: 'wrok' })).rejects.toMatchObject({
    code: 'config',
    message: 'there is no Docker context wrok',
    hint: expect.stringContaining('docker context ls'),
  });
});

test('a context over ssh is refused with what to write instead', async () => {
  await context('web', 'ssh://deploy@web1');
  await use('web');
  await expect(greeting({})).rejects.toMatchObject({
    code: 'config',
    message: 'the Docker context web is ssh://deploy@web1, which is not used',
    hint: expect.stringContaining('host: deploy@web1'),
  });
});

test('a password in the address of an engine is not shown', async () => {
  for (const address of ['ssh://deploy:s3cretpw@web1', 'https://deploy:s3cretpw@web1']) {
    const error = await greeting({ DOCKER_HOST: address }).catch((each) => each);
    expect(`${error.message} ${error.hint}`).toMatch(/web1/);
    expect(`${error.message} ${error.hint}`).not.toContain('s3cretpw');
  }
});

/** A certificate authority, and a certificate of it for 127.0.0.1, as Docker names the files. */
async function certificates(folder: string): Promise<void> {
  await mkdir(folder);
  const openssl = (...words: readonly string[]) => execa('openssl', words, { cwd: folder });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await openssl(
    ...['req', '-x509', ...key, '-subj', '/CN=ca', '-keyout', 'ca.key', '-out', 'ca.pem'],
  );
  await openssl(
    ...['req', '-x509', ...key, '-subj', '/CN=engine', '-addext', 'subjectAltName=IP:127.0.0.1'],
    ...['-CA', 'ca.pem', '-CAkey', 'ca.key', '-keyout', 'key.pem', '-out', 'cert.pem'],
  );
}

test('over TLS the engine must know us, and we it', async () => {
  const [ours, theirs] = [`${tmp.path}/ours`, `${tmp.path}/theirs`];
  for (const folder of [ours, theirs]) await certificates(folder);
  const [ca, cert, key] = await Promise.all(
    ['ca.pem', 'cert.pem', 'key.pem'].map((name) => readFile(`${ours}/${name}`)),
  );
  const server = createSecureServer({ ca, cert, key, requestCert: true }, (socket) => {
    socket.on('error', () => {}).end('secret');
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const env = { DOCKER_HOST: `tcp://127.0.0.1:${port}`, DOCKER_TLS_VERIFY: '1' };
  expect(await greeting({ ...env, DOCKER_CERT_PATH: ours })).toBe('secret');
  await expect(greeting({ ...env, DOCKER_CERT_PATH: theirs })).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/127\.0\.0\.1:\d+: .*(certificate|issuer)/),
  });
  await expect(greeting({ ...env, DOCKER_CERT_PATH: `${tmp.path}/nowhere` })).rejects.toMatchObject(
    {
      message: expect.stringContaining('ca.pem'),
    },
  );
});

test('an engine that accepts and never answers, over TLS or not: an interrupt is heard', async () => {
  const server = createServer((socket) => void socket.on('error', () => {}));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await certificates(`${tmp.path}/ours`);
  const plain = { DOCKER_HOST: `tcp://127.0.0.1:${port}` };
  for (const env of [
    plain,
    { ...plain, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: `${tmp.path}/ours` },
  ]) {
    const cancel = new AbortController();
    await using engine = new DockerEngine(localEndpoint(env), cancel.signal);
    const connected = once(server, 'connection');
    const started = engine.start({ container: 'web', user: undefined }, ['true']);
    const refused = expect(started).rejects.toMatchObject({ code: 'interrupted' });
    await connected;
    cancel.abort();
    await refused;
  }
});

test('the engine of a host has nothing to do with the certificates of this machine', async () => {
  vi.stubEnv('DOCKER_HOST', 'tcp://127.0.0.1:2376');
  vi.stubEnv('DOCKER_CERT_PATH', `${tmp.path}/nowhere`);
  const elsewhere = { where: 'on web1', open: () => Promise.reject(new Error('asked')) };
  await using engine = new DockerEngine(elsewhere, new AbortController().signal);
  await expect(engine.start({ container: 'web', user: undefined }, [])).rejects.toThrow('asked');
  expect(process.env.DOCKER_HOST).toBe('tcp://127.0.0.1:2376');
  vi.unstubAllEnvs();
});

test('thousands of small pieces of output at once, in frames that are cut anywhere', async () => {
  const frame = Buffer.from([1, 0, 0, 0, 0, 0, 0, 1, 65]);
  const all = Buffer.concat(Array.from({ length: 10_000 }, () => frame));
  const stream = new PassThrough();
  const inspect = async () => ({ Running: false, ExitCode: 0 });
  let said = '';
  const running = processOf(stream, inspect);
  running.onOutput((data) => {
    said += data;
  });
  stream.write(all.subarray(0, 70_003));
  stream.end(all.subarray(70_003));
  expect(await running.ended).toEqual({ how: 'exit', code: 0 });
  expect(said).toBe('A'.repeat(10_000));
});

test.skipIf(existsSync('/var/run/docker.sock'))(
  'without either, the usual sockets: rootless Docker, then Podman, and none is said',
  async () => {
    await expect(greeting({})).rejects.toMatchObject({
      code: 'unreachable',
      message: 'no Docker engine runs here',
      hint: expect.stringContaining(`${tmp.path}/docker.sock`),
    });
    await listening('podman/podman.sock', 'podman');
    expect(await greeting({})).toBe('podman');
    await use('default');
    await listening('docker.sock', 'rootless');
    expect(await greeting({})).toBe('rootless');
  },
);
