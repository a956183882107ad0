import { userName } from './formats.ts';

/** Where SSH connects to; what is undefined comes from `~/.ssh/config`. */
export interface Address {
  /** A host name, an alias, or an IP address without brackets. */
  readonly host: string;
  readonly user: string | undefined;
  readonly port: number | undefined;
}

const HOST_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const IPV6 = /^(?=.*:.*:)[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?$/;

/** Takes `[USER@]HOST[:PORT]` apart, an IPv6 address with or without brackets; or says what is wrong with it. */
export function readAddress(text: string): Address | string {
  const at = text.lastIndexOf('@');
  const user = at < 0 ? undefined : text.slice(0, at);
  const rest = text.slice(at + 1);
  const [, bracketed, named, digits] = /^(?:\[([^\]]*)\]|([^:]*))(?::(.*))?$/s.exec(rest) ?? [];
  const host = bracketed ?? named ?? rest;
  const port = digits === undefined || IPV6.test(rest) ? undefined : readPort(digits);

  if (user !== undefined && userName(user) !== undefined) return `${shown(user)} is no user`;
  if (IPV6.test(rest)) return { host: rest, user, port: undefined };
  if (bracketed !== undefined ? !IPV6.test(host) : !HOST_NAME.test(host)) {
    return `${shown(host)} is no host: use HOST, USER@HOST:PORT, or [IPV6]:PORT`;
  }
  if (typeof port === 'string') return port;
  return { host, user, port };
}

/** The number of a port, or what is wrong with it. */
export function readPort(text: string): number | string {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535
    ? port
    : `${shown(text)} is no port: use a number from 1 to 65535`;
}

const shown = (text: string): string => JSON.stringify(text);

/** `deploy@web1:2222`, as far as it is given. */
export const addressText = ({ host, user, port }: Address): string =>
  `${user ? `${user}@` : ''}${host}${port ? `:${port}` : ''}`;
