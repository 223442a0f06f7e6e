import assert from "node:assert/strict";
import { ask, beginSignIn, speak, submit } from "../support/raw.ts";
import { aClient, aServer, type TestServer } from "../support/server.ts";

const html = { Accept: "text/html,application/xhtml+xml,*/*;q=0.8" };

describe("requests that are odd but possible", () => {
  let server: TestServer;
  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());

  const at = (path: string) => `${server.issuer}${path}`;

  it("with a path like another host get a page whose links stay here (T-14)", async () => {
    for (const path of ["//evil.example/x", "/\\evil.example/x", "///evil.example"]) {
      const answer = await ask(at(path), { headers: html });
      assert.equal(answer.status, 404);
      const links = [...answer.body.matchAll(/href="([^"]*)"/g)].map(([, href = ""]) => href);
      assert.ok(links.includes("?ui_lang=de"), "the languages are offered");
      for (const link of links)
        assert.equal(
          new URL(link.replaceAll("&amp;", "&"), at("/nowhere")).origin,
          server.issuer,
          `${path}: ${link}`,
        );
    }
  });

  it("at a machine’s endpoint are answered in JSON, whatever they accept (ux.md P17)", async () => {
    for (const [method, path, status] of [
      ["POST", "/token?grant_type=x", 400],
      ["GET", "/token", 404],
      ["GET", "/request", 404],
      ["DELETE", "/jwks", 404],
      ["GET", "/.well-known/nothing", 404],
    ] as const) {
      const answer = await ask(at(path), { method, headers: html });
      assert.equal(answer.status, status, path);
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/, path);
      assert.equal(typeof JSON.parse(answer.body).error, "string");
    }
  });

  it("cannot evade the limits by how the address is spelt (T-07)", async () => {
    for (const path of [
      "/token",
      "/TOKEN",
      "/token/",
      "/Token/Revocation",
      "/request/",
      "/AUTH",
      "/session/END/confirm/",
    ]) {
      const answer = await submit(at(`${path}?client_id=x`), { client_id: "y" });
      assert.equal(answer.status, 400, path);
      assert.match(answer.body, /not in its address/, path);
    }
  });

  it("may spell the host in capitals, and say the port that its scheme has anyway (RFC 9110 §4.2.3)", async () => {
    const { host } = new URL(server.issuer);
    assert.equal((await ask(at("/"), { headers: { Host: host.toUpperCase() } })).status, 200);

    const secure = await aServer({ ISSUER: "https://id.example", HOST: "localhost" });
    try {
      const open = (Host: string) => ask(`http://localhost:${secure.port}/`, { headers: { Host } });
      for (const Host of ["id.example", "ID.example", "id.example:443"])
        assert.equal((await open(Host)).status, 200, Host);
      for (const Host of [
        "id.example:80",
        "id.example:",
        "id.example:4430",
        "id.example.",
        "x.id.example",
      ])
        assert.equal((await open(Host)).status, 421, Host);
    } finally {
      await secure.stop();
    }
  });

  it("that end before their body does are no mistake of ours, and not logged as one", async () => {
    const { address, cookies } = await beginSignIn(server.issuer, await aClient(server));
    const { host, pathname } = new URL(address);
    const head = `POST ${pathname} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookies}\r\nContent-Type: application/x-www-form-urlencoded`;
    await speak(server.port, `${head}\r\nContent-Length: 500\r\n\r\nusername=a`, 200);
    await speak(server.port, `${head}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nusern\r\n`, 200);

    const posts = () =>
      server.logged().match(/"method":"POST","path":"\/interaction\/:id","status":\d+/g) ?? [];
    for (let tries = 0; posts().length < 2 && tries < 100; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(
      posts().map((line) => line.slice(-3)),
      ["400", "400"],
    );
    assert.doesNotMatch(server.logged(), /request failed/);
  });
});
