import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { notesApi } from "../../docs/examples/notes-api.ts";
import { Session } from "../../src/models/session.ts";
import { anApi, signedIn } from "../support/api.ts";
import { json, response, walk } from "../support/rp.ts";
import { aServer, freePort, type TestServer } from "../support/server.ts";

/** The API of docs/resources.md, run as it is printed there. */
describe("an API that verifies JWT access tokens", () => {
  let server: TestServer;
  let api: Server;
  let identifier: string;
  before(async () => {
    server = await aServer();
    const port = await freePort();
    identifier = `http://localhost:${port}/`;
    api = notesApi(server.issuer, identifier);
    await once(api.listen(port, "localhost"), "listening");
    assert.equal((api.address() as AddressInfo).port, port);
    await anApi(server, { identifier });
  });
  after(async () => {
    api.close();
    await server.stop();
  });

  const call = async (token: string | undefined, method = "GET") => {
    const answer = await fetch(identifier, {
      method,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
    const challenge = answer.headers.get("www-authenticate") ?? "";
    return { status: answer.status, challenge, body: (await answer.json()) as object };
  };
  const aToken = async (scope: string) => {
    const visit = await signedIn(server, { scope, resource: identifier });
    const tokens = json(await visit.app.redeem(visit.code, { resource: identifier }));
    return { ...visit, token: String(tokens["access_token"]), tokens };
  };

  it("is the one of the documentation", () => {
    const root = new URL("../../docs/", import.meta.url);
    const code = readFileSync(new URL("examples/notes-api.ts", root), "utf8");
    assert.ok(readFileSync(new URL("resources.md", root), "utf8").includes(code));
  });

  it("says of itself where tokens for it come from (RFC 9728 §3.2)", async () => {
    const { challenge } = await call(undefined);
    const [, address = ""] = /resource_metadata="([^"]+)"/.exec(challenge) ?? [];
    const metadata = (await (await fetch(address)).json()) as Record<string, unknown>;
    assert.equal(metadata["resource"], identifier);
    assert.deepEqual(metadata["authorization_servers"], [server.issuer]);
  });

  it("serves whoever has a token with the right scope (RFC 6750 §2.1)", async () => {
    const { token, user } = await aToken("openid read");
    assert.deepEqual((await call(token)).body, { notesOf: user.id });
  });

  it("answers 401 without a token (RFC 6750 §3)", async () => {
    assert.equal((await call(undefined)).status, 401);
  });

  it("answers invalid_token to an ID token (RFC 9068 §4)", async () => {
    const { tokens } = await aToken("openid read");
    const { status, challenge } = await call(String(tokens["id_token"]));
    assert.equal(status, 401);
    assert.match(challenge, /invalid_token/);
  });

  it("answers insufficient_scope where the scope is too small (RFC 6750 §3.1)", async () => {
    const { token } = await aToken("openid read");
    const { status, challenge } = await call(token, "DELETE");
    assert.equal(status, 403);
    assert.match(challenge, /insufficient_scope/);
  });

  it("asks for a recent sign-in, and is satisfied by one (RFC 9470 §3, §4)", async () => {
    const { app, browser, user } = await aToken("openid write");
    await Session.query(server.database.knex)
      .patch({ loggedInAt: new Date(Date.now() - 3_600_000) })
      .where({ userId: user.id });
    const ask = async (changes: Record<string, string>) => {
      const asked = app.authorization({ scope: "openid write", resource: identifier, ...changes });
      const back = await walk(server, browser, asked, user);
      const answer = await app.redeem(response(back)["code"] ?? "", { resource: identifier });
      return String(json(answer)["access_token"]);
    };
    const refused = await call(await ask({}), "DELETE");
    assert.equal(refused.status, 401);
    assert.match(refused.challenge, /error="insufficient_user_authentication", max_age=300/);
    assert.equal((await call(await ask({ max_age: "300" }), "DELETE")).status, 200);
  });
});
