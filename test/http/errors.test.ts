import assert from "node:assert/strict";
import { ask, authorizationUrl, speak, type Answer } from "../support/raw.ts";
import { aClient, aServer, freePort, type TestServer } from "../support/server.ts";

const html = { Accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };

describe("answers to what goes wrong", () => {
  let server: TestServer;
  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());

  const at = (path: string) => `${server.issuer}${path}`;
  function checkPage(answer: Answer, status: number, code: string): void {
    assert.equal(answer.status, status);
    assert.match(answer.headers["content-type"] ?? "", /^text\/html/);
    assert.match(answer.body, /<body data-page="error">/);
    assert.ok(answer.body.includes(`<code id="error-code">${code}</code>`), answer.body);
    assert.ok(
      answer.body.includes(String(answer.headers["x-correlation-id"])),
      "quotes the reference",
    );
  }

  it("are a page for people and JSON for machines, by Accept", async () => {
    checkPage(await ask(at("/nowhere"), { headers: html }), 404, "not_found");
    for (const Accept of [
      "application/json",
      "*/*",
      "application/json, text/html;q=0.5",
      "image/png",
    ]) {
      const answer = await ask(at("/nowhere"), { headers: { Accept } });
      assert.equal(answer.status, 404);
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/, Accept);
      assert.deepEqual(JSON.parse(answer.body), {
        error: "not_found",
        error_description: "There is no page at this address.",
      });
    }
    const none = await ask(at("/nowhere"));
    assert.match(none.headers["content-type"] ?? "", /^application\/json/);
  });

  it("say 405 and what is allowed where the address is ours and the method is not (RFC 9110 §15.5.6)", async () => {
    for (const [method, path, allow] of [
      ["POST", "/", "HEAD, GET"],
      ["DELETE", "/", "HEAD, GET"],
      ["PUT", "/interaction/x", "HEAD, GET, POST"],
      ["GET", "/interaction/x/cancel", "POST"],
      ["PATCH", "/setup/x", "HEAD, GET, POST"],
    ] as const) {
      const answer = await ask(at(path), { method, headers: html });
      checkPage(answer, 405, "method_not_allowed");
      assert.equal(answer.headers.allow, allow);
    }
  });

  it("stay at the address that failed when there is no trusted one to go to (RFC 6749 §4.1.2.1)", async () => {
    const client = await aClient(server);
    const wrong = await ask(
      authorizationUrl(server.issuer, { ...client, redirectUri: "https://evil.example/cb" }),
      { headers: html },
    );
    checkPage(wrong, 400, "invalid_redirect_uri");
    assert.equal(wrong.headers.location, undefined);
    assert.match(wrong.body, /Acme Photos has not set it up correctly/);
    assert.doesNotMatch(
      wrong.body,
      /href="https?:|rp\.example/,
      "no link there, and nothing that is registered",
    );

    const unknown = await ask(
      authorizationUrl(server.issuer, {
        clientId: "<b>nobody</b>",
        redirectUri: "https://evil.example/",
      }),
      { headers: html },
    );
    checkPage(unknown, 400, "invalid_client");
    assert.doesNotMatch(unknown.body, /<b>nobody/);
  });

  it("show what was sent as text, in the language that was asked for", async () => {
    const answer = await ask(
      at("/auth?client_id=%3Cscript%3Ealert(1)%3C%2Fscript%3E&ui_locales=de"),
      { headers: { ...html, "Accept-Language": "de" } },
    );
    assert.doesNotMatch(answer.body, /<script>alert/);
    assert.match(answer.body, /<html lang="de"/);
    assert.match(answer.body, /Diese Anfrage hat nicht funktioniert/);
  });

  it("explain a setup link that no longer works", async () => {
    const answer = await ask(at("/setup/never-issued"), { headers: html });
    checkPage(answer, 410, "invalid_setup_link");
    assert.match(answer.body, /This setup link no longer works/);
  });

  it("say nothing about a mistake of ours, which is logged with the reference", async () => {
    const broken = await aServer();
    try {
      await broken.database.knex.raw("ALTER TABLE oauth_clients RENAME TO gone");
      const answer = await ask(
        authorizationUrl(broken.issuer, { clientId: "x", redirectUri: "https://rp.example/" }),
        { headers: html },
      );
      assert.equal(answer.status, 500);
      assert.doesNotMatch(answer.body, /oauth_clients|\brelation\b|select|\bat \/|\.ts/i);
      assert.match(answer.body, /Something went wrong on our side/);
      const reference = String(answer.headers["x-correlation-id"]);
      assert.ok(answer.body.includes(reference));
      assert.match(broken.logged(), new RegExp(`"correlationId":"${reference}"`));
    } finally {
      await broken.stop();
    }
  });

  it("never are a crash: odd addresses and methods get an answer, and the server goes on", async () => {
    const { port } = server;
    const { host } = new URL(server.issuer);
    for (const target of [
      "/%00",
      "/%ff",
      "/..%2f..%2fetc/passwd",
      "/../../etc/passwd",
      "//",
      "//evil.example/",
      "/?ui_lang=%",
      "/?ui_lang[]=de&ui_lang=en",
      "/auth?client_id=a&client_id=b",
      "/interaction/%00",
      `/interaction/${"a".repeat(7000)}`,
      "/assets/..%2f..%2fapp.css",
      "/__proto__",
      "/setup/%F0%28",
      "/;/",
      "/\\evil",
    ]) {
      const answer = await speak(
        port,
        `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n`,
      );
      assert.match(answer, /^HTTP\/1\.1 [234]\d\d /, target);
      assert.doesNotMatch(answer, /^location: *(?:\/\/|https?:\/\/(?!localhost))/im, target);
    }
    assert.equal((await ask(at("/healthz"))).status, 200);
  });
});

