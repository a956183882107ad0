import type { Site } from '../config/site.ts';
import { withoutCredentials } from '../secrets.ts';

/** A repository as Git may see it in arguments and logs, and the credentials that only its askpass program may. */
export interface Repository {
  readonly url: string;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly overSsh: boolean;
}

export function repositoryOf(site: Pick<Site, 'repository'>): Repository {
  const { url, user, password } = withoutCredentials(site.repository);
  const overSsh = url.startsWith('ssh://') || /^[^/:]+:(?!\/\/)/.test(url);
  return { url, user, password, overSsh };
}
