import { DeployError } from '../../errors.ts';
import type { Destination } from './destination.ts';
import type { Login } from './login.ts';

/** What a failed connection means to a person, and what to do about it. */
export async function connectError(
  to: Destination,
  error: Error & { code?: string; level?: string },
  login: Login,
): Promise<DeployError> {
  const said = error.message;
  if (error.level === 'client-authentication' || /authentication failures/i.test(said))
    return login.refusal(said);
  const [message, hint] = inWords(to, error);
  return new DeployError('unreachable', `${shownAddress(to)}: ${message}`, { hint, cause: error });
}

function inWords(
  to: Destination,
  { code, message }: Error & { code?: string },
): readonly [string, string] {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_NODATA':
      return [
        'no address is found for this name',
        `check host, or give ${to.name} a HostName in ~/.ssh/config`,
      ];
    case 'ECONNREFUSED':
      return ['the connection is refused', 'check the port, and that sshd runs there'];
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return [
        'the host cannot be reached',
        'check the network, a VPN, and the firewall of the host',
      ];
  }
  if (/^no answer/.test(message))
    return [message, 'check the host, the port, a VPN, and the firewall of the host'];
  if (/no matching|handshake/i.test(message) && !/before handshake/.test(message))
    return [message, 'the host and deployer have no algorithm in common: update sshd there'];
  return [
    message,
    'it may be too busy (MaxStartups), have blocked you for failed logins, or not be an SSH server: look at its log',
  ];
}

/** `web1` or `web1 (10.0.0.7:2222)`. */
const shownAddress = ({ name, host, port }: Destination): string =>
  name === host && port === 22 ? name : `${name} (${host}:${port})`;
