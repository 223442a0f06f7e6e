import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, it } from "mocha";
import { examine, type Check } from "../../src/cli/doctor.ts";
import { aCertificate, type CertificateOptions } from "../support/certificates.ts";
import { startSmtpSink } from "../mail/smtp-sink.ts";
import { aServer, type TestServer } from "../support/server.ts";

function doctor(environment: Record<string, string>): Promise<Check[]> {
  return examine({ environment, stdin: Readable.from([]), out: ignore, err: ignore });
}

function ignore(): void {}

function named(checks: readonly Check[], name: string): Check {
  const found = checks.find((check) => check.name === name);
  assert(found, `${name} was not checked`);
  return found;
}

/** What stands in for a server behind a proxy that is set up wrongly. */
async function anAnswer(listener: RequestListener): Promise<{ issuer: string; stop(): void }> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert(typeof address === "object" && address !== null);
  return { issuer: `http://127.0.0.1:${address.port}`, stop: () => server.close() };
}

function discovery(document: (issuer: string) => object): RequestListener {
  return (request, response) =>
    void response.end(JSON.stringify(document(`http://${request.headers.host}`)));
}

function withEndpointElsewhere(issuer: string): object {
  return { issuer, token_endpoint: `${issuer.replace("http", "https")}/token` };
}

