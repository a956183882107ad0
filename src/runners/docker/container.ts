import { Agent } from 'node:http';
import type { Duplex } from 'node:stream';
import Dockerode from 'dockerode';
import { DeployError } from '../../errors.ts';
import type { RemoteProcess } from '../runner.ts';
import type { Endpoint } from './endpoint.ts';
import { noContainer, notRunning, refusal } from './error.ts';
import { processOf } from './process.ts';

/** Where a process runs: `user` undefined is the container's own. */
export interface Place {
  readonly container: string;
  readonly user: string | undefined;
}

/** One Docker engine, for all the sites that live in its containers. */
export class DockerEngine implements AsyncDisposable {
  readonly #endpoint: Endpoint;
  readonly #cancel: AbortSignal;
  readonly #agent: Agent;
  readonly #docker: Dockerode;

  /** `cancel`: its abort ends an attempt to start a process, and no process. */
  constructor(endpoint: Endpoint, cancel: AbortSignal) {
    this.#endpoint = endpoint;
    this.#cancel = cancel;
    this.#agent = agentOf(endpoint, cancel);
    const options: Dockerode.DockerOptions & { readonly agent: Agent } = {
      ...NOT_FROM_THE_ENVIRONMENT,
      agent: this.#agent,
    };
    const { DOCKER_HOST } = process.env;
    delete process.env.DOCKER_HOST; // it would read files that are no matter of this engine, whatever we say
    try {
      this.#docker = new Dockerode(options);
    } finally {
      if (DOCKER_HOST !== undefined) process.env.DOCKER_HOST = DOCKER_HOST;
    }
  }

  /** Starts a process in a running container. Throws a DeployError where the engine does not let us. */
  async start(place: Place, argv: readonly string[]): Promise<RemoteProcess> {
    const attempt = new AbortController();
    const give = () => attempt.abort();
    const tooLong = setTimeout(give, PATIENCE * 1000);
    this.#cancel.addEventListener('abort', give);
    try {
      if (this.#cancel.aborted) give();
      return await this.#start(place, argv, attempt.signal);
    } catch (error) {
      if (this.#cancel.aborted) throw new DeployError('interrupted', 'not begun: interrupted');
      if (error instanceof DeployError) throw error;
      const said = attempt.signal.aborted ? `no answer within ${PATIENCE} s` : error;
      throw refusal(this.#endpoint.where, place.container, said);
    } finally {
      clearTimeout(tooLong);
      this.#cancel.removeEventListener('abort', give);
    }
  }

  async #start(place: Place, argv: readonly string[], abortSignal: AbortSignal) {
    const { Id, Config } = await this.#running(place, abortSignal);
    const exec = await this.#docker.getContainer(Id).exec({
      Cmd: [...argv],
      Env: environment(Config, place),
      WorkingDir: '/',
      ...(place.user !== undefined && { User: place.user }),
      ...{ AttachStdin: true, AttachStdout: true, AttachStderr: true, Tty: false },
      abortSignal,
    });
    const stream = await exec.start({ hijack: true, stdin: true, Tty: false, abortSignal });
    return processOf(stream, () => exec.inspect());
  }

  /** By its id from here on: a container that is made anew under the same name is another one. */
  async #running(
    { container }: Place,
    abortSignal: AbortSignal,
  ): Promise<Dockerode.ContainerInspectInfo> {
    const { where } = this.#endpoint;
    try {
      const found = await this.#docker.getContainer(container).inspect({ abortSignal });
      const { Running, Paused, Restarting } = found.State;
      if (Running && !Paused && !Restarting) return found;
      throw notRunning(where, container, found.State);
    } catch (error) {
      if ((error as { statusCode?: number }).statusCode !== 404) throw error;
      const all = await this.#docker.listContainers({ abortSignal });
      const names = all.flatMap(({ Names }) => Names.map((name) => name.replace(/^\//, '')));
      throw noContainer(where, container, names);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
  }
}

/** Seconds that the engine may take to start a process. */
const PATIENCE = 30;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** A HOME of the image is that of its own user; without one the engine takes what the container's /etc/passwd says. */
function environment({ Env, User }: Dockerode.ContainerInspectInfo['Config'], { user }: Place) {
  const image = Env ?? [];
  const foreign = user !== undefined && user !== User && image.some((each) => /^HOME=/.test(each));
  return [
    image.find((each) => /^PATH=./.test(each)) ?? `PATH=${PATH}`,
    ...(foreign ? ['HOME'] : []), // a name alone takes a variable away
  ];
}

/** The agent opens the connections, whatever address is named here. Docker's variables are the endpoint's to read. */
const NOT_FROM_THE_ENVIRONMENT = {
  protocol: 'http',
  ...{ host: 'docker', port: 80, socketPath: undefined, timeout: undefined },
  ...{ ca: undefined, cert: undefined, key: undefined },
} as const;

function agentOf(endpoint: Endpoint, cancel: AbortSignal): Agent {
  const createConnection: CreateConnection = (_, created) => {
    endpoint.open(AbortSignal.any([cancel, AbortSignal.timeout(PATIENCE * 1000)])).then(
      (stream) => created(null, stream),
      (error) => created(error),
    );
  };
  return Object.assign(new Agent({ keepAlive: true }), { createConnection });
}

type CreateConnection = (
  options: object,
  created: (error: Error | null, stream?: Duplex) => void,
) => void;
