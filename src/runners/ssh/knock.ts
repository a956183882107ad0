import { connect, type Socket } from 'node:net';
import type { Way } from './connection.ts';
import type { Destination } from './destination.ts';

/** A connection that is being opened while the rest is made ready, ssh2 itself among it. Closed at the end if unused. */
export class Knock implements Disposable {
  #socket: Socket | undefined;
  #error: Error | undefined;

  constructor({ host, port }: Destination) {
    this.#socket = connect({ host, port });
    this.#socket.on('error', (error) => {
      this.#error = error;
    });
  }

  /** That connection, for the first who asks; later undefined. Rejects with what kept it from being opened. */
  readonly open: Way = async () => {
    const socket = this.#socket;
    this.#socket = undefined;
    if (this.#error) throw this.#error;
    return socket;
  };

  [Symbol.dispose](): void {
    this.#socket?.destroy();
  }
}
