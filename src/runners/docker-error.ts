import { DeployError } from '../errors.ts';
import { suggestion } from '../nearest.ts';

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
  return new DeployError('unreachable', `there is no container ${container} ${where}${meant}`, {
    hint: 'docker ps --all lists them: correct docker_container, or start it',
  });
}

/** What else an engine may say. */
export function refusal(where: Where, container: string, said: unknown): DeployError {
  const text = (said instanceof Error ? said.message : String(said)).trim();
  const code = (said as { statusCode?: number }).statusCode;
  if (code === 409 && /paused/i.test(text))
    return new DeployError('unreachable', `the container ${container} ${where} is paused`, {
      hint: `docker unpause ${container}`,
    });
  if (code === 409 || (code === 404 && /container/i.test(text)))
    return new DeployError('unreachable', `the container ${container} ${where} has just ended`, {
      hint: started(container),
    });
  return new DeployError('unreachable', `the Docker engine ${where}: ${text}`, {
    hint: `see what this says: docker exec ${container} true`,
    cause: said,
  });
}
