import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { isCommonPassword } from "../src/authn/common-passwords.ts";

/** What the blocklist costs: to load once, to look up, and on disk. */
const LOOK_UPS = 200_000;
const FILE = new URL("../src/authn/blocklist/common-passwords.bin", import.meta.url);

const loadStart = performance.now();
isCommonPassword("password");
const loadMs = performance.now() - loadStart;

const unknown = Array.from({ length: LOOK_UPS }, () => randomBytes(18).toString("base64"));
const hits = Array.from(
  { length: LOOK_UPS },
  (_, index) => ["Password1!", "qwertyuiop"][index % 2],
);
const report = {
  bytes: statSync(FILE).size,
  load_ms: Number(loadMs.toFixed(2)),
  unknown_us: microseconds(unknown),
  common_us: microseconds(hits),
  longest_us: microseconds(unknown.map((text) => text.repeat(10).slice(0, 256))),
};
process.stdout.write(`${JSON.stringify(report)}\n`);

function microseconds(passwords: readonly (string | undefined)[]): number {
  const startedAt = performance.now();
  for (const password of passwords) isCommonPassword(password ?? "");
  return Number((((performance.now() - startedAt) * 1000) / passwords.length).toFixed(2));
}
