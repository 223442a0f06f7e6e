import assert from "node:assert/strict";
import { issueSetupLink } from "../../src/setup/setup-link.ts";
import { ask, authorizationUrl, beginSignIn, submit } from "../support/raw.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

describe("the request log (C33)", () => {
  let server: TestServer;
  before(async () => {
    server = await aServer({ LOG_LEVEL: "trace" });
  });
  after(() => server.stop());

  const lines = () =>
    server
      .logged()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  it("has one line a request, with the reference that the answer carries", async () => {
    const answer = await ask(`${server.issuer}/nowhere?secret=1`, {
      headers: {
        "User-Agent": "a-telling-agent",
        Referer: "https://rp.example/private",
        Cookie: "a=b",
      },
    });
    const reference = answer.headers["x-correlation-id"];
    const own = lines().filter(({ correlationId }) => correlationId === reference);
    assert.equal(own.length, 1);
    const [line = {}] = own;
    assert.equal(line["method"], "GET");
    assert.equal(line["path"], "/nowhere");
    assert.equal(line["status"], 404);
    assert.equal(typeof line["ms"], "number");
    assert.doesNotMatch(JSON.stringify(line), /secret|telling|private|127\.0\.0|a=b/);
  });

  it("gives a request no reference that somebody else chose", async () => {
    const answer = await ask(`${server.issuer}/healthz`, {
      headers: { "X-Correlation-Id": "chosen", "X-Request-Id": "chosen" },
    });
    assert.notEqual(answer.headers["x-correlation-id"], "chosen");
    assert.doesNotMatch(server.logged(), /chosen/);
  });

  it("has no uid, query, cookie, password, code, address or name of a whole sign-in", async () => {
    const client = await aClient(server);
    const user = await aUser(server, { displayName: "Augusta Ada King" });
    const { address, cookies } = await beginSignIn(server.issuer, client, {
      login_hint: user.email,
      state: "a-very-secret-state",
    });
    const headers = { Cookie: cookies, "User-Agent": "a-telling-agent" };
    await ask(`${address}?ui_lang=de&next=private-query`, { headers });
    await submit(address, { username: user.email }, headers);
    await submit(`${address}/password`, { password: "a wrong password" }, headers);
    const done = await submit(
      `${address}/password`,
      { password: PASSWORD, remember: "1" },
      headers,
    );
    assert.equal(done.status, 303);
    await submit(`${address}/consent`, { decision: "allow" }, headers);
    const uid = address.split("/").at(-1) ?? "";
    const resumed = await ask(`${server.issuer}/auth/${uid}`, { headers });
    const code = /[?&]code=([^&]+)/.exec(resumed.headers.location ?? "")?.[1] ?? "";
    assert.notEqual(code, "", "the sign-in is complete");
    await submit(`${server.issuer}/token`, {
      grant_type: "authorization_code",
      code,
      redirect_uri: client.redirectUri,
      code_verifier: "v".repeat(43),
      client_id: client.clientId,
      client_secret: client.clientSecret,
    });
    const setup =
      (await issueSetupLink(server.database.knex, server.deps.config, new Date())) ?? "";
    await ask(setup);
    await ask(
      authorizationUrl(server.issuer, { ...client, redirectUri: "https://evil.example/private" }),
    );
    await ask(`${server.issuer}/interaction/${uid}/`, { headers });
    await ask(`${server.issuer}//interaction/${uid}`, { headers });

    await ask(`${server.issuer}/interaction/short-uid/password`, { headers });

    const log = server.logged();
    const secrets = {
      uid,
      short: "short-uid",
      query: "private-query",
      state: "a-very-secret-state",
      hint: user.email,
      local: user.email.split("@")[0] ?? "",
      name: "Augusta",
      password: PASSWORD,
      wrong: "a wrong password",
      code,
      verifier: "v".repeat(43),
      secret: client.clientSecret,
      setup: setup.split("/").at(-1) ?? "",
      agent: "a-telling-agent",
      redirect: "evil.example",
      address: "127.0.0.1",
      ...Object.fromEntries(
        cookies.split("; ").map((cookie) => [cookie, cookie.split("=")[1] ?? ""]),
      ),
    };
    for (const [what, secret] of Object.entries(secrets)) {
      assert.ok(secret.length > 3, `${what} is something`);
      assert.ok(!log.includes(secret), `${what} is in the log`);
    }
    assert.match(log, /"path":"\/interaction\/:id\/password"/);
    assert.match(log, /"path":"\/auth\/:id"/);
    assert.match(log, /"path":"\/setup\/:id"/);
  });
});
