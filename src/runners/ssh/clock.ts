/** Runs out after some seconds without a sign of life; stands still while a person is asked. */
export class Clock {
  /** Resolves to an Error when it has run out. */
  readonly expired: Promise<Error>;
  readonly #seconds: number;
  #expire: (error: Error) => void = () => {};
  #timer: NodeJS.Timeout | undefined;

  constructor(seconds: number) {
    this.#seconds = seconds;
    this.expired = new Promise((resolve) => {
      this.#expire = resolve;
    });
    this.restart();
  }

  restart(): void {
    this.stop();
    const late = () => this.#expire(new Error(`no answer for ${this.#seconds} s`));
    this.#timer = setTimeout(late, this.#seconds * 1000);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async held<T>(work: () => Promise<T>): Promise<T> {
    this.stop();
    try {
      return await work();
    } finally {
      this.restart();
    }
  }
}
