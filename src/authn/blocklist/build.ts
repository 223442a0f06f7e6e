import { readFileSync, writeFileSync } from "node:fs";
import { commonPasswordKey, foldPassword } from "../common-passwords.ts";

/** Shorter ones are refused for their length, whatever is demanded beside them. */
const MIN_LENGTH = 8;

const [, , source = ""] = process.argv;
const passwords = new Set(
  readFileSync(source, "utf8")
    .split(/\r?\n/)
    .map(foldPassword)
    .filter((password) => Array.from(password).length >= MIN_LENGTH),
);
const keys = [...passwords].map(commonPasswordKey).sort((a, b) => a.compare(b));
writeFileSync(new URL("common-passwords.bin", import.meta.url), Buffer.concat(keys));
process.stdout.write(`${keys.length} passwords\n`);
