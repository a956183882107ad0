import { chmod, mkdir, stat, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { quote } from '../../src/shell.ts';
import { SITE } from '../support/lab.ts';
import { requestLoop } from '../support/request-loop.ts';
import { sshWorld } from '../support/ssh-world.ts';
import { publicKey, sshd } from '../support/sshd.ts';

test('over SSH, as an ordinary user: deployed, served, broken, deployed again, rolled back', async () => {
  await using world = await sshWorld();
  const { user } = world.world;
  const first = await world.deployer('deploy', SITE);
  expect(first.exitCode, first.stderr).toBe(0);
  expect(first.stdout).toMatch(new RegExp(`^${SITE} \\d{8}_\\d{6}_\\d{3} [0-9a-f]{40}$`));
  expect(first.stderr).toContain(`(ssh ${user.name}@127.0.0.1:${world.server.port})`);
  expect(await stat(`${world.site}/current/manage.py`)).toMatchObject({ uid: user.uid });

  const { address } = await world.serve();
  const loop = requestLoop(address);
  await world.change((project) => project.breakUrls());
  const broken = await world.deployer('deploy', SITE);
  expect(broken.exitCode, broken.stderr).toBe(1);
  expect(await world.live()).toBe(first.stdout.split(' ')[1]);
  expect(await world.releases()).toHaveLength(1);

  await world.change((project) => project.revert());
  await world.change((project) => project.commitVersion('2'));
  const second = await world.deployer('deploy', SITE);
  expect(second.stderr).toContain('proven to be served');
  await loop.until((version) => version === '2');

  const back = await world.deployer('rollback', SITE);
  expect(back.exitCode, back.stderr).toBe(0);
  expect(back.stdout).toBe(first.stdout);
  await loop.until((version) => version === '1');
  expect((await loop.stop()).failures).toEqual([]);
});

test('a target without sudo, in the C locale, whose .bashrc prints and whose HOME nobody may write to', async () => {
  await using world = await sshWorld();
  const { root, world: of } = world;
  const [bin, home] = [`${root}/no sudo`, `${root}/home of nobody`];
  for (const folder of [bin, home]) await mkdir(folder);
  await execa('find', ['/usr/bin', '!', '-name', 'sudo*', '-exec', 'ln', '-st', bin, '{}', '+']);
  await writeFile(`${home}/rc`, 'echo welcome; printf "no end"; echo trouble >&2\n');
  await chmod(home, 0o555);
  const surroundings = `LANG=C LC_ALL=C HOME=${quote(home)} PATH=${quote(bin)}`;
  const shell = `exec bash --rcfile ${quote(`${home}/rc`)} -ic "$SSH_ORIGINAL_COMMAND"`;
  await using target = await sshd(root, {
    authorized: await publicKey(world.key),
    config: [`ForceCommand ${surroundings} ${shell}`],
  });
  await world.know(target.port, target.hostKey);
  await world.change((project) => project.commit('A ñ', { "ñandú/it's.txt": 'ñ' }));
  await world.configure({
    host: `${of.user.name}@127.0.0.1:${target.port}`,
    hooks: { after_release: '! command -v sudo; echo "$LANG $HOME"' },
  });
  const { exitCode, stderr } = await world.deployer('deploy', SITE, '--verbose');
  expect(exitCode, stderr).toBe(0);
  expect(stderr).toContain(`C ${home}`);
  expect(await stat(`${world.site}/current/ñandú/it's.txt`)).toMatchObject({ size: 2 });
});