describe("probes", () => {
  it("say that the process answers, and what it can do", async () => {
    const server = await aServer();
    try {
      const alive = await ask(`${server.issuer}/healthz`);
      assert.deepEqual([alive.status, JSON.parse(alive.body)], [200, { status: "ok" }]);
      const ready = await ask(`${server.issuer}/readyz`);
      assert.deepEqual(
        [ready.status, JSON.parse(ready.body)],
        [200, { status: "ok", checks: { database: true, keys: true } }],
      );
      assert.equal((await ask(`${server.issuer}/healthz/x`)).status, 404);
    } finally {
      await server.stop();
    }
  });

  it("say no when the database is gone, while the process still answers", async () => {
    const server = await aServer();
    try {
      await server.deps.knex.destroy();
      const ready = await ask(`${server.issuer}/readyz`);
      assert.equal(ready.status, 503);
      assert.deepEqual(JSON.parse(ready.body), {
        status: "unavailable",
        checks: { database: false, keys: true },
      });
      assert.equal((await ask(`${server.issuer}/healthz`)).status, 200);
    } finally {
      await server.stop();
    }
  });
});

describe("metrics", () => {
  it("are on a port of their own, and name nobody", async () => {
    const metricsPort = await freePort();
    const server = await aServer({ METRICS_PORT: String(metricsPort) });
    try {
      const client = await aClient(server);
      await ask(authorizationUrl(server.issuer, client, { login_hint: "ada@example.com" }));
      await ask(`${server.issuer}/users/ada@example.com`);
      assert.equal((await ask(`${server.issuer}/metrics`)).status, 404);

      const metrics = await ask(`http://127.0.0.1:${metricsPort}/metrics`);
      assert.equal(metrics.status, 200);
      assert.match(
        metrics.body,
        /lintel_http_request_duration_seconds_count\{route="auth",method="GET",status="3xx"\} 1/,
      );
      assert.match(metrics.body, /route="other",method="GET",status="4xx"\} 2/);
      assert.doesNotMatch(
        metrics.body,
        new RegExp(`ada|${client.clientId}|interaction/|127\\.0\\.0`),
      );
      const labels = new Set([...metrics.body.matchAll(/[{,](\w+)="/g)].map(([, label]) => label));
      for (const label of labels)
        assert.doesNotMatch(label ?? "", /user|client|email|ip|path|address/);

      assert.equal((await ask(`http://127.0.0.1:${metricsPort}/`)).status, 404);
      assert.equal(
        (await ask(`http://127.0.0.1:${metricsPort}/metrics`, { method: "POST" })).status,
        404,
      );
    } finally {
      await server.stop();
    }
  });

  it("have nothing listening when no port was given in development", async () => {
    const server = await aServer();
    try {
      assert.equal(server.deps.config.metricsPort, undefined);
    } finally {
      await server.stop();
    }
  });
});
