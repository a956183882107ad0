import { stripVTControlCharacters } from 'node:util';
import { widthOf } from './width.ts';

/** A terminal to write to; without columns or rows it has 80 and 24. */
export interface Terminal {
  write(text: string): unknown;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  /** It is behind with what it was given: slow, or stopped with Ctrl-S. */
  readonly writableNeedDrain?: boolean | undefined;
}

/**
 * The last lines on the screen, which change in place; all above them stays. The cursor rests on the line below, at its
 * start, and is never hidden: so whatever ends us, what is said next stands on a line of its own.
 */
export class LiveRegion {
  readonly #terminal: Terminal;
  #drawn: readonly string[] = [];
  #drawnColumns = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  get columns(): number {
    return this.#terminal.columns || 80;
  }

  /** How many lines it can hold: what has left the screen at its top could not be reached again. */
  get room(): number {
    return Math.max(1, (this.#terminal.rows || 24) - 2);
  }

  /**
   * Writes `above` (whole lines) over the region, and the region anew below it; what is the same is not written again.
   * Each of `lines` is narrower than the terminal.
   */
  draw(above: string, lines: readonly string[]): void {
    const inPlace =
      above === '' && lines.length === this.#drawn.length && this.columns === this.#drawnColumns;
    const text = inPlace ? this.#changes(lines) : this.#anew(above, lines);
    this.#drawn = lines;
    this.#drawnColumns = this.columns;
    if (text !== '') this.#terminal.write(text);
  }

  /** Leaves the region where it is and draws the next one below: others have written meanwhile. */
  forget(): void {
    this.#drawn = [];
  }

  #changes(lines: readonly string[]): string {
    return lines
      .map((line, index) => {
        const up = lines.length - index;
        return line === this.#drawn[index] ? '' : `\r\x1b[${up}A${unwrapped(line)}\r\x1b[${up}B`;
      })
      .join('');
  }

  #anew(above: string, lines: readonly string[]): string {
    if (above === '' && lines.length === 0 && this.#drawn.length === 0) return '';
    const up = this.#rowsDrawn();
    const erased = `\r${up > 0 ? `\x1b[${up}A` : ''}\x1b[J`;
    return erased + above + lines.map((line) => `${unwrapped(line)}\n`).join('');
  }

  /** A terminal that was made narrower has broken the lines that no longer fit. */
  #rowsDrawn(): number {
    return this.#drawn.reduce((rows, line) => {
      const width = widthOf(stripVTControlCharacters(line));
      return rows + Math.max(1, Math.ceil(width / this.columns));
    }, 0);
  }
}

/** With automatic wrapping off, no line ever becomes two, however wide the terminal takes a character for. */
const unwrapped = (line: string): string => `\x1b[?7l${line}\x1b[K\x1b[?7h`;
