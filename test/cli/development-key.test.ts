import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "mocha";
import { developmentKey } from "../../src/lib/development-key.ts";
import { runProcess } from "../support/cli.ts";
import { scratchDirectory } from "../support/scratch.ts";

describe("the encryption key of a development installation", () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(join(scratchDirectory(), "lintel-key-"));
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  it("is made once, 256 bits, for its owner only", () => {
    const nested = join(dataDir, "new");
    const key = developmentKey(nested);
    assert.equal(key.length, 32);
    assert.deepEqual(developmentKey(nested), key);
    assert.deepEqual(readdirSync(nested), ["encryption.key"]);
    assert.equal(statSync(join(nested, "encryption.key")).mode & 0o777, 0o600);
  });

  it("is not replaced where its file is damaged", () => {
    writeFileSync(join(dataDir, "encryption.key"), "half a k");
    assert.throws(() => developmentKey(dataDir), /holds no encryption key/);
  });

  it("is the same for processes that start together", async () => {
    const environment = { NODE_ENV: "development", DATA_DIR: dataDir };
    const runs = await Promise.all(
      [1, 2, 3].map(() => runProcess(["keys", "rotate", "--lead", "0"], environment)),
    );
    for (const { code, err } of runs) assert.equal(code, 0, err);
  }).timeout(60_000);
});
