/** Rows of keys, as fingers run along them. */
const KEYBOARD = [
  "`1234567890-=",
  "qwertyuiop[]",
  "asdfghjkl;'",
  "zxcvbnm,./",
  "qwertzuiopü",
  "azertyuiop",
];
const ROWS = KEYBOARD.flatMap((row) => [row, Array.from(row).toReversed().join("")]);

/** From so many characters on, a repetition or a sequence is one and not chance. */
const LEAST_RUN = 3;

/**
 * What remains of a text when everything that follows from what stands before it is taken out: a character or a piece
 * repeated, a run along the alphabet, the digits or a row of keys. Of each run its first character stays. Case makes no
 * difference.
 *
 * The work grows with the square of the length, which is at most 256 code points.
 */
export function residueOf(text: string): string {
  const points = Array.from(text.toLowerCase());
  let residue = "";
  let at = 0;
  while (at < points.length) {
    const copied = copiedFrom(points, at);
    if (copied >= LEAST_RUN) {
      at += copied;
      continue;
    }
    residue += points[at];
    const run = Math.max(countedFrom(points, at), typedFrom(points, at));
    at += run >= LEAST_RUN ? run : 1;
  }
  return residue;
}

/** How many characters from here on have all stood before, one after the other. */
function copiedFrom(points: readonly string[], at: number): number {
  let longest = 0;
  for (let from = 0; from < at; from += 1) {
    let length = 0;
    while (at + length < points.length && points[from + length] === points[at + length])
      length += 1;
    longest = Math.max(longest, length);
  }
  return longest;
}

/** How many characters from here on are the same, or each the next or the previous one of its alphabet. */
function countedFrom(points: readonly string[], at: number): number {
  const step = codeOf(points[at + 1]) - codeOf(points[at]);
  if (Math.abs(step) > 1) return 1;
  let end = at + 1;
  while (end < points.length && codeOf(points[end]) - codeOf(points[end - 1]) === step) end += 1;
  return end - at;
}

/** How many characters from here on stand side by side on a keyboard. */
function typedFrom(points: readonly string[], at: number): number {
  const lengths = ROWS.map((row) => {
    const start = row.indexOf(points[at] ?? "");
    if (start === -1) return 1;
    let length = 1;
    while (start + length < row.length && row[start + length] === points[at + length]) length += 1;
    return length;
  });
  return Math.max(...lengths);
}

function codeOf(point: string | undefined): number {
  return point?.codePointAt(0) ?? 0;
}