describe("lintel doctor", () => {
  let server: TestServer;
  let environment: Record<string, string>;
  before(async () => {
    server = await aServer();
    const { config } = server.deps;
    environment = {
      NODE_ENV: "test",
      ISSUER: server.issuer,
      DATABASE_URL: server.database.url,
      DATA_DIR: config.dataDir,
      ENCRYPTION_KEY: config.encryptionKey?.toString("base64") ?? "",
    };
  });
  after(() => server.stop());

  /** What the doctor says of an issuer that answers like this. */
  const seen = async (listener: RequestListener, name = "outside") => {
    const answer = await anAnswer(listener);
    try {
      return named(await doctor({ ...environment, ISSUER: answer.issuer }), name);
    } finally {
      answer.stop();
    }
  };

  it("finds nothing wrong with a server that runs", async () => {
    const checks = await doctor(environment);
    assert.deepEqual(
      checks.filter(({ status }) => status !== "ok"),
      [],
    );
    assert.deepEqual(
      checks.map(({ name }) => name),
      [
        "settings",
        "database",
        "clock",
        "schema",
        "encryption",
        "keys",
        "mail",
        "outside",
        "endpoints",
      ],
    );
    assert.equal(named(checks, "keys").message, "2 published: ES256, RS256");
  });

  it("looks at the certificate with which Lintel ends TLS", async () => {
    const directory = mkdtempSync(join(tmpdir(), "lintel-doctor-"));
    const tls = async (options: CertificateOptions, issuer = "https://localhost:1") => {
      const { cert, key } = aCertificate({ san: [["dns", "localhost"]], ...options });
      const [TLS_CERT_FILE, TLS_KEY_FILE] = [join(directory, "cert"), join(directory, "key")];
      writeFileSync(TLS_CERT_FILE, cert);
      writeFileSync(TLS_KEY_FILE, key);
      const settings = { ...environment, ISSUER: issuer, TLS_CERT_FILE, TLS_KEY_FILE };
      const { status, message } = named(await doctor(settings), "tls");
      return `${status}: ${message}`;
    };
    assert.match(await tls({ until: 30 }), /^ok: .* good for (29|30) days/);
    assert.match(await tls({ until: 5 }), /^warn: .* ends in [45] days/);
    assert.match(await tls({ from: -9, until: -1 }), /^fail: .* has expired/);
    assert.match(await tls({}, "https://id.example:1"), /^fail: .* not for id.example/);
    rmSync(directory, { recursive: true });
  });

  it("tells every setting that is wrong", async () => {
    const checks = await doctor({ NODE_ENV: "production", PORT: "x" });
    assert(checks.every(({ name, status }) => name === "settings" && status === "fail"));
  });

  it("tells that ENCRYPTION_KEY is not the one of the database", async () => {
    const ENCRYPTION_KEY = randomBytes(32).toString("base64");
    const { status, message } = named(
      await doctor({ ...environment, ENCRYPTION_KEY }),
      "encryption",
    );
    assert.equal(status, "fail");
    assert.match(message, /does not open/);
  });

  it("changes nothing", async () => {
    const { knex } = server.database;
    const earlier = await knex("audit_events").count();
    await doctor(environment);
    assert.deepEqual(await knex("audit_events").count(), earlier);
  });

  it("tells that the role may not create tables", async () => {
    const { knex, url } = server.database;
    const role = `lintel_doctor_${process.pid}`;
    await knex.raw(`CREATE ROLE ${role} LOGIN PASSWORD '${role}'`);
    try {
      const address = new URL(url);
      address.username = role;
      address.password = role;
      const database = named(
        await doctor({ ...environment, DATABASE_URL: address.href }),
        "database",
      );
      assert.equal(database.status, "fail");
      assert.match(database.message, /may not create tables/);
      assert.match(database.fix ?? "", /GRANT/);
      await knex.raw(
        `GRANT CREATE ON SCHEMA public TO ${role}; GRANT CREATE ON DATABASE ${address.pathname.slice(1)} TO ${role}`,
      );
      const again = named(await doctor({ ...environment, DATABASE_URL: address.href }), "database");
      assert.match(again.message, /permission denied for table/);
      assert.match(again.fix ?? "", /own the tables/);
    } finally {
      await knex.raw(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  it("tells that the database does not answer, and looks at the rest", async () => {
    const checks = await doctor({ ...environment, DATABASE_URL: "postgres://a:b@127.0.0.1:1/c" });
    assert.equal(named(checks, "database").status, "fail");
    assert.equal(named(checks, "outside").status, "ok");
  });

  it("logs in to the mail server", async () => {
    const sink = await startSmtpSink();
    try {
      const good = await doctor({ ...environment, SMTP_URL: sink.url });
      assert.equal(named(good, "mail").status, "ok");
    } finally {
      await sink.stop();
    }
    const bad = named(await doctor({ ...environment, SMTP_URL: "smtp://127.0.0.1:1" }), "mail");
    assert.equal(bad.status, "fail");
    assert.match(bad.message, /does not accept us/);
  });

  describe("as seen from outside", () => {
    it("tells that the issuer is another (OpenID Connect Discovery §4.3)", async () => {
      const { status, message } = await seen(discovery((issuer) => ({ issuer: `${issuer}/` })));
      assert.equal(status, "fail");
      assert.match(message, /says its issuer is/);
    });

    it("tells that endpoints are elsewhere", async () => {
      const { status, message } = await seen(discovery(withEndpointElsewhere), "endpoints");
      assert.equal(status, "fail");
      assert.match(message, /such as token_endpoint https:/);
    });

    it("tells that a proxy changes Host, redirects, or answers itself", async () => {
      const answers: [RequestListener, RegExp][] = [
        [(_request, response) => response.writeHead(421).end(), /another host name/],
        [
          (_request, response) => response.writeHead(301, { location: "/" }).end(),
          /answers with status 301/,
        ],
        [(_request, response) => response.end("<html>"), /something that is not JSON/],
      ];
      for (const [listener, expected] of answers) {
        const { status, message, fix } = await seen(listener);
        assert.equal(status, "fail");
        assert.match(message, expected);
        assert.match(fix ?? "", /proxy/);
      }
    });

    it("takes a server that does not run for a failure in production only", async () => {
      const outside = named(
        await doctor({ ...environment, ISSUER: "http://127.0.0.1:1" }),
        "outside",
      );
      assert.equal(outside.status, "warn");
    });
  });
});
