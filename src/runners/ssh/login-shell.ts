/**
 * A command line that every login shell reads as these words: sh, bash, zsh, fish, csh. Throws a TypeError for a word
 * with `'`, `\`, `!` or a control character, which no quoting makes safe in all of them.
 */
export const loginShellCommand = (argv: readonly string[]): string =>
  `exec ${argv.map(quoted).join(' ')}`;

function quoted(word: string): string {
  if (/^[\w./:@%+,-]+$/.test(word)) return word;
  if (/['\\!\p{Cc}]/u.test(word)) throw new TypeError(`not safe in every login shell: ${word}`);
  return `'${word}'`;
}
