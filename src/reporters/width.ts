/** Columns that the text takes on a terminal at most: no terminal needs more, some need fewer. Without control characters. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += columnsOf(character);
  return width;
}

/** The text if it fits into so many columns, else as much of its beginning as does, and the mark for what is missing. */
export function cut(text: string, columns: number, mark: string): string {
  if (widthOf(text) <= columns) return text;
  let kept = '';
  let room = columns - widthOf(mark);
  if (room < 0) return '';
  for (const character of text) {
    room -= columnsOf(character);
    if (room < 0) break;
    kept += character;
  }
  return kept + mark;
}

function columnsOf(character: string): number {
  if (character >= ' ' && character <= '~') return 1;
  if (TWO.test(character)) return 2;
  return NONE.test(character) ? 0 : 1;
}

/** East Asian wide characters, pictographs, and all beyond the first plane: many of those are wide, and a few are not. */
const TWO =
  /[\u1100-\u115f\u2329\u232a\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe1f\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{10000}-\u{10ffff}]|\p{Extended_Pictographic}/u;

/** Combining marks, but for the one that makes a character before it a picture, which may be wider. */
const NONE = /(?!\ufe0f)[\p{Mn}\p{Me}]/u;
