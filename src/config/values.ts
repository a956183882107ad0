import * as z from 'zod';
import { type Check, command as commandText } from './formats.ts';

/** Text that a check accepts. */
export const text = (wrong: Check) =>
  z.string().superRefine((value, context) => {
    const message = wrong(value);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

/** Text that looks like a number in YAML and is taken as it is written: `1.10` is no 1.1. */
export const asWritten = (wrong: Check) =>
  z.union([z.string(), z.number()], { error: 'must be text' }).transform(String).pipe(text(wrong));

/** One value or a list of them; always a list in the end. */
export const oneOrMore = <Value extends z.ZodType>(value: Value, what: string) =>
  z
    .union([value, z.array(value).min(1)], { error: `must be ${what} or a list of them` })
    .transform((given) => (Array.isArray(given) ? given : [given]) as z.output<Value>[]);

/** Shell text, by intent. */
export const command = text(commandText);

/** A map in which each of these keys may be given, and no other. */
export function mapOf<Key extends string, Value extends z.ZodType>(
  keys: readonly Key[],
  value: Value,
) {
  const shape = Object.fromEntries(keys.map((key) => [key, z.exactOptional(value)]));
  return z.strictObject(shape as Record<Key, z.ZodExactOptional<Value>>);
}
