import type { Option, Verb } from "./verb.ts";

/** Options that every verb has. */
export const COMMON = {
  json: { type: "boolean", help: "print JSON" },
  help: { type: "boolean", help: "print this help" },
} as const satisfies Record<string, Option>;

/** The help of the whole command line, or of the verbs that begin with `group`. */
export function helpOf(verbs: readonly Verb[], group?: string): string {
  const shown =
    group === undefined ? verbs : verbs.filter(({ name }) => name.startsWith(`${group} `));
  const usage =
    group === undefined ? "lintel <verb> [options]" : `lintel ${group} <verb> [options]`;
  const parts = [`Usage: ${usage}`, columns(shown.map(({ name, summary }) => [name, summary]))];
  if (group === undefined)
    parts.push("Settings come from the environment; `lintel doctor` checks them.");
  parts.push("`lintel <verb> --help` says more about each.");
  return `${parts.join("\n\n")}\n`;
}

/** The help of one verb. */
export function helpOfVerb({ name, words = [], summary, details, options = {} }: Verb): string {
  const required = Object.entries(options).filter(([, option]) => option.required === true);
  const usage = [
    `Usage: lintel ${name}`,
    ...words.map((word) => `<${word}>`),
    ...required.map(([flag, option]) => spell(flag, option)),
    "[options]",
  ];
  const flags = Object.entries({ ...options, ...COMMON }).map(
    ([flag, option]): [string, string] => [spell(flag, option), option.help + notes(option)],
  );
  const parts = [usage.join(" "), sentence(summary)];
  if (details !== undefined) parts.push(details);
  parts.push(columns(flags));
  return `${parts.join("\n\n")}\n`;
}

function spell(flag: string, option: Option): string {
  return option.type === "boolean" ? `--${flag}` : `--${flag} ${option.value ?? "TEXT"}`;
}

function notes({ required, multiple }: Option): string {
  const said = [required === true ? "required" : "", multiple === true ? "may be repeated" : ""];
  const text = said.filter((note) => note !== "").join(", ");
  return text === "" ? "" : ` (${text})`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n");
}
