import type * as z from 'zod';
import { nearest, suggestion } from '../nearest.ts';
import { KEYS_BELOW } from './schema.ts';

/** Something wrong in a site: where (keys and list positions, from the site's own map on), and what. */
export interface Fault {
  readonly path: readonly string[];
  readonly message: string;
}

/** Says for people what zod says of the value of one key. */
export function faultsOf(key: string, schema: z.ZodType, value: unknown): readonly Fault[] {
  const { error } = schema.safeParse(value, { error: explain, reportInput: true });
  return error === undefined ? [] : error.issues.flatMap((issue) => faultsIn(issue, [key]));
}

/** A key that is not known where it stands. */
export function unknownKey(path: readonly string[], name: string, known: readonly string[]): Fault {
  const step = /^(before|after)_(un)?lock$/.test(name);
  const meant = nearest(name, known);
  const hint =
    step && path[0] === 'hooks'
      ? ': nothing hooks into lock and unlock'
      : meant === undefined
        ? `; known are ${known.slice(0, 40).join(', ')}`
        : suggestion(name, known);
  return { path: [...path, name], message: `unknown key${hint}` };
}

function faultsIn(issue: z.core.$ZodIssue, above: readonly string[]): readonly Fault[] {
  const path = [...above, ...issue.path.map(String)];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((name) => unknownKey(path, name, KEYS_BELOW[path[0] as string] ?? []));
    case 'invalid_key':
      return issue.issues.map(({ message }) => ({ path, message }));
    case 'invalid_union': {
      const branch = issue.errors.find((issues) => !issues.some(isOtherType));
      return branch === undefined
        ? [{ path, message: issue.message }]
        : branch.flatMap((each) => faultsIn(each, path));
    }
    default:
      return [{ path, message: issue.message }];
  }
}

/** The branch of a union is meant for another type than the one that was given. */
function isOtherType(issue: z.core.$ZodIssue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === 'invalid_value') return typeof issue.input !== 'string';
  return (
    issue.code === 'invalid_type' ||
    (issue.code === 'invalid_union' && issue.errors.every((e) => e.some(isOtherType)))
  );
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  record: 'a map',
  array: 'a list',
};

/** zod's findings in our words; what it leaves out is said by the schema itself. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  const { input } = issue;
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${TYPES[issue.expected] ?? issue.expected}, not ${described(input)}${
        issue.expected === 'string' && typeof input !== 'object' ? ': put it in quotes' : ''
      }`;
    case 'invalid_value':
      return `must be one of ${issue.values.join(', ')}, not ${described(input)}${suggestion(String(input), issue.values.map(String))}`;
    case 'too_small':
      return Array.isArray(input) ? 'is an empty list' : `must be ${issue.minimum} or more`;
    case 'too_big':
      return `must be ${issue.maximum} or less`;
    default:
      return undefined;
  }
}

function described(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
