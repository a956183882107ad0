import xterm from '@xterm/headless';

/** A real terminal emulator without a window, which remembers every frame that it was given. */
export class Screen {
  /** What the screen showed after each write, with what has left it at the top, and the column of the cursor. */
  readonly frames: { readonly lines: readonly string[]; readonly column: number }[] = [];
  /** Titles that something gave to the window. */
  readonly titles: string[] = [];
  readonly #terminal: xterm.Terminal;
  #played: Promise<void> = Promise.resolve();

  /** `newlines`: a newline alone goes to the start of the next line, as behind a pty. */
  constructor(columns: number, rows: number, { newlines = true } = {}) {
    this.#terminal = new xterm.Terminal({
      cols: columns,
      rows,
      scrollback: 10_000,
      convertEol: newlines,
      allowProposedApi: true,
    });
    this.#terminal.onTitleChange((title) => this.titles.push(title));
  }

  get columns(): number {
    return this.#terminal.cols;
  }

  get rows(): number {
    return this.#terminal.rows;
  }

  write(data: string | Uint8Array): void {
    const written = new Promise<void>((resolve) => {
      this.#terminal.write(data, () => {
        this.frames.push({
          lines: this.#lines(),
          column: this.#terminal.buffer.active.cursorX,
        });
        resolve();
      });
    });
    this.#played = Promise.all([this.#played, written]).then(() => {});
  }

  /** After what was written before. */
  async resize(columns: number, rows: number): Promise<void> {
    await this.#played;
    this.#terminal.resize(columns, rows);
  }

  /** All lines, once everything is written that was given before; blank ones at the end are left out. */
  async lines(): Promise<readonly string[]> {
    await this.#played;
    return this.#lines();
  }

  /** The same, with the lines that the terminal broke put together again. */
  async paragraphs(): Promise<readonly string[]> {
    const { length } = await this.lines();
    const { active } = this.#terminal.buffer;
    const paragraphs: string[] = [];
    for (let row = 0; row < length; row++) {
      const line = active.getLine(row);
      const text = line?.translateToString() ?? '';
      paragraphs.push(line?.isWrapped ? `${paragraphs.pop()}${text}` : text);
    }
    return paragraphs;
  }

  /** Where the cursor is: the column, and how many rows of the screen's content are above it. */
  async cursor(): Promise<{ readonly column: number; readonly row: number }> {
    await this.#played;
    const { cursorX, cursorY, baseY } = this.#terminal.buffer.active;
    return { column: cursorX, row: baseY + cursorY };
  }

  /** Whether a line that is too long goes on in the next one, as is usual. */
  get wraps(): boolean {
    return this.#terminal.modes.wraparoundMode;
  }

  #lines(): readonly string[] {
    const { active } = this.#terminal.buffer;
    const lines = Array.from({ length: active.length }, (_, index) =>
      (active.getLine(index)?.translateToString(true) ?? '').trimEnd(),
    );
    return lines.slice(0, lines.findLastIndex((line) => line !== '') + 1);
  }
}
