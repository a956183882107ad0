import { DeployError } from '../../errors.ts';
import { suggestion } from '../../nearest.ts';

/** Where a container was looked for, for people: `here`, `on web1`. */
type Where = string;

interface State {
  readonly Status: string;
  readonly Paused: boolean;
  readonly Restarting: boolean;
  readonly ExitCode: number;
}

/** A container that is there and takes no process. */
export function notRunning(where: Where, container: string, state: State): DeployError {
  const [how, hint] = state.Restarting
    ? ['ends and is restarted again and again', `see why: docker logs ${container}`]
    : state.Paused
      ? ['is paused', `docker unpause ${container}`]
      : state.Status === 'created'
        ? ['was never started', `docker start ${container}`]
        : [`is not running (${state.Status}, exit code ${state.ExitCode})`, started(container)];
  return new DeployError('unreachable', `the container ${container} ${where} ${how}`, { hint });
}

const started = (container: string) =>
  `start it: docker start ${container}; why it ended: docker logs ${container}`;

/** `running`: the names that are there. */
export function noContainer(
  where: Where,
  container: string,
  running: readonly string[],
): DeployError {
  const meant = suggestion(container, running);
  const those = running.length === 0 ? 'none' : running.join(', ');
  return new DeployError('unreachable', `there is no container ${container} ${where}${meant}`, {
    hint: `correct docker_container (running: ${those}), or start it; docker ps --all lists all`,
  });
}

/** What else an engine may say, in its own words: those that dockerode puts before them tell too much or too little. */
export function refusal(where: Where, container: string, said: unknown): DeployError {
  const { statusCode, json, message } = (typeof said === 'object' ? said : {}) as Said;
  const text = (json?.message ?? message ?? String(said)).trim();
  if (statusCode === 409 && /paused/i.test(text))
    return new DeployError('unreachable', `the container ${container} ${where} is paused`, {
      hint: `docker unpause ${container}`,
    });
  if (statusCode === 409 || (statusCode === 404 && /no such (container|exec)/i.test(text)))
    return new DeployError('unreachable', `the container ${container} ${where} has just ended`, {
      hint: started(container),
    });
  return new DeployError('unreachable', `the Docker engine ${where}: ${text}`, {
    hint: `see what this says: docker exec ${container} true`,
    cause: said,
  });
}

interface Said {
  readonly statusCode?: number;
  readonly json?: { readonly message?: string };
  readonly message?: string;
}
