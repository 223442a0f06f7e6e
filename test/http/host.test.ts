import assert from "node:assert/strict";
import { ask, authorizationUrl, speak } from "../support/raw.ts";
import { aClient, aServer, type TestServer } from "../support/server.ts";

const DISCOVERY = "/.well-known/openid-configuration";

describe("the host that a request names (T-48)", () => {
  let server: TestServer;
  let host: string;

  before(async () => {
    server = await aServer({ TRUSTED_PROXIES: "1" });
    ({ host } = new URL(server.issuer));
  });
  after(() => server.stop());

  it("must be the issuer’s: any other is answered 421 (RFC 9110 §15.5.20)", async () => {
    const port = new URL(server.issuer).port;
    const others = [
      "evil.example",
      "localhost",
      `127.0.0.1:${port}`,
      `evil@${host}`,
      `${host}.evil.example`,
      `${host}@evil.example`,
      `${host},evil.example`,
      `evil.example#${host}`,
    ];
    for (const other of others) {
      for (const path of ["/", DISCOVERY, "/jwks", "/auth", "/token", "/nowhere", "/assets/x"]) {
        const answer = await ask(`${server.issuer}${path}`, { headers: { Host: other } });
        assert.equal(answer.status, 421, `${other} ${path}`);
        assert.doesNotMatch(answer.body, /evil/);
      }
    }
  });

  it("must be named once: two Host headers are answered 400 (RFC 9112 §3.2)", async () => {
    const { port } = server;
    for (const second of ["evil.example", host]) {
      const answer = await speak(
        port,
        `GET ${DISCOVERY} HTTP/1.1\r\nHost: ${host}\r\nhost: ${second}\r\nConnection: close\r\n\r\n`,
      );
      assert.match(answer, /^HTTP\/1\.1 400 /);
      assert.doesNotMatch(answer, /evil|authorization_endpoint/);
    }
    const none = await speak(port, `GET ${DISCOVERY} HTTP/1.1\r\nConnection: close\r\n\r\n`);
    assert.match(none, /^HTTP\/1\.1 400 /);
  });

  it("counts in the request line too, where a whole address may stand (RFC 9112 §3.2.2)", async () => {
    const { port } = server;
    const say = (target: string) =>
      speak(port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    for (const target of [
      `http://evil.example${DISCOVERY}`,
      `https://${host}${DISCOVERY}`,
      `HTTP://evil.example${DISCOVERY}`,
      `http://${host}@evil.example${DISCOVERY}`,
    ]) {
      const answer = await say(target);
      assert.match(answer, /^HTTP\/1\.1 4(?:21|00) /, target);
      assert.doesNotMatch(answer, /evil|authorization_endpoint/);
    }
    const own = await say(`${server.issuer}${DISCOVERY}`);
    assert.match(own, /^HTTP\/1\.1 200 /);
    assert.ok(own.includes(`"authorization_endpoint":"${server.issuer}/auth"`));
    assert.match(await say("*"), /^HTTP\/1\.1 400 /);
  });

  it("is never another one in what is said: no forwarding header counts", async () => {
    const client = await aClient(server);
    const lies = [
      { "X-Forwarded-Host": "evil.example" },
      { "X-Forwarded-Proto": "https" },
      { "X-Forwarded-Proto": "javascript" },
      { "X-Forwarded-Port": "666" },
      { "X-Forwarded-Prefix": "/evil" },
      { Forwarded: "host=evil.example;proto=https;for=6.6.6.6" },
      { "X-Original-URL": "/evil" },
      { "X-Rewrite-URL": "/evil" },
      { "X-HTTP-Method-Override": "DELETE" },
      { "X-Host": "evil.example" },
    ];
    const truth = (await ask(`${server.issuer}${DISCOVERY}`)).body;
    const addresses = Object.entries(JSON.parse(truth) as Record<string, unknown>).filter(
      ([name]) => name.endsWith("_endpoint") || name === "jwks_uri",
    );
    assert.ok(addresses.length >= 6);
    for (const [name, address] of addresses)
      assert.ok(String(address).startsWith(`${server.issuer}/`), name);
    for (const headers of lies) {
      const discovery = await ask(`${server.issuer}${DISCOVERY}`, { headers });
      assert.equal(discovery.body, truth, JSON.stringify(headers));
      const begun = await ask(authorizationUrl(server.issuer, client), { headers });
      assert.equal(begun.status, 303);
      assert.match(begun.headers.location ?? "", /^\/interaction\//);
      // A random value may have the letters of the word.
      assert.doesNotMatch(JSON.stringify(begun.headers), /evil\.example|\/evil|; secure/i);
      const home = await ask(server.issuer, { headers: { ...headers, Accept: "text/html" } });
      assert.doesNotMatch(home.body, /evil/);
    }
  });

  it("does not matter to probes, which ask by address", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      const answer = await ask(`http://localhost:${server.port}${path}`, {
        headers: { Host: "10.0.0.7" },
      });
      assert.equal(answer.status, 200);
    }
  });

  it("is the issuer’s from the first request on (better-auth CVE-2025-71401)", async () => {
    const fresh = await aServer();
    try {
      const first = await ask(`${fresh.issuer}${DISCOVERY}`, { headers: { Host: "evil.example" } });
      assert.equal(first.status, 421);
      const second = await ask(`${fresh.issuer}${DISCOVERY}`);
      assert.equal(JSON.parse(second.body).issuer, fresh.issuer);
      assert.doesNotMatch(second.body, /evil/);
    } finally {
      await fresh.stop();
    }
  });
});
