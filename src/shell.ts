let scriptOf: (text: string, parts?: readonly Part[]) => Script;

/** A program of `target/` and its words. */
export type Program = readonly [file: string, ...words: (string | Script)[]];

/** Shell text, or programs of ours side by side, for which the session needs neither a shell nor another Python. */
export type Part = string | readonly Program[];

/** POSIX shell text that is safe by construction: only the functions of this file make one, and quote every value. */
export class Script {
  /** What the shell runs. */
  readonly text: string;
  /** The same, taken apart: each part runs when the one before it has ended well. */
  readonly parts: readonly Part[];

  private constructor(text: string, parts: readonly Part[]) {
    this.text = text;
    this.parts = parts;
  }

  static {
    scriptOf = (text, parts = [text]) => new Script(text, parts);
  }

  toString(): string {
    return this.text;
  }
}

/** What a script may be made of: a word, a number, several words, or another script. */
export type Value = string | number | Script | readonly (string | number)[];

/**
 * Writes shell. Strings are single-quoted, lists become one quoted word each, scripts go in as they are (on a line of
 * their own, or in braces). The template loses its common indentation; the shell's own `${x}` is written `\${x}`,
 * and every other backslash is the shell's: `\0` in the template is `\0` in the script.
 *
 * Throws a TypeError where a value could not stay one literal word: in quotes, comments, here-documents, backticks,
 * `${…}` or `$((…))`; for anything that is no `Value`; and for a template whose quotes or brackets stay open.
 */
export function sh(template: TemplateStringsArray, ...values: readonly Value[]): Script {
  const literals = dedented(template.raw.map(withoutEscapes));
  let text = '';
  let outline = '';
  for (const [index, literal] of literals.entries()) {
    text += literal;
    outline += literal;
    if (index === values.length) break;
    const value = values[index];
    refuseUnlessBare(outline);
    if (value instanceof Script) refuseTail(value, literals[index + 1] as string);
    text += written(value);
    outline += 'x';
  }
  refuseOpenEnd(outline);
  return scriptOf(text);
}

/** Joins scripts, one below the other. */
export function lines(...scripts: readonly Script[]): Script {
  return scriptOf(scripts.map((script) => script.text).join('\n'));
}

/** The release that a step is about, as a word of a script or a program. */
export const RELEASE = scriptOf('"$RELEASE"');

/** Runs a program of `target/`, by the function of that name in `prelude.ts`. */
export function program(
  file: string,
  ...words: readonly (string | number | typeof RELEASE)[]
): Script {
  const exact = words.map((each) => (each instanceof Script ? each : String(each)));
  return scriptOf(['program', file, ...exact.map(written)].join(' '), [[[file, ...exact]]]);
}

/** Runs scripts side by side, all to their ends; fails if one has failed. */
export function together(...scripts: readonly Script[]): Script {
  const started = scripts.map(({ text }) => `${text} & pids="$pids $!"`);
  const wait = 'for pid in $pids; do wait "$pid" || status=1; done';
  const text = ['pids= status=0', ...started, wait, '[ "$status" -eq 0 ]'].join('\n');
  const programs = scripts.flatMap(({ parts: [part, ...more] }) =>
    typeof part === 'object' && more.length === 0 ? part : [],
  );
  return scriptOf(text, programs.length === scripts.length ? [programs] : [text]);
}

/** Joins scripts that need not share a shell: none may count on what one before it has set. */
export function inTurn(...scripts: readonly Script[]): Script {
  return scriptOf(
    lines(...scripts).text,
    scripts.flatMap(({ parts }) => parts),
  );
}

/** A script that ends only itself when it exits, and not what is joined to it. */
export const enclosed = ({ text, parts }: Script): Script => scriptOf(`( ${text}\n)`, parts);

/** One shell word that means exactly `value`. Throws a TypeError for what no shell word can hold (NUL, a lone surrogate). */
export function quote(value: string): string {
  if (value.includes('\0')) throw new TypeError('sh: a shell word cannot hold a NUL character');
  if (/\p{Surrogate}/u.test(value))
    throw new TypeError('sh: a shell word cannot hold a lone surrogate');
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

function written(value: unknown): string {
  if (value instanceof Script) return value.text;
  if (Array.isArray(value)) return value.map(word).join(' ');
  return word(value);
}

function word(value: unknown): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  throw new TypeError(`sh: ${kindOf(value)} is no shell word`);
}

