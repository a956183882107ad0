import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';

/** A cable that can be pulled: between a client and a port of this machine. */
export interface Cable extends AsyncDisposable {
  readonly port: number;
  /** Until it is mended nothing gets through, in either direction, and nobody is told. */
  silence(): void;
  /** What connects from now on gets through; who was silenced stays so. */
  mend(): void;
  /** Both ends see an orderly end. */
  cut(): void;
  /** Both ends see a reset. */
  reset(): void;
}

/** `delay`: milliseconds that each direction takes. */
export async function cableTo(port: number, { delay = 0 } = {}): Promise<Cable> {
  const sockets = new Set<Socket>();
  const silenced = new Set<Socket>();
  let silent = false;
  const pass = (from: Socket, to: Socket) => {
    sockets.add(from);
    if (silent) silenced.add(from);
    const later = (work: () => void) => (delay === 0 ? work() : void setTimeout(work, delay));
    from.setNoDelay(true);
    from.on('error', () => {});
    from.on('data', (data) =>
      later(() => void (!silenced.has(from) && to.writable && to.write(data))),
    );
    from.on('close', () => {
      sockets.delete(from);
      later(() => void (!silenced.has(from) && to.destroy()));
    });
  };
  const server = createServer((client) => {
    const host = dial(port, '127.0.0.1');
    pass(client, host);
    pass(host, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    silence: () => {
      silent = true;
      for (const socket of sockets) silenced.add(socket);
    },
    mend: () => {
      silent = false;
    },
    cut,
    reset: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    [Symbol.asyncDispose]: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
