import { expect, test } from 'vitest';
import type { Failure } from '../../src/events.ts';
import { linesLog } from '../../src/reporters/lines.ts';

const told = (code: number): string => {
  let text = '';
  const failure: Failure = {
    code,
    error: undefined,
    message: undefined,
    hint: undefined,
    problems: [],
    lastLines: [],
  };
  const write = (more: string) => {
    text += more;
  };
  const options = { write, verbose: false, quiet: false, color: false, prefix: false };
  linesLog(options).report({ site: 'x', type: 'failed', step: 'static', seconds: 1, failure });
  return text;
};

test('a step that was stopped is not told as one that failed', () => {
  expect(told(130)).toMatch(/^ {2}static +1\.0 s {2}stopped\n$/);
  expect(told(1)).toMatch(/^ {2}static +1\.0 s {2}FAILED\n$/);
});
