import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import {
  compactDecrypt,
  createRemoteJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  jwtVerify,
  type JWTPayload,
} from "jose";
import { LogoutNotice } from "../../src/models/logout-notice.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { disableUser } from "../../src/users/users.ts";
import { json, RelyingParty, response, send, walk, WebBrowser, xsrfOf } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import { aKey, now } from "../support/signing.ts";

/** What a client's server was sent. */
interface Received {
  readonly method: string;
  readonly type: string;
  readonly body: string;
  readonly token: string;
}

/** OIDC Back-Channel Logout 1.0. */
describe("back-channel logout", () => {
  let server: TestServer;
  let listener: Server;
  let origin: string;
  let keys: ReturnType<typeof createRemoteJWKSet>;
  /** What came to each path, and how it is answered next. */
  const received = new Map<string, Received[]>();
  const answers = new Map<string, number[]>();
  let clients = 0;

  before(async () => {
    server = await aServer();
    keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`));
    listener = createServer((request, reply) => {
      void text(request).then((body) => {
        const { url = "", method = "", headers } = request;
        const token = new URLSearchParams(body).get("logout_token") ?? "";
        const type = headers["content-type"] ?? "";
        received.set(url, [...(received.get(url) ?? []), { method, type, body, token }]);
        const status = answers.get(url)?.shift() ?? 200;
        reply.writeHead(status, status === 302 ? { location: `${origin}/elsewhere` } : {}).end();
      });
    });
    await once(listener.listen(0, "127.0.0.1"), "listening");
    origin = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  });
  after(async () => {
    listener.close();
    await server.stop();
  });

  interface Party {
    readonly app: RelyingParty;
    readonly path: string;
  }

  async function register(metadata: Record<string, unknown> = {}): Promise<Party> {
    const path = `/logout/${(clients += 1)}`;
    const client = await aClient(server, {
      first_party: true,
      backchannel_logout_uri: origin + path,
      backchannel_logout_session_required: true,
      ...metadata,
    });
    return { app: new RelyingParty(server, client), path };
  }

  async function signIn(
    { app }: Party,
    user: { id: string; email: string },
    browser = new WebBrowser(server),
  ): Promise<{ browser: WebBrowser; idToken: JWTPayload }> {
    const answer = await walk(server, browser, app.authorization(), user);
    const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
    return { browser, idToken: decodeJwt(String(tokens["id_token"])) };
  }

  async function signOut(browser: WebBrowser, how: "yes" | "" = "yes", query = "") {
    const page = await browser.open(`/session/end${query}`);
    const xsrf = xsrfOf(page);
    return browser.submit("/session/end/confirm", how === "yes" ? { xsrf, logout: how } : { xsrf });
  }

  /** What has been queued for a client: with the logout, in its transaction. */
  async function notices({ app }: Party): Promise<LogoutNotice[]> {
    const { knex } = server.database;
    const row = await OAuthClient.query(knex).findOne({ clientId: app.credentials.clientId });
    return LogoutNotice.query(knex).where({ clientId: row?.id ?? "" });
  }

  /** What a client was sent, as soon as all is settled. */
  async function told(party: Party): Promise<Received[]> {
    for (let tries = 0; tries < 300; tries += 1) {
      const rows = await notices(party);
      if (rows.length > 0 && rows.every(({ status }) => status !== "queued"))
        return received.get(party.path) ?? [];
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    throw new Error("notices are still queued");
  }

  it("is in discovery, with sessions (Back-Channel Logout §2.1)", async () => {
    const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    assert.equal(metadata["backchannel_logout_supported"], true);
    assert.equal(metadata["backchannel_logout_session_supported"], true);
  });

  describe("sends a token", () => {
    let party: Party;
    let idToken: JWTPayload;
    let sent: Received;
    let payload: JWTPayload;
    before(async () => {
      party = await register();
      const signedIn = await signIn(party, await aUser(server));
      ({ idToken } = signedIn);
      await signOut(signedIn.browser);
      const [only] = await told(party);
      assert.ok(only);
      sent = only;
      ({ payload } = await jwtVerify(sent.token, keys));
    });

    it("by POST, as the only field of a form (Back-Channel Logout §2.5)", () => {
      assert.equal(sent.method, "POST");
      assert.match(sent.type, /^application\/x-www-form-urlencoded/);
      assert.match(sent.body, /^logout_token=[^&]+$/);
    });

    it("once (Back-Channel Logout §2.5)", () => {
      assert.equal(received.get(party.path)?.length, 1);
    });

    it("that says that it is a logout token (Back-Channel Logout §2.4)", () => {
      assert.equal(decodeProtectedHeader(sent.token).typ, "logout+jwt");
    });

    it("of this issuer (Back-Channel Logout §2.4)", () => {
      assert.equal(payload.iss, server.issuer);
    });

    it("for the client that it is sent to (Back-Channel Logout §2.4)", () => {
      assert.equal(payload.aud, party.app.credentials.clientId);
    });

    it("about the person as the client knows them (Back-Channel Logout §2.4)", () => {
      assert.equal(payload.sub, idToken.sub);
    });

    it("about the session as the client knows it (Back-Channel Logout §2.1, §2.4)", () => {
      assert.ok(idToken["sid"]);
      assert.equal(payload["sid"], idToken["sid"]);
    });

    it("with the event, and an empty object to it (Back-Channel Logout §2.4)", () => {
      const events = { "http://schemas.openid.net/event/backchannel-logout": {} };
      assert.deepEqual(payload["events"], events);
    });

    it("without a nonce, so that it is never an ID token (Back-Channel Logout §2.4)", () => {
      assert.equal("nonce" in payload, false);
    });

    it("issued now (Back-Channel Logout §2.4)", () => {
      assert.ok(Math.abs(Number(payload.iat) - now()) < 60);
    });

    it("that is good for two minutes at most (Back-Channel Logout §2.4)", () => {
      const life = Number(payload.exp) - Number(payload.iat);
      assert.ok(life > 0 && life <= 120);
    });

    it("with a name of its own (Back-Channel Logout §2.4)", () => {
      assert.match(String(payload.jti), /^[\w-]{20,}$/);
    });

    it("that opens nothing here (Back-Channel Logout §4)", async () => {
      assert.equal((await party.app.userinfo(sent.token)).status, 401);
    });
  });

  describe("sends a token to the client", () => {
    it("about the person under its own subject (Back-Channel Logout §2.4, OIDC Core §8.1)", async () => {
      const party = await register({ subject_type: "pairwise" });
      const user = await aUser(server);
      const { browser, idToken } = await signIn(party, user);
      await signOut(browser);
      const [sent] = await told(party);
      assert.equal(decodeJwt(sent?.token ?? "").sub, idToken.sub);
      assert.notEqual(idToken.sub, user.id);
    });

    it("signed with the algorithm of its ID tokens (Back-Channel Logout §2.4)", async () => {
      const party = await register({ id_token_signed_response_alg: "RS256" });
      await signOut((await signIn(party, await aUser(server))).browser);
      const [sent] = await told(party);
      const { protectedHeader } = await jwtVerify(sent?.token ?? "", keys);
      assert.equal(protectedHeader.alg, "RS256");
    });

    it("encrypted if its ID tokens are (Back-Channel Logout §2.4)", async () => {
      const key = await aKey("ECDH-ES");
      const party = await register({
        jwks: { keys: [key.jwk] },
        id_token_encrypted_response_alg: "ECDH-ES",
        id_token_encrypted_response_enc: "A128GCM",
      });
      const browser = new WebBrowser(server);
      await walk(server, browser, party.app.authorization(), await aUser(server)).then((answer) =>
        party.app.redeem(response(answer)["code"] ?? ""),
      );
      await signOut(browser);
      const [sent] = await told(party);
      const { plaintext } = await compactDecrypt(sent?.token ?? "", key.privateKey);
      const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), keys);
      assert.ok(payload["events"]);
    });

    it("without the session if it does not want it (Back-Channel Logout §2.2, §2.4)", async () => {
      const party = await register({ backchannel_logout_session_required: false });
      const { browser, idToken } = await signIn(party, await aUser(server));
      await signOut(browser);
      const [sent] = await told(party);
      const payload = decodeJwt(sent?.token ?? "");
      assert.equal(payload["sid"], undefined);
      assert.equal(payload.sub, idToken.sub, "but one of both");
    });
  });

  describe("tells", () => {
    it("every client of the session, each of its own part in it (Back-Channel Logout §2.3)", async () => {
      const [one, two] = [await register(), await register()];
      const user = await aUser(server);
      const first = await signIn(one, user);
      const second = await signIn(two, user, first.browser);
      await signOut(first.browser);
      for (const [party, { idToken }] of [
        [one, first],
        [two, second],
      ] as const) {
        const [sent] = await told(party);
        const payload = decodeJwt(sent?.token ?? "");
        assert.equal(payload.aud, party.app.credentials.clientId);
        assert.equal(payload["sid"], idToken["sid"]);
      }
    });

    it("of that session and no other (Back-Channel Logout §2.1, §2.3)", async () => {
      const party = await register();
      const user = await aUser(server);
      const [here, there] = [await signIn(party, user), await signIn(party, user)];
      assert.notEqual(here.idToken["sid"], there.idToken["sid"]);
      await signOut(here.browser);
      const sids = (await told(party)).map(({ token }) => decodeJwt(token)["sid"]);
      assert.deepEqual(sids, [here.idToken["sid"]]);
    });

    it("no client that did not ask (Back-Channel Logout §2.2)", async () => {
      const [asked, silent] = [
        await register(),
        await register({
          backchannel_logout_uri: undefined,
          backchannel_logout_session_required: false,
        }),
      ];
      const user = await aUser(server);
      const { browser } = await signIn(asked, user);
      await signIn(silent, user, browser);
      await signOut(browser);
      await told(asked);
      assert.deepEqual(await notices(silent), []);
    });

    it("no client in which the person was not (Back-Channel Logout §2.3)", async () => {
      const [inside, outside] = [await register(), await register()];
      const { browser } = await signIn(inside, await aUser(server));
      await signIn(outside, await aUser(server));
      await signOut(browser);
      await told(inside);
      assert.deepEqual(await notices(outside), []);
    });

    it("nobody when the person stays (Back-Channel Logout §2.3)", async () => {
      const party = await register();
      const { browser } = await signIn(party, await aUser(server));
      await signOut(browser, "");
      assert.deepEqual(await notices(party), []);
    });

    it("one client when the person leaves that one only (Back-Channel Logout §2.3)", async () => {
      const [left, kept] = [await register(), await register()];
      const user = await aUser(server);
      const { browser } = await signIn(left, user);
      await signIn(kept, user, browser);
      await signOut(browser, "", `?client_id=${left.app.credentials.clientId}`);
      assert.equal((await told(left)).length, 1);
      assert.deepEqual(await notices(kept), []);
    });

    it("them as well when an operator ends every session of a person (Back-Channel Logout §2.3)", async () => {
      const party = await register();
      const user = await aUser(server);
      await signIn(party, user);
      await server.database.knex.transaction((trx) => disableUser(trx, user.id, {}, new Date()));
      const [sent] = await told(party);
      assert.equal(decodeJwt(sent?.token ?? "").sub, user.id);
    });
  });

  describe("takes as done", () => {
    for (const status of [200, 204])
      it(`an answer ${status} (Back-Channel Logout §2.8)`, async () => {
        const party = await register();
        answers.set(party.path, [status]);
        await signOut((await signIn(party, await aUser(server))).browser);
        assert.equal((await told(party)).length, 1);
        assert.equal((await notices(party))[0]?.status, "delivered");
      });

    describe("not", () => {
      const failed = new Map<number, Party>();
      before(async () => {
        await Promise.all(
          [400, 500, 302].map(async (status) => {
            const party = await register();
            failed.set(status, party);
            answers.set(party.path, [status]);
            await signOut((await signIn(party, await aUser(server))).browser);
            await told(party);
          }),
        );
      });

      for (const status of [400, 500, 302])
        it(`an answer ${status}, and tries again with another token (Back-Channel Logout §2.5, §2.8)`, async () => {
          const party = failed.get(status) ?? assert.fail();
          const tokens = (await told(party)).map(({ token }) => decodeJwt(token).jti);
          assert.equal(new Set(tokens).size, 2);
          const [notice] = await notices(party);
          assert.deepEqual([notice?.status, notice?.attempts], ["delivered", 2]);
        });

      it("what another address answers, to which it is not led (Back-Channel Logout §2.8)", () => {
        assert.equal(received.get("/elsewhere"), undefined);
      });
    });
  });

  describe("is registered", () => {
    for (const [what, uri] of [
      ["with a fragment", "https://rp.example/logout#a"],
      ["over http on another machine", "http://rp.example/logout"],
      ["that is not absolute", "/logout"],
    ] as const)
      it(`at no address ${what} (Back-Channel Logout §2.2)`, async () => {
        await assert.rejects(register({ backchannel_logout_uri: uri }), /backchannel_logout_uri/);
      });

    it("with sessions at an address only (Back-Channel Logout §2.2)", async () => {
      await assert.rejects(
        register({ backchannel_logout_uri: undefined }),
        /backchannel_logout_uri/,
      );
    });
  });
});
