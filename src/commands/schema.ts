import { jsonSchema } from '../config/schema.ts';
import type { Context } from './context.ts';

/** Prints the JSON Schema of sites.yml, on one line with `--json`. Resolves to the exit code. */
export async function printSchema({
  io,
  globals,
}: Pick<Context, 'io' | 'globals'>): Promise<number> {
  io.stdout.write(`${JSON.stringify(jsonSchema(), null, globals.json ? 0 : 2)}\n`);
  return 0;
}
