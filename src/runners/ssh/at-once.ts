import type { Client, ClientChannel, ExecOptions, ParsedKey } from 'ssh2';

/**
 * Two round trips that ssh2 waits for and OpenSSH's server does not ask for, saved through private parts of ssh2. Where
 * these are not as they were, or the host has another server, everything goes its usual way.
 */
interface Protocol {
  authPK(user: string, key: ParsedKey, algorithm?: string, sign?: Sign): void;
  exec(channel: number, command: Buffer | string, wantReply?: boolean): void;
  channelData(channel: number, data: Uint8Array): void;
}

type Sign = (data: Buffer, done: (signature: Buffer) => void) => void;

/** Shows a key together with its signature, instead of asking first whether it would do. Call it after `connect`. */
export function signAtOnce(client: Client, key: ParsedKey): void {
  const protocol = privateParts(client);
  if (protocol === undefined || key.type === 'ssh-rsa') return; // whose hash is agreed upon
  const { authPK } = protocol;
  protocol.authPK = (user, shown, algorithm, sign) => {
    const own =
      isOpenSsh(client) && // it has only now said what it is
      sign === undefined &&
      algorithm === undefined &&
      key.getPublicSSH().equals(shown.getPublicSSH());
    const signed: Sign = (data, done) => {
      const signature: Buffer | Error = key.sign(data);
      if (signature instanceof Error) authPK.call(protocol, user, shown, algorithm);
      else done(signature);
    };
    authPK.call(protocol, user, shown, algorithm, own ? signed : sign);
  };
}

/** A command that was asked for, and may not have been granted yet. */
export interface Asked {
  /** Rejects where it is refused. */
  readonly channel: Promise<ClientChannel>;
  /** Goes right behind the request while there is no answer yet. */
  write(data: Uint8Array): void;
}

/** Asks for a command. Resolves when it is asked for, rejects where no channel can be opened. */
export async function askFor(
  client: Client,
  command: string,
  options: ExecOptions,
): Promise<Asked> {
  const protocol = isOpenSsh(client) ? privateParts(client) : undefined;
  const request = Buffer.from(command); // ssh2 passes it on as it is, so that it can be told from another's
  const sent = protocol && sending(protocol, request);
  const channel = new Promise<ClientChannel>((resolve, reject) => {
    const words = protocol === undefined ? command : (request as unknown as string);
    client.exec(words, options, (error, opened) => (error ? reject(error) : resolve(opened)));
  });
  const first = await Promise.race([channel, ...(sent ? [sent] : [])]);
  if (protocol === undefined || typeof first !== 'number') {
    const opened = await channel;
    return { channel, write: (data) => void (opened.writable && opened.write(data)) };
  }
  return { channel: channel.then(), write: writerOf(protocol, first, channel) };
}

/** Bytes before the answer: OpenSSH lets 2 MiB come, and other servers of its kind less. */
const EARLY = 1 << 18;
const PIECE = 32_000; // the longest packet is 32 KiB

function writerOf(protocol: Protocol, id: number, channel: Promise<ClientChannel>): Asked['write'] {
  let early = 0;
  let opened: ClientChannel | undefined;
  const later: Uint8Array[] = [];
  const give = (data: Uint8Array) => void (opened?.writable && opened.write(data));
  channel.then(
    (granted) => {
      opened = granted;
      const { outgoing } = granted as { readonly outgoing?: { window: number } };
      if (outgoing) outgoing.window -= early;
      for (const data of later) give(data);
    },
    () => {},
  );
  return (data) => {
    if (opened !== undefined) return give(data);
    if (later.length > 0 || early + data.length > EARLY) return void later.push(data);
    early += data.length;
    for (let at = 0; at < data.length; at += PIECE)
      protocol.channelData(id, data.subarray(at, at + PIECE));
  };
}

const requests = new WeakMap<Protocol, Map<unknown, (channel: number) => void>>();

/** Resolves to the number of the channel on which a request was sent. */
function sending(protocol: Protocol, request: Buffer): Promise<number> {
  let waiting = requests.get(protocol);
  if (waiting === undefined) {
    const all = new Map<unknown, (channel: number) => void>();
    const { exec } = protocol;
    protocol.exec = (channel, command, wantReply) => {
      exec.call(protocol, channel, command, wantReply);
      all.get(command)?.(channel);
      all.delete(command);
    };
    requests.set(protocol, all);
    waiting = all;
  }
  const all = waiting;
  return new Promise((resolve) => all.set(request, resolve));
}

function privateParts(client: Client): Protocol | undefined {
  const { _protocol } = client as unknown as { readonly _protocol?: Partial<Protocol> };
  const names = ['authPK', 'exec', 'channelData'] as const;
  const known = names.every((name) => typeof _protocol?.[name] === 'function');
  return known ? (_protocol as Protocol) : undefined;
}

function isOpenSsh(client: Client): boolean {
  const { _remoteVer } = client as unknown as { readonly _remoteVer?: string };
  return _remoteVer?.startsWith('OpenSSH_') === true;
}
