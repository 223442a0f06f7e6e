import assert from "node:assert/strict";
import { rotate } from "../../src/keys/rotation.ts";
import { json, send, type Answer } from "../support/rp.ts";
import { aServer, type TestServer } from "../support/server.ts";

const DISCOVERY = "/.well-known/openid-configuration";

describe("key sets and metadata, prepared", () => {
  let server: TestServer;
  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());

  const lines = (path: string): number => server.logged().split(`"path":"${path}"`).length - 1;
  const constant = ({ headers, text }: Answer): object => {
    const { date: _date, "x-correlation-id": _id, ...others } = headers;
    return { headers: others, text };
  };

  it("are the same answer the second time, with a reference of its own and no work", async () => {
    for (const path of ["/jwks", DISCOVERY, "/.well-known/oauth-authorization-server"]) {
      const [first, second] = [await send(server, { path }), await send(server, { path })];
      assert.deepEqual(constant(second), constant(first), path);
      assert.notEqual(second.headers["x-correlation-id"], first.headers["x-correlation-id"]);
      assert.equal(lines(path), 1, path);
    }
  });

  it("are left to the engine where scripts of other origins ask (CORS), and where it is no GET", async () => {
    const origin = "https://app.example";
    const asked = await send(server, { path: DISCOVERY, headers: { origin } });
    assert.equal(asked.headers["access-control-allow-origin"], origin);
    const { headers } = await send(server, { path: DISCOVERY });
    assert.equal(headers["access-control-allow-origin"], "*");
    const head = await send(server, { path: "/jwks", method: "HEAD" });
    assert.deepEqual([head.status, head.text], [200, ""]);
    assert.equal((await send(server, { path: "/jwks", method: "DELETE" })).status, 404);
    assert.equal((await send(server, { path: `${DISCOVERY}?x=1` })).status, 200);
  });

  it("change with the keys", async () => {
    const kids = async (): Promise<unknown[]> => {
      const { keys } = json(await send(server, { path: "/jwks" }));
      return (keys as { kid: string }[]).map(({ kid }) => kid);
    };
    const before = await kids();
    const { knex } = server.database;
    await knex.transaction(async (trx) => {
      await rotate(trx, server.deps.seal, new Date());
      await trx.raw("NOTIFY lintel_keys");
    });
    let after = before;
    for (let tries = 0; after.length === before.length && tries < 100; tries += 1)
      after = await kids();
    assert.ok(after.length > before.length);
  });
});