function kindOf(value: unknown): string {
  return value instanceof Object ? value.constructor.name : String(value);
}

/** A template's raw text without the backslashes that only JavaScript needs. */
function withoutEscapes(raw: string): string {
  return raw.replaceAll('\\${', '${').replaceAll('\\`', '`');
}

function dedented(literals: readonly string[]): readonly string[] {
  const indents = [...literals.join('x').matchAll(/\n([ \t]*)(?=\S)/g)].map(
    ([, indent = '']) => indent.length,
  );
  const margin = new RegExp(`\\n[ \\t]{0,${indents.length > 0 ? Math.min(...indents) : 0}}`, 'g');
  const last = literals.length - 1;
  return literals
    .map((literal) => literal.replace(margin, '\n'))
    .map((literal, index) => (index === 0 ? literal.replace(/^\s*\n/, '') : literal))
    .map((literal, index) => (index === last ? literal.trimEnd() : literal));
}

function refuseUnlessBare(outline: string): void {
  const place = innermost(outline);
  if (!BARE.has(place)) throw new TypeError(`sh: a value stands inside ${place}; write it bare`);
  if (/(?<!\\)(?:\\\\)*\$$/.test(outline)) {
    throw new TypeError("sh: a value follows a bare $, so the shell would read $'…'");
  }
}

/** What follows a script on its last line would become part of its comment or here-document. */
function refuseTail(script: Script, next: string): void {
  const place = innermost(script.text);
  if (TO_THE_END.has(place) && next !== '' && !next.startsWith('\n')) {
    throw new TypeError(`sh: a script that ends in ${place} needs a line of its own`);
  }
}

function refuseOpenEnd(outline: string): void {
  const place = innermost(outline);
  if (place !== '' && !TO_THE_END.has(place)) throw new TypeError(`sh: ${place} is not closed`);
}

interface Place {
  readonly closes?: string;
  /** The longer before the shorter. */
  readonly opens: readonly string[];
  /** Whether a backslash takes its meaning from the character after it. */
  readonly escapes: boolean;
}

const EXPANSIONS = ['$((', '$(', '${', '`'];
const WORDS = [...EXPANSIONS, "'", '"'];
const COMMANDS = [...WORDS, '(', '#', '<<'];

/** The places of shell text by what opens them; '' is the outermost. A here-document is taken to go on to the end. */
const PLACES: Readonly<Record<string, Place>> = {
  '': { opens: COMMANDS, escapes: true },
  '(': { closes: ')', opens: COMMANDS, escapes: true },
  '$(': { closes: ')', opens: COMMANDS, escapes: true },
  '$((': { closes: '))', opens: [...EXPANSIONS, '('], escapes: true },
  '${': { closes: '}', opens: WORDS, escapes: true },
  '"': { closes: '"', opens: EXPANSIONS, escapes: true },
  "'": { closes: "'", opens: [], escapes: false },
  '`': { closes: '`', opens: [], escapes: true },
  '#': { closes: '\n', opens: [], escapes: false },
  '<<': { opens: [], escapes: false },
};
const BARE: ReadonlySet<string> = new Set(['', '(', '$(']);
const TO_THE_END: ReadonlySet<string> = new Set(['#', '<<']);

/** The innermost place that is still open where `text` ends. */
function innermost(text: string): string {
  const open = [''];
  for (let at = 0; at < text.length; ) {
    const { closes, opens, escapes } = PLACES[open.at(-1) as string] as Place;
    const closing = closes !== undefined && text.startsWith(closes, at) ? closes : undefined;
    const token = closing ?? opens.find((each) => opensAt(each, text, at));
    if (closing) open.pop();
    else if (token) open.push(token);
    at += token?.length ?? (escapes && text[at] === '\\' ? 2 : 1);
  }
  return open.at(-1) as string;
}

/** A `#` begins a comment only where a word may begin. */
function opensAt(token: string, text: string, at: number): boolean {
  return text.startsWith(token, at) && (token !== '#' || /^$|[\s;&|()]/.test(text[at - 1] ?? ''));
}
