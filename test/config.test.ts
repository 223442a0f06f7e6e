import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, readConfig } from "../src/config.ts";
import { aCertificate } from "./support/certificates.ts";

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

  it("take the domain of passkeys where it is the issuer’s or above it, and exact origins (WebAuthn §5.1.3)", () => {
    const issuer = { ISSUER: "https://id.example.com" };
    const of = (given: Record<string, string>) =>
      readConfig({ ...PRODUCTION, ...issuer, ...given }).issuers[0].relyingParty;
    assert.deepEqual(of({ PASSKEY_RP_ID: "example.com" }), {
      id: "example.com",
      origins: ["https://id.example.com"],
    });
    assert.deepEqual(of({ PASSKEY_ORIGINS: "https://login.example.org" }), {
      id: "id.example.com",
      origins: ["https://id.example.com", "https://login.example.org"],
    });
    for (const wrong of ["example.org", "ample.com", "bank.id.example.com", "https://example.com"])
      assert.match(
        problemsOf({ ...PRODUCTION, ...issuer, PASSKEY_RP_ID: wrong }).join(),
        /PASSKEY_RP_ID/,
        wrong,
      );
    assert.match(
      problemsOf({ ...PRODUCTION, PASSKEY_ORIGINS: "https://login.example.org/" }).join(),
      /PASSKEY_ORIGINS.* must be origins like/,
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

  describe("of TLS and client certificates", () => {
    const directory = mkdtempSync(join(tmpdir(), "lintel-"));
    const write = (name: string, content: string) => {
      writeFileSync(join(directory, name), content);
      return join(directory, name);
    };
    const [one, other] = [aCertificate(), aCertificate()];
    const TLS = {
      TLS_CERT_FILE: write("cert.pem", one.cert),
      TLS_KEY_FILE: write("key.pem", one.key),
    };
    const PROXY = {
      TRUSTED_PROXIES: "1",
      MTLS_HEADER: "Client-Cert",
      MTLS_PROXIES: "10.0.0.0/8, ::1",
    };
    const problem = (settings: Record<string, string>) =>
      problemsOf({ ...PRODUCTION, ...settings }).join("\n");

    it("are off unless said", () => {
      const { tls, mutualTls, issuers } = readConfig(PRODUCTION);
      assert.deepEqual(
        [tls, mutualTls, issuers[0].certificates],
        [undefined, undefined, undefined],
      );
    });

    it("give the issuer https where Lintel ends TLS", () => {
      assert.equal(readConfig(TLS).issuer, "https://localhost:3000");
      assert.match(
        problem({ ...TLS, ISSUER: "http://localhost:3000" }),
        /must use https where TLS/,
      );
    });

    it("belong together, are readable and fit each other", () => {
      const { TLS_CERT_FILE, TLS_KEY_FILE } = TLS;
      assert.match(problem({ TLS_CERT_FILE }), /belong together/);
      assert.match(problem({ TLS_KEY_FILE }), /belong together/);
      for (const [settings, pattern] of [
        [{ TLS_CERT_FILE: "/nowhere" }, /cannot be used: ENOENT/],
        [{ TLS_CERT_FILE: TLS_KEY_FILE }, /key.pem has no certificate/],
        [{ TLS_KEY_FILE: TLS_CERT_FILE }, /cert.pem is not a private key/],
        [{ TLS_KEY_FILE: write("other.pem", other.key) }, /other.pem is not the key of the first/],
        [{ TLS_CLIENT_CA_FILE: "/nowhere", MTLS_PORT: "1" }, /cannot be used: ENOENT/],
        [{ TLS_CLIENT_CA_FILE: TLS_KEY_FILE, MTLS_PORT: "1" }, /key.pem has no certificate/],
      ] as const)
        assert.match(problem({ ...TLS, ...settings }), pattern);
    });

    it("ask for certificates at another port than the one for people", () => {
      assert.match(problem({ MTLS_PORT: "4000" }), /MTLS_PORT needs TLS_CERT_FILE/);
      assert.match(problem({ ...TLS, MTLS_PORT: "3000" }), /MTLS_PORT must not be PORT/);
      const ca = { TLS_CLIENT_CA_FILE: TLS.TLS_CERT_FILE };
      assert.match(problem({ ...TLS, ...ca }), /TLS_CLIENT_CA_FILE is for MTLS_PORT/);
      const origin = "https://id.example.com:4000";
      for (const [settings, verified] of [
        [{}, false],
        [ca, true],
      ] as const) {
        const { issuers } = readConfig({ ...PRODUCTION, ...TLS, ...settings, MTLS_PORT: "4000" });
        assert.deepEqual(issuers[0].certificates, { verified, origin });
      }
    });

    it("name the proxies whose header is believed", () => {
      assert.match(
        problem({ ...PROXY, TRUSTED_PROXIES: "0" }),
        /TRUSTED_PROXIES must be at least 1/,
      );
      assert.match(problem({ ...TLS, ...PROXY, MTLS_PORT: "4000" }), /keep one/);
      assert.match(problem({ ...PROXY, MTLS_PROXIES: "" }), /MTLS_PROXIES must name/);
      assert.match(problem({ ...PROXY, MTLS_PROXIES: "10.0.0.0/99" }), /no address and no network/);
      assert.match(problem({ ...PROXY, MTLS_HEADER: "a b" }), /MTLS_HEADER must be the name/);
      assert.match(problem({ MTLS_PROXIES: "::1" }), /MTLS_PROXIES needs MTLS_HEADER/);
      assert.match(problem({ MTLS_VERIFIED_HEADER: "x" }), /MTLS_VERIFIED_HEADER needs/);
      const { mutualTls } = readConfig({ ...PRODUCTION, ...PROXY });
      assert.equal(mutualTls?.header, "client-cert");
      assert.deepEqual(mutualTls.proxies, ["10.0.0.0/8", "::1"]);
    });

    it("take an origin that is one, and is not the issuer's", () => {
      assert.match(problem({ MTLS_ORIGIN: "https://m.example" }), /MTLS_ORIGIN needs/);
      for (const origin of ["m.example", "http://m.example", "https://m.example/", "https://m/x"])
        assert.match(problem({ ...PROXY, MTLS_ORIGIN: origin }), /MTLS_ORIGIN must be like/);
      assert.match(problem({ ...PROXY, MTLS_ORIGIN: PRODUCTION.ISSUER }), /must be another origin/);
      assert.match(
        problem({
          ...PROXY,
          MTLS_ORIGIN: "https://m.example",
          MORE_ISSUERS: "b=fapi2@https://other.example",
        }),
        /differ in their host only/,
      );
    });
  });
});
