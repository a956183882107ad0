/** One message of the session: kind (1 byte), length (4 bytes, big endian), payload. */
export function encodeFrame(kind: string, payload: string | Uint8Array): Buffer {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(5);
  head[0] = kind.charCodeAt(0);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

export interface Frame {
  readonly kind: string;
  /** The payload, parted at its NULs. */
  readonly words: readonly string[];
}

export interface RawFrame {
  readonly kind: string;
  readonly payload: Buffer;
}

/** Cuts a stream of bytes into frames. What comes before the greeting is noise of a login shell. */
export class FrameReader {
  #greeting: Buffer;
  #chunks: Buffer[] = [];
  #length = 0;
  greeted = false;

  constructor(greeting: Buffer) {
    this.#greeting = greeting;
  }

  /** What came instead of the greeting, its last 2,000 characters. */
  get noise(): string {
    return this.greeted ? '' : Buffer.concat(this.#chunks).toString().slice(-2000);
  }

  *read(data: Buffer): Generator<Frame> {
    for (const { kind, payload } of this.readRaw(data))
      yield { kind, words: payload.toString().split('\0') };
  }

  /** The same, for payloads that are no words. */
  *readRaw(data: Buffer): Generator<RawFrame> {
    this.#chunks.push(data);
    this.#length += data.length;
    if (!this.greeted && !this.#greet()) return;
    for (let frame = this.#next(); frame; frame = this.#next()) yield frame;
  }

  #greet(): boolean {
    const all = this.#joined();
    const at = all.indexOf(this.#greeting);
    if (at < 0) return false;
    this.greeted = true;
    this.#keep(all.subarray(at + this.#greeting.length));
    return true;
  }

  #next(): RawFrame | undefined {
    if (this.#length < 5) return undefined;
    const first = this.#chunks[0] as Buffer;
    const head = first.length >= 5 ? first : this.#joined();
    const end = 5 + head.readUInt32BE(1);
    if (this.#length < end) return undefined;
    const all = this.#joined();
    this.#keep(all.subarray(end));
    return { kind: String.fromCharCode(all[0] as number), payload: all.subarray(5, end) };
  }

  #joined(): Buffer {
    const all =
      this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  #keep(rest: Buffer): void {
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#length = rest.length;
  }
}
