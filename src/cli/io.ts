/** The process around the command line: what it reads, writes and is told. */
export interface Io {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdin: AsyncIterable<string | Buffer>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** The whole of standard input as text. */
export async function readStdin(io: Io): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}

/** Writes a value as JSON for programs. */
export function printJson(io: Io, value: unknown): void {
  io.out(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Writes rows under their headings, aligned, for people. */
export function printTable(
  io: Io,
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const all = [
    headings.map((heading) => heading.toUpperCase()),
    ...rows.map((row) => row.map(harmless)),
  ];
  const widths = headings.map((_, column) =>
    Math.max(...all.map((row) => Array.from(row[column] ?? "").length)),
  );
  for (const row of all) {
    const cells = row.map(
      (cell, column) => cell + " ".repeat((widths[column] ?? 0) - Array.from(cell).length),
    );
    io.out(`${cells.join("  ").trimEnd()}\n`);
  }
}

/** Writes one thing as a list of its fields, for people; what it does not have is left out. */
export function printFields(io: Io, fields: Readonly<Record<string, unknown>>): void {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  const width = Math.max(0, ...given.map(([name]) => name.length));
  for (const [name, value] of given) io.out(`${name.padEnd(width)}  ${harmless(inWords(value))}\n`);
}

function inWords(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.every((item) => typeof item === "string"))
    return value.length === 0 ? "none" : value.join(" ");
  return JSON.stringify(value);
}

/** What others named must not move the cursor, change colours or turn the line around. */
function harmless(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "\u{fffd}");
}
