import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect } from 'vitest';
import { SITE } from '../../support/lab.ts';
import { lockFree, said } from '../../support/under-way.ts';
import { expectFailure } from '../failing.ts';
import { killEverything, sessionOf } from '../held.ts';
import type { Row } from '../row.ts';
import { GIT_USER, SECRETS, type World } from '../world.ts';

/** The step makes the environment itself. */
const OWN_ENVIRONMENT = { commands: {} };

/** Git and pip, and whom they talk to. */
export const networkRows: readonly Row[] = [
  {
    name: 'Git: the server is silent',
    protection: 'time is limited',
    fault: async (world) => {
      await world.change();
      const port = await listen(world, silent);
      await expectFailure(world, {
        step: 'check: out of time',
        settings: { repository: `http://127.0.0.1:${port}/x.git`, timeouts: { check: 5 } },
      });
    },
  },
  {
    name: 'Git: the connection is cut half way',
    protection: 'what was done is undone',
    representative: true,
    fault: async (world) => {
      await manyBytes(world);
      const port = await listen(
        world,
        between(world, (socket) => socket.destroy()),
      );
      await expectFailure(world, {
        step: 'code',
        settings: {
          repository: `http://${GIT_USER}:${SECRETS.git}@127.0.0.1:${port}/repository.git`,
        },
      });
    },
  },
  {
    name: 'Git: the server is silent half way, and the client is killed',
    protection: 'what a killed Git left is swept',
    fault: async (world) => {
      await manyBytes(world);
      let stalls = () => {};
      const stalled = new Promise<void>((resolve) => {
        stalls = resolve;
      });
      const port = await listen(
        world,
        between(world, () => stalls()),
      );
      await world.configure({
        repository: `http://${GIT_USER}:${SECRETS.git}@127.0.0.1:${port}/repository.git`,
      });
      const client = world.start('deploy', SITE);
      await stalled;
      client.kill('SIGKILL');
      await client;
      await lockFree(world.site);
      expect(await world.state(), 'undone').toEqual(world.before);
      await world.configure({});
      const next = await world.deployer('deploy', SITE);
      expect(await leftByGit(world)).toEqual([]);
      return next;
    },
  },
  {
    name: 'Git: a password is asked for',
    protection: 'the cause of a failure of Git is named',
    fault: async (world) => {
      await world.change();
      await expectFailure(world, {
        step: 'check',
        says: ['wants a user and a password', 'put a user and a token'],
        settings: { repository: `http://127.0.0.1:${world.gitPort}/repository.git` },
      });
    },
  },
  {
    name: 'Git: no such branch',
    protection: 'the branch is looked for before anything is changed',
    fault: async (world) => {
      await expectFailure(world, {
        step: 'check',
        says: ['has no branch, tag or commit mian', 'the branches there: main'],
        settings: { branch: 'mian' },
      });
    },
  },
  {
    name: 'pip: a requirement that is nowhere',
    protection: 'what was done is undone',
    settings: OWN_ENVIRONMENT,
    fault: async (world) => {
      await world.lab.project.addUninstallableRequirement();
      await world.push();
      await expectFailure(world, {
        step: 'dependencies: pip could not install requirements.txt',
        says: ['No matching distribution found for no-such-thing-anywhere==1'],
      });
      await world.lab.project.revert();
      await world.push();
    },
  },
  {
    name: 'pip: the index is silent',
    protection: 'time is limited',
    settings: OWN_ENVIRONMENT,
    fault: async (world) => {
      const port = await listen(world, silent);
      await world.lab.project.commit('An index that is silent', {
        'requirements.txt': `--index-url http://127.0.0.1:${port}/simple/\ntinylib==1\n`,
      });
      await world.push();
      await expectFailure(world, {
        step: 'dependencies: out of time',
        settings: { timeouts: { dependencies: 15 } },
      });
      await world.lab.project.revert();
      await world.push();
    },
  },
  {
    name: 'pip: everything dies while it installs',
    protection: 'a dead run is undone',
    settings: OWN_ENVIRONMENT,
    fault: async (world) => {
      await world.lab.project.changeLibrary('2');
      await world.push();
      const client = world.start('deploy', SITE, '--verbose');
      await said(client, 'Processing ');
      killEverything(world, { client, session: await sessionOf(world.site) });
      await client;
      const { stderr } = await world.deployer('unlock', SITE);
      expect(stderr).toContain('died in dependencies: settling it first');
      expect(await world.state(), 'undone').toEqual(world.before);
    },
  },
];

type Connected = (client: Socket) => void;

/** A TCP server until the end of the row. Resolves to its port. */
async function listen(world: World, connected: Connected): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    connected(socket);
  });
  world.atEnd(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** Takes what is said, and answers nothing. */
const silent: Connected = (socket) => socket.resume();

/** In front of the Git server; the first pack gets to half of it, then `broken` is done with the client's connection. */
function between(world: World, broken: Connected): Connected {
  return (client) => {
    const server = connect(world.gitPort, '127.0.0.1').on('error', () => {});
    let passed = 0;
    client.pipe(server);
    client.on('close', () => server.destroy());
    server.on('data', (data) => {
      passed += data.length;
      if (passed <= MANY / 2) return void client.write(data);
      server.destroy();
      return broken(client);
    });
    server.on('end', () => passed <= MANY / 2 && client.end());
  };
}

const MANY = 400_000;

/** A commit whose pack is large, because nothing makes it smaller. */
async function manyBytes(world: World): Promise<void> {
  await world.lab.project.commit('Much', { 'much.txt': randomBytes(MANY / 2).toString('hex') });
  await world.change();
}

async function leftByGit(world: World): Promise<readonly string[]> {
  const names = await readdir(`${world.site}/.deployer/repo.git`, { recursive: true });
  return names.filter((name) => /(^|\/)tmp_|\.lock$/.test(name));
}
