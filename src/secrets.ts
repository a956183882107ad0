/** Names of environment variables whose values are secrets; `load_environment` of the prelude knows the same. */
export const SECRET_NAME =
  /PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|PRIVATE|DSN|(^|_)(PASS|PWD|PW|AUTH)$|KEYS?$/i;

/** Shorter values are not looked for: they would blank out half of the log. Inside a URL they are masked all the same. */
const MIN_LENGTH = 6;

const USERINFO = /([a-z][a-z0-9+.-]*):\/\/([^\s/?#]*)@/gi;

interface Secretive {
  readonly repository: string;
  readonly env: Readonly<Record<string, string>>;
}

/**
 * What must never be shown of a site, in every form it may turn up in (decoded, quoted for the shell, escaped in JSON;
 * a value of several lines line by line), without duplicates: credentials of the repository's URL, values of `env`
 * whose names say so, credentials of URLs in `env`.
 */
export function secretsOf(site: Secretive): readonly string[] {
  const named = Object.entries(site.env).filter(([name]) => SECRET_NAME.test(name));
  const secrets = [
    ...named.flatMap(([, value]) => value.split(/[\r\n]+/)),
    ...[site.repository, ...Object.values(site.env)].flatMap(credentialsIn),
  ];
  const long = secrets
    .map((secret) => secret.trim())
    .filter((secret) => secret.length >= MIN_LENGTH);
  return [...new Set(long.flatMap(forms))];
}

/** The text with `***` for every secret, and for the credentials of every URL, known or not. */
export function mask(text: string, secrets: readonly string[]): string {
  const longestFirst = [...secrets].sort((a, b) => b.length - a.length);
  return longestFirst
    .reduce((masked, secret) => masked.replaceAll(secret, '***'), text)
    .replace(USERINFO, (whole, scheme: string, userinfo: string) =>
      userinfo.includes(':') || isHttp(scheme) ? `${scheme}://***@` : whole,
    );
}

/** A repository's URL as it may stand in argv and files, and what was taken out of it, percent-decoded. */
export interface BareUrl {
  readonly url: string;
  readonly user: string | undefined;
  readonly password: string | undefined;
}

/** Takes user and password out of an `http(s)` URL. Any other is returned as it is: the user of `git@host` is no secret. */
export function withoutCredentials(url: string): BareUrl {
  const [, scheme, userinfo, rest] = /^(https?:\/\/)([^/?#]*)@(.*)$/is.exec(url) ?? [];
  if (scheme === undefined || userinfo === undefined)
    return { url, user: undefined, password: undefined };
  const { user, password } = parted(userinfo);
  return {
    url: `${scheme}${rest}`,
    user: user === '' ? undefined : decoded(user),
    password: password === undefined ? undefined : decoded(password),
  };
}

/** The text with control characters and those that turn the direction of writing spelt out: `\x1b`. Newline and tab stay. */
export function visible(text: string): string {
  return text.replace(/(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    const code = character.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, '0')}`;
  });
}

function credentialsIn(text: string): readonly string[] {
  return [...text.matchAll(USERINFO)].flatMap(([, scheme = '', userinfo = '']) => {
    const { user, password } = parted(userinfo);
    const secrets = isHttp(scheme) && isPlaceholder(password) ? [user] : [password ?? ''];
    return secrets.flatMap((secret) => [secret, decoded(secret)]);
  });
}

/** `https://TOKEN@…`, `https://TOKEN:x@…` and `https://TOKEN:x-oauth-basic@…`: the user is the secret. */
function isPlaceholder(password = ''): boolean {
  return password.length < MIN_LENGTH || /^x-oauth/.test(password);
}

const isHttp = (scheme: string): boolean => /^https?$/i.test(scheme);

function parted(userinfo: string): { user: string; password: string | undefined } {
  const colon = userinfo.indexOf(':');
  if (colon < 0) return { user: userinfo, password: undefined };
  return { user: userinfo.slice(0, colon), password: userinfo.slice(colon + 1) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function forms(secret: string): readonly string[] {
  return [secret, secret.replaceAll("'", `'\\''`), JSON.stringify(secret).slice(1, -1)];
}
