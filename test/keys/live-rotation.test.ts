import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from "jose";
import { request } from "undici";
import { advance, rotate } from "../../src/keys/rotation.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

const VERIFIER = "a".repeat(43);
const CHALLENGE = "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA";

describe("keys: rotation while two nodes answer", () => {
  let server: TestServer;
  let origins: string[];
  before(async () => {
    server = await aServer();
    origins = [server.issuer, (await server.another()).origin];
  });
  after(() => server.stop());

  async function ask(origin: string, path: string, form?: Record<string, string>, secret = "") {
    const response = await request(`${origin}${path}`, {
      method: form === undefined ? "GET" : "POST",
      headers: {
        host: new URL(server.issuer).host,
        authorization: `Basic ${btoa(secret)}`,
        "content-type": "application/x-www-form-urlencoded",
      },
      ...(form === undefined ? {} : { body: new URLSearchParams(form).toString() }),
    });
    const body = (await response.body.json()) as Record<string, string>;
    assert.equal(response.statusCode, 200, JSON.stringify(body));
    return body;
  }

  const keySet = async (origin: string) => (await ask(origin, "/jwks")) as unknown as JSONWebKeySet;

  it("publishes a key on every node before any signs with it, and no token fails (T-31)", async () => {
    const user = await aUser(server);
    const client = await aClient(server, { first_party: true });
    const secret = `${client.clientId}:${client.clientSecret}`;
    const visitor = new Visitor({ follows: false });
    await visitor.open(
      `${server.issuer}/auth?${new URLSearchParams({
        client_id: client.clientId,
        redirect_uri: client.redirectUri,
        response_type: "code",
        scope: "openid",
        code_challenge: CHALLENGE,
        code_challenge_method: "S256",
      })}`,
    );
    await visitor.open(String(visitor.location));
    await visitor.submit({ username: user.email, password: PASSWORD });
    await visitor.open(String(visitor.location));
    const first = await ask(
      server.issuer,
      "/token",
      {
        grant_type: "authorization_code",
        code: new URL(String(visitor.location)).searchParams.get("code") ?? "",
        redirect_uri: client.redirectUri,
        code_verifier: VERIFIER,
      },
      secret,
    );

    let refreshToken = first["refresh_token"] ?? "";
    const seen: string[] = [];
    let cached = createLocalJWKSet(await keySet(server.issuer));
    let stop = false;
    // A relying party that keeps the key set it read, while tokens come from both nodes in turn.
    const relyingParty = (async () => {
      for (let turn = 0; !stop; turn += 1) {
        const tokens = await ask(
          origins[turn % 2] ?? "",
          "/token",
          { grant_type: "refresh_token", refresh_token: refreshToken },
          secret,
        );
        refreshToken = tokens["refresh_token"] ?? "";
        const idToken = tokens["id_token"] ?? "";
        await jwtVerify(idToken, cached, { issuer: server.issuer, audience: client.clientId });
        seen.push(String(decodeProtectedHeader(idToken).kid));
      }
    })();

    await delay(200);
    const [old] = seen;
    const { knex, seal } = server.deps;
    const { created } = await rotate(knex, seal, new Date(), { lead: 60_000 });
    assert.equal(created.length, 2);
    for (const origin of origins) {
      for (let tries = 0; ; tries += 1) {
        const { keys } = await keySet(origin);
        if (created.every((kid) => keys.some((key) => key.kid === kid))) break;
        assert.ok(tries < 50, "a node did not hear of the new keys");
        await delay(50);
      }
    }
    cached = createLocalJWKSet(await keySet(server.issuer));
    await delay(200);
    assert.deepEqual([...new Set(seen)], [old], "a pending key signs nothing");

    await advance(knex, new Date(Date.now() + 61_000));
    for (let tries = 0; seen.slice(-4).some((kid) => kid === old); tries += 1) {
      assert.ok(tries < 100, "a node still signs with the old key");
      await delay(50);
    }
    await delay(200);
    stop = true;
    await relyingParty;
    assert.equal(new Set(seen).size, 2);
    const { keys } = await keySet(origins[1] ?? "");
    assert.ok(
      keys.some(({ kid }) => kid === old),
      "the old key still verifies what it signed",
    );
  });
});
