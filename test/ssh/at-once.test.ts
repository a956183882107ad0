import { chmod, readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import ssh2 from 'ssh2';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Hosts } from '../../src/runners/ssh/hosts.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { ordinaryUser, type TmpFolder, tmpFolder } from '../support/tmp.ts';

let tmp: TmpFolder;
beforeAll(async () => {
  tmp = await tmpFolder();
  await chmod(tmp.path, 0o755);
});
afterAll(() => tmp?.[Symbol.asyncDispose]());

async function hostOf(server: Pick<Sshd, 'port' | 'knownHosts'>, key: string, hosts: Hosts[]) {
  const file = `${tmp.path}/known_hosts ${server.port}`;
  await writeFile(file, server.knownHosts);
  const env = { PATH: process.env.PATH, DEPLOYER_IDENTITY: key, DEPLOYER_KNOWN_HOSTS: file };
  const cancel = new AbortController().signal;
  const all = new Hosts({ env, terminal: undefined, cancel });
  hosts.push(all);
  const { name } = await ordinaryUser();
  return all.host({ host: '127.0.0.1', user: name, port: server.port }, false, () => {});
}

test.each(['ed25519', 'ecdsa', 'rsa'] as const)(
  '%s: a key is shown, and what is written before the answer comes whole and in order',
  async (type) => {
    const key = await makeKey(`${tmp.path}/${type}`, { type });
    await using server = await sshd(tmp.path, { authorized: await publicKey(key) });
    const hosts: Hosts[] = [];
    const host = await hostOf(server, key, hosts);
    const asked = server.log().includes('Postponed publickey'); // only whether the key would do
    expect(asked).toBe(type === 'rsa');

    const parts = [1, 200_000, 100_000, 3_000_000].map((length, index) =>
      Buffer.alloc(length, `${index}`),
    );
    const running = await Promise.all(
      [1, 2, 3].map(async (each) => {
        const cat = await host.start(['head', '-c', '3300002']);
        const heard: Buffer[] = [];
        cat.onOutput((data) => heard.push(data));
        for (const part of [Buffer.from(`${each}`), ...parts]) cat.write(part);
        expect(await cat.ended).toEqual({ how: 'exit', code: 0 });
        return Buffer.concat(heard);
      }),
    );
    for (const [index, output] of running.entries())
      expect(output.equals(Buffer.concat([Buffer.from(`${index + 1}`), ...parts]))).toBe(true);
    for (const each of hosts) await each[Symbol.asyncDispose]();
  },
);

test('a host with another server than OpenSSH: everything goes its usual way', async () => {
  const [key, hostKey] = await Promise.all(
    ['for it', 'its own'].map((name) => makeKey(`${tmp.path}/${name}`)),
  );
  const shown: boolean[] = [];
  const server = new ssh2.Server(
    { hostKeys: [await readFile(hostKey as string)] },
    (connection) => {
      connection.on('error', () => {});
      connection.on('authentication', (context) => {
        if (context.method !== 'publickey') return context.reject(['publickey']);
        shown.push(context.signature !== undefined);
        context.accept();
      });
      connection.on('session', (accept) =>
        accept().on('exec', (granted) => {
          const channel = granted();
          channel.on('data', (data: Buffer) => channel.write(data));
          channel.on('end', () => {
            channel.exit(0);
            channel.end();
          });
        }),
      );
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const knownHosts = `[127.0.0.1]:${port} ${await publicKey(hostKey as string)}\n`;
  const hosts: Hosts[] = [];
  const host = await hostOf({ port, knownHosts }, key as string, hosts);
  expect(shown, 'asked first, then signed').toEqual([false, true]);
  const echo = await host.start(['cat']);
  let heard = '';
  echo.onOutput((data) => {
    heard += data;
    if (heard === 'all of it') echo.release();
  });
  echo.write(Buffer.from('all '));
  echo.write(Buffer.from('of it'));
  await vi.waitFor(() => expect(heard).toBe('all of it'));
  for (const each of hosts) await each[Symbol.asyncDispose]();
  server.close();
});
