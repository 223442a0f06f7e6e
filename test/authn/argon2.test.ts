import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { directoryOf, INSTRUCTION_SETS, processorFlags } from "../../src/authn/argon2/build.mjs";
import { argon2, assertRight } from "../../src/authn/argon2/package.ts";

const LOADED = /\S+argon2\S*\.node$/m;

describe("argon2", () => {
  it("computes the example of RFC 9106 §5.3", () => assertRight());

  it("is the widest build that is here and that the processor can run", () => {
    if (process.platform !== "linux") return;
    const flags = processorFlags();
    const set = INSTRUCTION_SETS.find((each) => flags.has(each) && existsSync(directoryOf(each)));
    const [loaded = ""] = LOADED.exec(readFileSync("/proc/self/maps", "utf8")) ?? [];
    assert.ok(loaded.includes(set === undefined ? "/prebuilds/" : `/lintel/${set}/`), loaded);
  });

  it("computes the same with every build as with the package's own", async () => {
    const options = {
      type: argon2.argon2id,
      memoryCost: 19_456,
      timeCost: 2,
      parallelism: 1,
      salt: Buffer.from("a salt, 16 bytes"),
      raw: true,
    } as const;
    const wanted = (await argon2.hash("correct horse", options)).toString("hex");
    const flags = processorFlags();
    const builds = INSTRUCTION_SETS.filter((set) => flags.has(set) && existsSync(directoryOf(set)));
    const script = `
      const argon2 = require("argon2");
      const salt = Buffer.from("a salt, 16 bytes");
      argon2.hash("correct horse", { ...${JSON.stringify(options)}, salt })
        .then((tag) => process.stdout.write(tag.toString("hex")));`;
    for (const place of [undefined, ...builds.map(directoryOf)]) {
      const env = { ...process.env, ...(place === undefined ? {} : { ARGON2_PREBUILD: place }) };
      const tag = execFileSync(process.execPath, ["-e", script], { env, encoding: "utf8" });
      assert.equal(tag, wanted, place);
    }
  });
});
