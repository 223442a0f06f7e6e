import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, readConfig } from "../src/config.ts";

const KEY = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
const PRODUCTION = {
  NODE_ENV: "production",
  ISSUER: "https://id.example.com",
  DATABASE_URL: "postgres://lintel@db/lintel",
  ENCRYPTION_KEY: KEY,
};

function problemsOf(environment: Record<string, string>): readonly string[] {
  try {
    readConfig(environment);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
  assert.fail("these settings were accepted");
}

describe("settings", () => {
  it("are all optional in development, and nothing leaves this machine", () => {
    const config = readConfig({});
    assert.equal(config.issuer, "http://localhost:3000");
    assert.equal(config.host, "localhost");
    assert.equal(config.databaseUrl, undefined);
    assert.equal(config.metricsPort, undefined);
  });

  it("imply nothing in production: what is missing is named, all at once", () => {
    const problems = problemsOf({ NODE_ENV: "production" });
    assert.equal(problems.length, 3);
    for (const name of ["ISSUER", "DATABASE_URL", "ENCRYPTION_KEY"])
      assert.ok(problems.some((problem) => problem.startsWith(`${name} is not set`)));
  });

  it("are reported together when some are missing and others wrong", () => {
    const problems = problemsOf({
      NODE_ENV: "production",
      ISSUER: "http://id.example.com",
      ENCRYPTION_KEY: "short",
      PORT: "99999",
      LOCALES: "en,xx",
    });
    for (const name of [
      "ISSUER must use https",
      "DATABASE_URL is not set",
      "ENCRYPTION_KEY",
      "PORT",
      "LOCALES",
    ])
      assert.ok(
        problems.some((problem) => problem.startsWith(name)),
        name,
      );
  });

  it("refuse an issuer over http, with a strange path, a query or a fragment", () => {
    for (const [issuer, problem] of [
      ["http://id.example.com", "https"],
      ["https://id.example.com/%69dp", "path"],
      ["https://id.example.com/?a=b", "query"],
      ["https://id.example.com/#x", "fragment"],
    ] as const)
      assert.match(problemsOf({ ...PRODUCTION, ISSUER: issuer }).join(), new RegExp(problem));
    assert.equal(
      readConfig({ ...PRODUCTION, ISSUER: "http://127.0.0.1:3000" }).issuer,
      "http://127.0.0.1:3000",
    );
  });

  it("take origins that may be called, and nothing that is not exactly one", () => {
    const given = { TRUSTED_ORIGINS: "https://app.internal:8443, http://127.0.0.1:9" };
    const suite = { CONFORMANCE_SUITE_URL: "https://suite.example:8443/path/" };
    const config = readConfig({ ...PRODUCTION, ...given, ...suite });
    assert.deepEqual(config.trustedOrigins, [
      "https://app.internal:8443",
      "http://127.0.0.1:9",
      "https://suite.example:8443",
    ]);
    assert.equal(config.conformanceSuiteUrl, "https://suite.example:8443/path");
    for (const wrong of ["https://app.internal/", "app.internal", "10.0.0.0/8", "file:///etc"])
      assert.match(
        problemsOf({ ...PRODUCTION, TRUSTED_ORIGINS: wrong }).join(),
        /TRUSTED_ORIGINS.* must be origins like/,
      );
  });

  it("refuse placeholder keys (T-138)", () => {
    for (const key of ["changeme", Buffer.alloc(32).toString("base64"), "a".repeat(64)])
      assert.match(problemsOf({ ...PRODUCTION, ENCRYPTION_KEY: key }).join(), /ENCRYPTION_KEY/);
  });

  it("take secrets from files, and say so when both are given or a file is missing", () => {
    const file = join(mkdtempSync(join(tmpdir(), "lintel-")), "key");
    writeFileSync(file, `${KEY}\n`);
    const { ENCRYPTION_KEY: _key, ...rest } = PRODUCTION;
    const config = readConfig({ ...rest, ENCRYPTION_KEY_FILE: file });
    assert.equal(config.encryptionKey?.toString("base64"), KEY);
    assert.match(problemsOf({ ...PRODUCTION, ENCRYPTION_KEY_FILE: file }).join(), /keep one/);
    assert.match(problemsOf({ ...rest, ENCRYPTION_KEY_FILE: "/nowhere" }).join(), /cannot be read/);
  });
});
