import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

/**
 * What a request costs: the statements it runs beside BEGIN and COMMIT. A number that falls is good news and belongs
 * here; a number that rises must be worth it.
 */
const COSTS: Readonly<Record<string, number>> = {
  "authorization request": 1,
  "identifier page": 2,
  "identifier form": 2,
  "password page": 2,
  "password form": 7,
  "consent page": 2,
  "consent form": 8,
  "code after sign-in": 6,
  "token: code": 4,
  "token: refresh": 3,
  userinfo: 1,
  introspection: 1,
  "silent sign-in": 2,
  discovery: 0,
};

const VERIFIER = "a".repeat(43);
const CHALLENGE = "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA";

describe("costs: statements of one request", () => {
  let server: TestServer;
  let statements = 0;
  const measured: Record<string, number> = {};

  before(async () => {
    server = await aServer();
    server.deps.knex.on("query", ({ sql }: { sql: string }) => {
      if (!/^(BEGIN|COMMIT|ROLLBACK)/i.test(sql)) statements += 1;
    });
  });
  after(() => server.stop());

  async function measure<T>(name: string, request: () => Promise<T>): Promise<T> {
    statements = 0;
    const result = await request();
    measured[name] = statements;
    return result;
  }

  it("stay what they are", async () => {
    const user = await aUser(server);
    const client = await aClient(server);
    const authorization = `${server.issuer}/auth?${new URLSearchParams({
      client_id: client.clientId,
      redirect_uri: client.redirectUri,
      response_type: "code",
      scope: "openid email",
      code_challenge: CHALLENGE,
      code_challenge_method: "S256",
    })}`;
    const visitor = new Visitor({ follows: false });
    const next = () => String(visitor.location);

    const post = async (path: string, fields: Record<string, string>) => {
      const response = await fetch(`${server.issuer}${path}`, {
        method: "POST",
        headers: { authorization: `Basic ${btoa(`${client.clientId}:${client.clientSecret}`)}` },
        body: new URLSearchParams(fields),
      });
      assert.equal(response.status, 200, path);
      return (await response.json()) as Record<string, string>;
    };

    // The notification that the client is new empties the cache of clients; what follows finds it filled.
    await delay(200);
    await visitor.open(authorization);
    await measure("authorization request", () => visitor.open(authorization));
    const interaction = next();
    await measure("identifier page", () => visitor.open(interaction));
    await measure("identifier form", () => visitor.submit({ username: user.email }));
    await measure("password page", () => visitor.open(next()));
    await measure("password form", () => visitor.submit({ password: PASSWORD }));
    await measure("consent page", () => visitor.open(next()));
    await measure("consent form", () => visitor.submit({ decision: "allow", scope: "email" }));
    await measure("code after sign-in", () => visitor.open(next()));
    const code = new URL(next()).searchParams.get("code") ?? "";
    const tokens = await measure("token: code", () =>
      post("/token", {
        grant_type: "authorization_code",
        code,
        redirect_uri: client.redirectUri,
        code_verifier: VERIFIER,
      }),
    );
    const refreshed = await measure("token: refresh", () =>
      post("/token", { grant_type: "refresh_token", refresh_token: tokens["refresh_token"] ?? "" }),
    );
    const token = refreshed["access_token"] ?? "";
    await measure("userinfo", async () => {
      const response = await fetch(`${server.issuer}/me`, {
        headers: { authorization: `Bearer ${token}` },
      });
      assert.equal(response.status, 200);
    });
    await measure("introspection", () => post("/token/introspection", { token }));
    await measure("silent sign-in", () => visitor.open(`${authorization}&prompt=none`));
    assert.match(next(), /[?&]code=/);
    await measure("discovery", async () =>
      fetch(`${server.issuer}/.well-known/openid-configuration`),
    );
    assert.deepEqual(measured, COSTS);
  });
});
