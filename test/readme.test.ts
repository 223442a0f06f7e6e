import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { SECRETS, SETTINGS } from "../src/config.ts";

const README = new URL("../README.md", import.meta.url);
const BETWEEN = /(<!-- settings:[^>]*-->\n)[\s\S]*(<!-- \/settings -->)/;

type Default = string | number | string[] | ReadonlyMap<string, unknown> | undefined;

/** The table of settings, from the list that the server reads them by. */
function settingsTable(): string {
  const rows = Object.entries(SETTINGS).map(([name, setting]) => {
    const isSecret = SECRETS.some((secret) => secret === name);
    const parsed = z.safeParse(setting, undefined);
    const value = parsed.success ? (parsed.data as Default) : undefined;
    const words = value instanceof Map ? [...value.keys()] : [value ?? []].flat();
    const byDefault = words.length === 0 ? "" : `\`${words.join()}\``;
    return `| \`${name}\`${isSecret ? " *" : ""} | ${byDefault} | ${setting.description ?? ""} |`;
  });
  return ["| Name | Default | What it is |", "|---|---|---|", ...rows, ""].join("\n");
}

describe("README", () => {
  it("lists every setting as the server reads it", () => {
    const text = readFileSync(README, "utf8");
    const wanted = text.replace(
      BETWEEN,
      (_all, start: string, end: string) => `${start}${settingsTable()}${end}`,
    );
    if (process.env["UPDATE_README"] !== undefined) writeFileSync(README, wanted);
    assert.equal(readFileSync(README, "utf8"), wanted);
  });

  it("links to files that exist", () => {
    const text = readFileSync(README, "utf8");
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map((match) => match[1] ?? "");
    assert.deepEqual(
      links.filter((link) => !existsSync(new URL(`../${link}`, import.meta.url))),
      [],
    );
  });
});
