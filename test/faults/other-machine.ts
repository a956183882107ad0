import { chmod, chown, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { type Cable, cableTo } from '../support/cable.ts';
import { makeKey, publicKey, sshd } from '../support/sshd.ts';
import { type OrdinaryUser, ordinaryUser } from '../support/tmp.ts';

/** The machine of a site that is reached over SSH only: a real sshd behind a cable, and an account that owns the site. */
export interface OtherMachine extends AsyncDisposable {
  readonly user: OrdinaryUser;
  readonly cable: Cable;
  /** What sites.yml says of it. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What was put there becomes the account's. */
  own(folder: string): Promise<unknown>;
}

/** What a CI job sets to get there. */
export const environmentOf = (root: string): Readonly<Record<string, string>> => ({
  DEPLOYER_IDENTITY: `${root}/client_key`,
  DEPLOYER_KNOWN_HOSTS: `${root}/known_hosts`,
});

/** `shims` come first on the PATH there. */
export async function otherMachine(root: string, shims: string): Promise<OtherMachine> {
  const { DEPLOYER_IDENTITY: key = '', DEPLOYER_KNOWN_HOSTS: known = '' } = environmentOf(root);
  const user = await ordinaryUser();
  await chmod(root, 0o755);
  await chown(root, user.uid, user.gid);
  await makeKey(key);
  const server = await sshd(root, {
    authorized: await publicKey(key),
    config: [`SetEnv "PATH=${shims}:/usr/local/bin:/usr/bin:/bin"`],
  });
  const cable = await cableTo(server.port);
  await writeFile(known, `[127.0.0.1]:${cable.port} ${server.hostKey}\n`);
  return {
    user,
    cable,
    settings: { host: `${user.name}@127.0.0.1:${cable.port}` },
    own: (folder) => execa('chown', ['-R', `${user.uid}:${user.gid}`, folder]),
    [Symbol.asyncDispose]: async () => {
      await cable[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
