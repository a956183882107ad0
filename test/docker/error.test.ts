import { expect, test } from 'vitest';
import { refusal } from '../../src/runners/docker/error.ts';
import { unreachableHint } from '../../src/verdict.ts';

/** As dockerode puts it. */
const said = (statusCode: number, reason: string, message: string) =>
  Object.assign(new Error(`(HTTP code ${statusCode}) ${reason} - ${message} `), {
    statusCode,
    reason,
    json: { message },
  });

test.each([
  [409, 'Container 1f is not running', 'the container web here has just ended', 'docker start web'],
  [409, 'Container 1f is paused, unpause the container', 'is paused', 'docker unpause web'],
  [409, 'Container 1f is restarting, wait until', 'has just ended', 'docker logs web'],
  [404, 'No such container: 1f', 'has just ended', 'docker logs web'],
  [500, 'no space left on device', 'the Docker engine here: no space left', 'docker exec web true'],
])('an engine answers %i %s', (status, text, message, hint) => {
  expect(refusal('here', 'web', said(status, 'container stopped/paused', text))).toMatchObject({
    code: 'unreachable',
    message: expect.stringContaining(message),
    hint: expect.stringContaining(hint),
  });
});

test('a container that ends in the moment before a process starts is no lack of Python', () => {
  const text =
    'exit code 126\nOCI runtime exec failed: exec failed: cannot exec in a stopped container';
  expect(unreachableHint(text)).toContain('docker logs');
});
