import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";
import { LogoutNotice } from "../../src/models/logout-notice.ts";
import { disableUser } from "../../src/users/users.ts";
import { json, RelyingParty, response, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

/** OIDC Back-Channel Logout 1.0. */
describe("back-channel logout", () => {
  let server: TestServer;
  let listener: Server;
  let address: string;
  /** What the client's server was sent, and how it answers next. */
  const received: { token: string; type: string; raw: string }[] = [];
  const answers: number[] = [];

  before(async () => {
    server = await aServer();
    listener = createServer((request, reply) => {
      void text(request).then((body) => {
        received.push({
          token: new URLSearchParams(body).get("logout_token") ?? "",
          type: request.headers["content-type"] ?? "",
          raw: body,
        });
        reply.writeHead(answers.shift() ?? 200).end();
      });
    });
    await once(listener.listen(0, "127.0.0.1"), "listening");
    address = `http://127.0.0.1:${(listener.address() as AddressInfo).port}/logout`;
  });
  after(async () => {
    listener.close();
    await server.stop();
  });

  async function signedIn(metadata: Record<string, unknown> = {}) {
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    const client = await aClient(server, {
      first_party: true,
      backchannel_logout_uri: address,
      backchannel_logout_session_required: true,
      ...metadata,
    });
    const app = new RelyingParty(server, client);
    const answer = await walk(server, browser, app.authorization(), user);
    const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
    return { user, browser, app, client, idToken: decodeJwt(String(tokens["id_token"])) };
  }

  async function signOut(browser: WebBrowser, how: "yes" | "" = "yes") {
    const page = await browser.open("/session/end");
    const [, xsrf = ""] = /name="xsrf" value="([^"]+)"/.exec(page.text) ?? [];
    return browser.submit("/session/end/confirm", how === "yes" ? { xsrf, logout: how } : { xsrf });
  }

  async function settled(count: number): Promise<LogoutNotice[]> {
    for (let tries = 0; tries < 200; tries += 1) {
      const rows = await LogoutNotice.query(server.database.knex).orderBy("createdAt");
      if (rows.length >= count && rows.every(({ status }) => status !== "queued")) return rows;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("notices are still queued");
  }

  it("tells each client with a logout token of its own (§2.4, §2.5)", async () => {
    const { browser, client, idToken } = await signedIn();
    assert.equal((await signOut(browser)).status, 303);
    await settled(1);
    const [notice] = received.splice(0);
    assert.match(notice?.type ?? "", /^application\/x-www-form-urlencoded/);
    assert.match(notice?.raw ?? "", /^logout_token=[^&]+$/);
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`));
    const { payload } = await jwtVerify(notice?.token ?? "", keys, {
      issuer: server.issuer,
      audience: client.clientId,
      requiredClaims: ["iat", "exp", "jti", "events", "sub", "sid"],
    });
    assert.equal(decodeProtectedHeader(notice?.token ?? "").typ, "logout+jwt");
    assert.deepEqual(payload["events"], {
      "http://schemas.openid.net/event/backchannel-logout": {},
    });
    assert.equal(payload.sub, idToken.sub);
    assert.equal(payload["sid"], idToken["sid"]);
    assert.equal(payload["nonce"], undefined, "an ID token is never taken for it (§2.4)");
    assert.ok((payload.exp ?? 0) - (payload.iat ?? 0) <= 300);
  });

  it("tries again until the client has it, with another token each time, and writes down how it went", async () => {
    answers.push(500);
    const { browser } = await signedIn();
    await signOut(browser);
    const rows = await settled(2);
    const last = rows.at(-1);
    assert.equal(last?.status, "delivered");
    assert.equal(last?.attempts, 2);
    const tokens = received.splice(0).map(({ token }) => decodeJwt(token).jti);
    assert.equal(new Set(tokens).size, 2);
  });

  it("leaves clients alone that did not ask, and people who stay signed in", async () => {
    const { browser } = await signedIn({
      backchannel_logout_uri: undefined,
      backchannel_logout_session_required: false,
    });
    await signOut(browser);
    const other = await signedIn();
    await signOut(other.browser, "");
    await settled(2);
    assert.equal(received.length, 0);
  });

  it("tells them as well when an operator ends every session of a user", async () => {
    const { user } = await signedIn();
    const before = (await settled(2)).length;
    await server.database.knex.transaction((trx) => disableUser(trx, user.id, {}, new Date()));
    await settled(before + 1);
    assert.equal(decodeJwt(received.splice(0)[0]?.token ?? "").sub, user.id);
  });
});
