import { readFile } from 'node:fs/promises';
import ssh2 from 'ssh2';
import { makeKey, publicKey } from './sshd.ts';

/**
 * An SSH server that takes `the password`, and runs nothing; `heard` is every password it was offered: OpenSSH asks for passwords through PAM, or checks those of
 * real accounts, and neither is ours to set up.
 */
export async function passwordServer(root: string, methods: readonly string[]) {
  const heard: string[] = [];
  const hostKey = await readFile(await makeKey(`${root}/${methods.join('-')}`), 'utf8');
  const server = new ssh2.Server({ hostKeys: [hostKey] }, (connection) => {
    connection.on('error', () => {});
    connection.on('authentication', (context) => {
      const accept = (word = '') => {
        heard.push(word);
        return word === 'the password' ? context.accept() : context.reject([...methods] as never);
      };
      if (!methods.includes(context.method)) context.reject([...methods] as never);
      else if (context.method === 'password') accept(context.password);
      else if (context.method === 'keyboard-interactive')
        context.prompt([{ prompt: 'Password: ', echo: false }], ([word]) => accept(word));
    });
    connection.on('session', (session) =>
      session().on('exec', (run) => {
        const channel = run();
        channel.exit(0);
        channel.end();
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const blob = await publicKey(`${root}/${methods.join('-')}`);
  return {
    port,
    heard,
    known: `[127.0.0.1]:${port} ${blob}\n`,
    [Symbol.dispose]: () => server.close(),
  };
}
