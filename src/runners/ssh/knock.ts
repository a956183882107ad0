import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Way } from './connection.ts';
import type { Destination } from './destination.ts';

/** Milliseconds. Who has to type a passphrase first would find the host tired of waiting for a login. */
const FRESH = 5000;

/** A connection that is being opened while the rest is made ready, ssh2 itself among it. Closed at the end if unused. */
export class Knock implements Disposable {
  readonly #socket: Socket;
  readonly #begun = performance.now();
  #used = false;

  constructor({ host, port }: Destination) {
    this.#socket = connect({ host, port });
    this.#socket.on('error', () => {}); // ssh2 tries anew, and then says it better
  }

  /** That connection, for the first who asks while it is of use; else undefined. */
  readonly open: Way = async () => {
    const socket = this.#socket;
    const late = performance.now() - this.#begun > FRESH;
    if (this.#used || late || socket.destroyed || socket.readableEnded) return undefined;
    this.#used = true;
    return socket;
  };

  [Symbol.dispose](): void {
    if (!this.#used) this.#socket.destroy();
  }
}
