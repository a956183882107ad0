import * as z from 'zod';
import { absolutePath, hostHeader, requestPath } from './formats.ts';
import type { HealthCheck } from './site.ts';
import { text } from './values.ts';

/** A health check of which the Host may still be open: it is the site's name then. */
export type OpenHealthCheck = Omit<HealthCheck, 'host'> & { readonly host: string | undefined };

const status = z
  .union([z.int().min(100).max(599), z.string()], {
    error: 'must be a status such as 200, or a range such as 200-399',
  })
  .transform((given, context): readonly [number, number] => {
    const [, low, high = low] = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(String(given)) ?? [];
    if (low === undefined || Number(low) > Number(high)) {
      context.addIssue('must be a status such as 200, or a range such as 200-399');
      return z.NEVER;
    }
    return [Number(low), Number(high)];
  });

const map = z.strictObject({
  path: text(requestPath).optional().describe('path to ask for'),
  url: z.string().optional().describe('where to ask, instead of the Gunicorn that is found'),
  socket: text(absolutePath).optional().describe('Unix socket to ask at'),
  host: text(hostHeader).optional().describe("Host header, else the site's name"),
  status: status.prefault('200-399').describe('good answers'),
  timeout: z.number().min(0.1).max(3600).default(5).describe('seconds for one request'),
  retries: z.int().min(0).max(10_000).default(10).describe('further tries after the first'),
  interval: z.number().min(0).max(3600).default(1).describe('seconds between two tries'),
});

export const HEALTH_CHECK_KEYS = Object.keys(map.shape);

/** The key `health_check`: a path, a URL, or a map. */
export const healthCheck = z
  .union([z.string(), map], { error: 'must be a path such as /health/, a URL, or a map' })
  .transform((given, context): OpenHealthCheck => {
    const wrong = (message: string, path: string[] = []) => {
      context.addIssue({ code: 'custom', message, path });
      return z.NEVER;
    };
    if (typeof given === 'string') {
      const check = given.startsWith('/') ? { path: given } : { url: given };
      const read = map.safeParse(check);
      return read.success
        ? (placed(read.data, wrong) ?? z.NEVER)
        : wrong(read.error.issues[0]?.message ?? '');
    }
    return placed(given, (message) => wrong(message, ['url'])) ?? z.NEVER;
  });

function placed(
  { url, path, host, ...check }: z.output<typeof map>,
  wrong: (message: string) => undefined,
): OpenHealthCheck | undefined {
  const rest = { ...check, host, socket: check.socket };
  if (url === undefined) return { ...rest, origin: undefined, path: path ?? '/' };
  if (check.socket !== undefined) return wrong('stands beside socket: give one of the two');
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^https?:\/\//i.test(url) || /[\s#]/.test(url)) {
    return wrong('must be a path such as /health/, or a URL such as http://127.0.0.1:8000/health/');
  }
  if (parsed.username !== '' || parsed.password !== '') {
    return wrong('must not hold a user or a password');
  }
  const own = `${parsed.pathname}${parsed.search}`;
  if (path !== undefined && own !== '/') return wrong('has a path already: give one of the two');
  return { ...rest, origin: parsed.origin, path: path ?? own };
}
