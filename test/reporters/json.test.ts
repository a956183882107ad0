import { expect, test } from 'vitest';
import { jsonLines } from '../../src/reporters/json.ts';

test('every event and every result is one line of JSON with type, time and level', () => {
  const lines: string[] = [];
  const { report, say } = jsonLines((line) => lines.push(line));
  const site = 'www.example.com';
  report({ site, type: 'log', step: 'static', text: 'a "quoted"\nline ñ\x1b[0m' });
  report({ site, type: 'warned', step: undefined, message: 'careful' });
  say({ type: 'result', site, exit: 0 });
  expect(lines.every((line) => line.endsWith('\n') && !line.slice(0, -1).includes('\n'))).toBe(
    true,
  );
  const time = expect.stringMatching(/^\d{4}-\d{2}-\d{2}T[\d:.]+Z$/);
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { level: 'info', time, site, type: 'log', step: 'static', text: 'a "quoted"\nline ñ\x1b[0m' },
    { level: 'warn', time, site, type: 'warned', message: 'careful' },
    { level: 'info', time, site, type: 'result', exit: 0 },
  ]);
});
