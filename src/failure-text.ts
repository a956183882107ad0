import type { Failure } from './events.ts';

/** A failure's reason as the end of a sentence: `: 2 problems`; empty where nothing is known. */
export function reasonOf(failure: Failure | undefined): string {
  if (failure === undefined) return '';
  if (failure.code === 124) return ': out of time'; // what it said while it was ended is no cause
  if (failure.message !== undefined) return `: ${failure.message}`;
  const count = failure.problems.length;
  if (count > 0) return `: ${count} problem${count === 1 ? '' : 's'}`;
  return failure.code > 128
    ? `: ended by signal ${failure.code - 128}`
    : `: exit code ${failure.code}`;
}

/** What a person needs to see of a failure: what `check` found, else the last lines of output; then what to do. */
export function failureLines(failure: Failure | undefined): readonly string[] {
  if (failure === undefined) return [];
  return [
    ...failure.problems.flatMap((problem) =>
      problem.split('\n').map((line, index) => (index === 0 ? `- ${line}` : `  ${line}`)),
    ),
    ...(failure.problems.length > 0 ? [] : failure.lastLines.map((line) => `  | ${line}`)),
    ...(failure.hint === undefined ? [] : [`to do: ${failure.hint}`]),
  ];
}
