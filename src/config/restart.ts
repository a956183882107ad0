import * as z from 'zod';
import { suggestion } from '../nearest.ts';
import { absolutePath, programName, unitName } from './formats.ts';
import type { Restart } from './site.ts';
import { command, text } from './values.ts';

const WORDS = ['auto', 'none', 'gunicorn'] as const;
const MAPS =
  '{gunicorn: PATH}, {systemd: UNIT}, {supervisor: PROGRAM}, {touch: FILE} or {command: …}';
const HINT = `use ${WORDS.join(', ')}, ${MAPS}, or a list of these`;

const word = z
  .enum(WORDS, {
    error: ({ input }) =>
      `there is no restart ${JSON.stringify(input)}${suggestion(String(input), WORDS)}; ${HINT}`,
  })
  .transform((kind): Restart => (kind === 'gunicorn' ? { kind, path: undefined } : { kind }));

const map = z
  .strictObject({
    gunicorn: text(absolutePath).optional().describe('pid file or Unix socket'),
    systemd: text(unitName).optional().describe('unit'),
    supervisor: text(programName).optional().describe('program'),
    touch: text(absolutePath).optional().describe('file that uWSGI watches'),
    command: command.optional().describe('shell command'),
  })
  .transform((given, context): Restart => {
    if (context.issues.length > 0) return z.NEVER;
    const { gunicorn, systemd, supervisor, touch } = given;
    if (Object.values(given).filter((value) => value !== undefined).length !== 1) {
      context.addIssue({ code: 'custom', message: `must hold exactly one key: ${MAPS}` });
      return z.NEVER;
    }
    if (gunicorn !== undefined) return { kind: 'gunicorn', path: gunicorn };
    if (systemd !== undefined) return { kind: 'systemd', unit: systemd };
    if (supervisor !== undefined) return { kind: 'supervisor', program: supervisor };
    if (touch !== undefined) return { kind: 'touch', file: touch };
    return { kind: 'command', command: given.command as string };
  });

const one = z.union([word, map], { error: HINT });

/** The key `restart`: a word, a map of one key, or a list of these. */
export const restart = z
  .union([word, map, z.array(one).min(1)], { error: HINT })
  .transform((given): readonly Restart[] => (Array.isArray(given) ? given : [given]))
  .refine((kinds) => kinds.length === 1 || kinds.every(({ kind }) => kind !== 'none'), {
    error: 'none stands alone, not in a list with others',
  });

export const RESTART_KEYS = ['gunicorn', 'systemd', 'supervisor', 'touch', 'command'] as const;
