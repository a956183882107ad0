import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { execa } from 'execa';

/** Git over HTTP, for those who know a user and a password. */
export interface GitServer extends AsyncDisposable {
  /** `127.0.0.1:PORT/repository.git`, to be completed by scheme and credentials. */
  readonly place: string;
}

/** Serves a copy of the repository's `main` as it is now; ends with `await using`. */
export async function gitServer(
  repository: string,
  folder: string,
  user: string,
  password: string,
): Promise<GitServer> {
  await execa('git', ['clone', '--quiet', '--bare', repository, `${folder}/repository.git`]);
  const { stdout: programs } = await execa('git', ['--exec-path']);
  const wanted = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const server = createServer((request, response) => {
    if (request.headers.authorization === wanted) {
      answer(`${programs}/git-http-backend`, folder, request, response);
    } else {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="code"' }).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    place: `127.0.0.1:${port}/repository.git`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** One request as the CGI program of Git answers it. */
function answer(
  program: string,
  folder: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const env = {
    GIT_PROJECT_ROOT: folder,
    GIT_HTTP_EXPORT_ALL: '1',
    REQUEST_METHOD: request.method ?? 'GET',
    PATH_INFO: url.pathname,
    QUERY_STRING: url.search.slice(1),
    CONTENT_TYPE: request.headers['content-type'] ?? '',
    HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
    GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
  };
  const backend = execa(program, { env, reject: false, encoding: 'buffer' });
  request.pipe(backend.stdin);
  backend.then(({ stdout }) => {
    const whole = Buffer.from(stdout);
    const end = whole.indexOf('\r\n\r\n');
    for (const line of whole.toString('latin1', 0, end).split('\r\n')) {
      const [name = '', value = ''] = line.split(': ');
      if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.end(whole.subarray(end + 4));
  });
}
