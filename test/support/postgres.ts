import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const PROGRAM = fileURLToPath(new URL('postgres.py', import.meta.url));

/** A private PostgreSQL, reached by its Unix socket only; it ends with this process at the latest. */
export interface Postgres extends AsyncDisposable {
  /** A new database. Resolves to what `DATABASES` of Django's settings says of it, as Python. */
  create(database: string): Promise<string>;
  /** All but the rows, as SQL, and which migrations are applied. */
  schema(database: string): Promise<string>;
  /** Runs a statement in a session of its own, which stays open until `end`. */
  hold(database: string, statement: string): Promise<Held>;
}

interface Held {
  /** Of the server's process. */
  readonly pid: number;
  end(): Promise<void>;
}

/** Starts it in a temp folder. */
export async function postgres(): Promise<Postgres> {
  const server = execa('/usr/bin/python3', [PROGRAM], { stdin: 'pipe', reject: false });
  const lines = createInterface(server.stdout);
  const [line] = await Promise.race([
    once(lines, 'line'),
    server.then(({ stderr }) => Promise.reject(new Error(stderr))),
  ]);
  const { host, bin, user } = JSON.parse(line) as Record<'host' | 'bin' | 'user', string>;
  const run = async (program: string, ...words: readonly string[]) =>
    (await execa(`${bin}/${program}`, ['-h', host, '-U', user, ...words])).stdout;
  const psql = (database: string, statement: string) =>
    run('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', database, '-c', statement);

  return {
    create: async (database) => {
      await psql('postgres', `CREATE DATABASE ${database}`);
      return `{"ENGINE": "django.db.backends.postgresql", "NAME": "${database}", "USER": "${user}", "HOST": "${host}"}`;
    },
    schema: async (database) => {
      const dump = await run('pg_dump', '--schema-only', database);
      const applied = await psql(
        database,
        'SELECT app, name FROM django_migrations ORDER BY app, name',
      );
      return dump.replace(/^\\(un)?restrict .*$/gm, '') + applied;
    },
    hold: async (database, statement) => {
      const session = execa(`${bin}/psql`, ['-h', host, '-U', user, '-d', database, '-XAtq'], {
        stdin: 'pipe',
      });
      const said = createInterface(session.stdout)[Symbol.asyncIterator]();
      session.stdin.write(`SELECT pg_backend_pid();\n${statement};\n\\echo at work\n`);
      const pid = Number((await said.next()).value);
      for (let next = await said.next(); !next.done && next.value !== 'at work'; )
        next = await said.next();
      const end = async () => {
        session.stdin.end();
        await session;
      };
      return { pid, end };
    },
    [Symbol.asyncDispose]: async () => {
      server.stdin.end();
      await server;
    },
  };
}
