import assert from "node:assert/strict";
import { aProcess } from "../support/process.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Target,
} from "../support/rp.ts";
import { aClient, aUser, type TestServer } from "../support/server.ts";

const PRODUCTION = {
  NODE_ENV: "production",
  ISSUER: "https://id.example",
  HOST: "127.0.0.1",
  METRICS_PORT: "0",
  TRUSTED_PROXIES: "1",
  SMTP_URL: "smtp://127.0.0.1:9",
};

/**
 * The engine prints on the console what an operator of it should have decided and did not: some of it at the start,
 * most of it when a default is first needed. Nothing is left to it.
 */
describe("what the engine has to say", () => {
  for (const [name, settings] of Object.entries({ development: {}, production: PRODUCTION })) {
    it(`is nothing in ${name}, from the start through everything that can be asked of it`, async () => {
      const server = await aProcess(settings);
      try {
        await askEverything(server);
        assert.equal(await server.end("SIGTERM"), 0);
        const { out, err } = server.printed();
        assert.match(out, /"msg":"request"/);
        assert.doesNotMatch(out + err, /oidc-provider|NOTICE|WARNING/);
        assert.equal(err, "");
        const lines = out.split("\n").filter((line) => line.trim() !== "");
        // In production there is a log, and nothing beside it.
        if (name === "production")
          for (const line of lines) assert.doesNotThrow(() => JSON.parse(line), line);
      } finally {
        await server.dispose();
      }
    });
  }
});

/** Passes every endpoint of the engine once, in success and in failure. */
async function askEverything(server: Target & Pick<TestServer, "database">): Promise<void> {
  const forwarded = server.issuer.startsWith("https:")
    ? { "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https" }
    : {};
  const get = (path: string, headers = {}) =>
    send(server, { path, headers: { ...forwarded, ...headers } });
  const client = await aClient(server, { cors_origins: ["https://rp.example"] });
  const app = new RelyingParty(server, client);
  const user = await aUser(server);
  const browser = new WebBrowser(server, forwarded);
  const authenticated = {
    ...forwarded,
    authorization: `Basic ${btoa(`${client.clientId}:${client.clientSecret}`)}`,
  };
  const post = (path: string, fields: Record<string, string>) =>
    send(server, { path, fields, headers: authenticated });

  assert.equal((await get("/.well-known/openid-configuration")).status, 200);
  assert.equal((await get("/jwks")).status, 200);
  assert.equal((await get("/nowhere")).status, 404);
  const preflight = await send(server, {
    path: "/token",
    method: "OPTIONS",
    headers: {
      ...forwarded,
      origin: "https://rp.example",
      "access-control-request-method": "POST",
    },
  });
  assert.equal(preflight.status, 204);

  const pushed = json(
    await send(server, {
      path: "/request",
      fields: app.parameters({ scope: "openid email offline_access", prompt: "consent" }),
      headers: authenticated,
    }),
  );
  const { code = "" } = response(
    await walk(
      server,
      browser,
      `/auth?${new URLSearchParams({ client_id: client.clientId, request_uri: String(pushed["request_uri"]) })}`,
      user,
    ),
  );
  const redeemed = await app.redeem(code, {}, authenticated);
  assert.equal(redeemed.status, 200);
  const tokens = json(redeemed);
  const refresh = () =>
    post("/token", { grant_type: "refresh_token", refresh_token: String(tokens["refresh_token"]) });
  const refreshed = json(await refresh());
  const accessToken = String(refreshed["access_token"]);
  const userinfo = await get("/me", {
    authorization: `Bearer ${accessToken}`,
    origin: "https://rp.example",
  });
  assert.equal(userinfo.status, 200);
  assert.equal((await get("/me", { authorization: "Bearer nothing" })).status, 401);
  assert.equal(json(await post("/token/introspection", { token: accessToken }))["active"], true);
  assert.equal((await post("/token/revocation", { token: accessToken })).status, 200);
  assert.equal(errorOf(await post("/token", { grant_type: "password" })), "unsupported_grant_type");

  const silent = await browser.open(app.authorization({ prompt: "none", scope: "openid email" }));
  assert.ok(response(silent)["code"]);
  const wrong = await browser.open(app.authorization({ redirect_uri: "https://evil.example/" }));
  assert.equal(errorOf(wrong), "invalid_redirect_uri");

  const page = await browser.open(`/session/end?id_token_hint=${String(tokens["id_token"])}`);
  assert.equal(page.page, "logout");
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? "";
  const done = await browser.submit("/session/end/confirm", { xsrf, logout: "yes" });
  assert.equal(done.status, 303);
  assert.equal((await browser.open(done.location ?? "")).page, "signed-out");
}
