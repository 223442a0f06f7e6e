import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { findLogo } from "../../src/clients/logos.ts";
import { updateClient } from "../../src/clients/clients.ts";
import { RelyingParty, send, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, type TestServer } from "../support/server.ts";

const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

/** A PNG that says it is this wide. */
function wide(pixels: number): Buffer {
  const bytes = Buffer.from(PNG);
  bytes.writeUInt32BE(pixels, 16);
  return bytes;
}

/** The picture of a client on our pages (T-42). */
describe("logos of clients", () => {
  let server: TestServer;
  let host: Server;
  let answer: RequestListener;
  let asked = 0;
  let app: RelyingParty;
  /** Stands in for safeFetch on the public internet: what is asked of `app.example` ends at the local listener. */
  let fromHost: typeof fetch;

  before(async () => {
    host = createServer((request, reply) => {
      asked += 1;
      answer(request, reply);
    });
    await once(host.listen(0, "127.0.0.1"), "listening");
    const { port } = host.address() as AddressInfo;
    server = await aServer({ TRUSTED_ORIGINS: `http://127.0.0.1:${port}` });
    fromHost = (input, init) => {
      const { pathname } = new URL(input instanceof Request ? input.url : input);
      return server.deps.fetch(`http://127.0.0.1:${port}${pathname}`, init);
    };
    const logo = { logo_uri: "https://app.example/logo.png" };
    app = new RelyingParty(server, await aClient(server, logo));
  });
  after(async () => {
    host.close();
    await server.stop();
  });

  const png: RequestListener = (_request, reply) => reply.end(PNG);
  const client = () => ({ issuer: "", clientId: app.credentials.clientId });
  const find = (now = new Date()) =>
    findLogo({ knex: server.database.knex, fetch: fromHost }, client(), now);
  async function forget(): Promise<void> {
    await server.database.knex("client_logos").delete();
    asked = 0;
  }
  beforeEach(forget);

  it("are fetched once a day, by us", async () => {
    answer = png;
    const now = new Date();
    assert.deepEqual((await find(now))?.bytes, PNG);
    assert.equal((await find(now))?.mediaType, "image/png");
    assert.equal(asked, 1);
    await find(new Date(now.getTime() + 25 * 3_600_000));
    assert.equal(asked, 2);
  });

  it("are fetched once for all who ask at once", async () => {
    answer = (_request, reply) => setTimeout(() => reply.end(PNG), 100);
    const now = new Date();
    const found = await Promise.all(Array.from({ length: 30 }, () => find(now)));
    assert.equal(asked, 1);
    assert.ok(found.every((logo) => logo?.mediaType === "image/png"));
  });

  it("are the last ones where they cannot be had any more", async () => {
    answer = png;
    const now = new Date();
    await find(now);
    answer = (_request, reply) => reply.writeHead(503).end();
    assert.deepEqual((await find(new Date(now.getTime() + 48 * 3_600_000)))?.bytes, PNG);
  });

  it("are fetched again when the client has another address for them", async () => {
    answer = png;
    await find();
    const change = { metadata: { logo_uri: "https://app.example/other.png" } };
    await server.database.knex.transaction((trx) =>
      updateClient(trx, app.credentials.clientId, change, new Date()),
    );
    await find();
    assert.equal(asked, 2);
  });

  for (const [what, body] of [
    ["a script", "<script>alert(1)</script>"],
    ["an SVG", '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'],
    ["a picture of a million pixels a side", wide(1_000_000)],
    ["nothing", ""],
    ["more than 256 kB", Buffer.concat([PNG, Buffer.alloc(300_000)])],
  ] as const)
    it(`are not ${what}, whatever it is called, and nobody asks again at once`, async () => {
      answer = (_request, reply) => {
        reply.setHeader("content-type", "image/png");
        reply.end(body);
      };
      const now = new Date();
      assert.equal(await find(now), undefined);
      assert.equal(await find(now), undefined);
      assert.equal(asked, 1);
    });

  it("come from our own origin, and are nothing but a picture there", async () => {
    answer = png;
    await find();
    const page = await walk(server, new WebBrowser(server), app.authorization());
    const src = /id="client-logo" src="([^"]+)"/.exec(page.text)?.[1] ?? "";
    const picture = await send(server, { path: src });
    assert.equal(picture.status, 200);
    assert.equal(picture.headers["content-type"], "image/png");
    assert.match(String(picture.headers["content-security-policy"]), /default-src 'none'; sandbox/);
    assert.equal((await send(server, { path: "/client-logo/nobody" })).status, 404);
  });
});
