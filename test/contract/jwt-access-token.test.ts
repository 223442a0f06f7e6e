import assert from "node:assert/strict";
import { decodeJwt, decodeProtectedHeader, SignJWT } from "jose";
import { OidcArtifact } from "../../src/models/oidc-artifact.ts";
import { aDpopKey, aMachine, anApi, signedIn, verified } from "../support/api.ts";
import { basic, errorOf, json, send, type RelyingParty } from "../support/rp.ts";
import { aServerWith, issuerAt, type TestServer } from "../support/server.ts";

/** The JWT profile for access tokens (RFC 9068). */
describe("JWT access tokens", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let notes: string;
  before(async () => {
    server = await aServerWith({ open: "conformance" });
    open = issuerAt(server, "open");
    notes = await anApi(server);
  });
  after(() => server.stop());

  /** What a client gets for the API, and what the API reads of it. */
  async function aToken(asked = { scope: "openid read", resource: notes }, metadata = {}) {
    const visit = await signedIn(server, asked, metadata);
    const tokens = json(await visit.app.redeem(visit.code, { resource: asked.resource }));
    const { payload, protectedHeader } = await verified(
      server,
      tokens["access_token"],
      asked.resource,
    );
    return { ...visit, tokens, token: String(tokens["access_token"]), payload, protectedHeader };
  }

  it("says what it is: typ is at+jwt (RFC 9068 §2.1)", async () => {
    assert.equal((await aToken()).protectedHeader.typ, "at+jwt");
  });

  it("is signed with an asymmetric algorithm, by a key of the published set (RFC 9068 §2.1)", async () => {
    const { protectedHeader } = await aToken();
    assert.equal(protectedHeader.alg, "ES256");
    assert.ok(protectedHeader.kid);
  });

  it("has iss, exp, aud, sub, client_id, iat and jti (RFC 9068 §2.2)", async () => {
    const { payload, user, client } = await aToken();
    assert.equal(payload.iss, server.issuer);
    assert.equal(payload.aud, notes);
    assert.equal(payload.sub, user.id);
    assert.equal(payload["client_id"], client.clientId);
    assert.ok(Math.abs((payload.iat ?? 0) - Date.now() / 1000) < 10);
    assert.ok(String(payload.jti).length >= 16);
  });

  it("has a jti of its own every time (RFC 9068 §2.2)", async () => {
    const { app, tokens, payload } = await aToken();
    const again = json(
      await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
        resource: notes,
      }),
    );
    assert.notEqual(decodeJwt(String(again["access_token"])).jti, payload.jti);
  });

  it("has the scope that was granted at this API, and nothing of OpenID Connect (RFC 9068 §2.2.3)", async () => {
    const { payload } = await aToken({ scope: "openid email read write", resource: notes });
    assert.deepEqual(String(payload["scope"]).split(" ").toSorted(), ["read", "write"]);
  });

  it("says when and how the person signed in: auth_time, acr, amr (RFC 9068 §2.2.1)", async () => {
    const { payload, tokens } = await aToken();
    const idToken = decodeJwt(String(tokens["id_token"]));
    assert.ok(typeof payload["auth_time"] === "number");
    assert.equal(payload["acr"], idToken["acr"]);
    assert.deepEqual(payload["amr"], ["pwd"]);
  });

  it("keeps auth_time at a refresh: it is the sign-in's, not the token's (RFC 9068 §2.2.1)", async () => {
    const { app, tokens, payload } = await aToken();
    const again = json(
      await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
        resource: notes,
      }),
    );
    const token = await verified(server, again["access_token"], notes);
    assert.equal(token.payload["auth_time"], payload["auth_time"]);
    assert.equal(token.payload["acr"], payload["acr"]);
  });

  it("lives ten minutes unless the API says otherwise", async () => {
    const { payload, tokens } = await aToken();
    assert.equal((payload.exp ?? 0) - (payload.iat ?? 0), 600);
    assert.equal(tokens["expires_in"], 600);
  });

  it("lives as long as the API says", async () => {
    const brief = await anApi(server, { token_lifetime: 60 });
    const { payload, tokens } = await aToken({ scope: "openid read", resource: brief });
    assert.equal((payload.exp ?? 0) - (payload.iat ?? 0), 60);
    assert.equal(tokens["expires_in"], 60);
  });

  it("is signed with the algorithm that the API asks for", async () => {
    const rsa = await anApi(server, { signing_alg: "RS256" });
    const { protectedHeader } = await aToken({ scope: "openid read", resource: rsa });
    assert.equal(protectedHeader.alg, "RS256");
  });

  it("is opaque where the API asks for that", async () => {
    const opaque = await anApi(server, { token_format: "opaque" });
    const { app, code } = await signedIn(server, { scope: "openid read", resource: opaque });
    const tokens = json(await app.redeem(code, { resource: opaque }));
    assert.throws(() => decodeProtectedHeader(String(tokens["access_token"])));
  });

  it("has the client as its subject where it asked for itself (RFC 9068 §2.2)", async () => {
    const app = await aMachine(server);
    const api = await anApi(server, { clients: { [app.credentials.clientId]: null } });
    const tokens = json(
      await app.token({ grant_type: "client_credentials", resource: api, scope: "read" }),
    );
    const { payload } = await verified(server, tokens["access_token"], api);
    assert.equal(payload.sub, app.credentials.clientId);
    assert.equal(payload["client_id"], app.credentials.clientId);
    assert.equal(payload["scope"], "read");
    assert.equal(payload["auth_time"], undefined);
  });

  it("has the pairwise subject of its client's sector (RFC 9068 §6)", async () => {
    const { payload, tokens, user } = await aToken(undefined, { subject_type: "pairwise" });
    assert.notEqual(payload.sub, user.id);
    assert.equal(payload.sub, decodeJwt(String(tokens["id_token"])).sub);
  });

  it("names one issuer: another issuer's API gets it from its own", async () => {
    const theirs = await anApi(server, {}, "open");
    const asked = { scope: "openid read", resource: theirs };
    const { app, code } = await signedIn(server, asked, {}, open, "open");
    const tokens = json(await app.redeem(code, { resource: theirs }));
    const { payload, protectedHeader } = await verified(open, tokens["access_token"], theirs);
    assert.equal(payload.iss, open.issuer);
    assert.equal(protectedHeader.alg, "RS256");
    await assert.rejects(verified(server, tokens["access_token"], theirs));
  });

  it("is not stored: it costs no row", async () => {
    const count = async () => OidcArtifact.query(server.database.knex).resultSize();
    const { app, code } = await signedIn(server, { scope: "openid read", resource: notes });
    const before = await count();
    await app.redeem(code, { resource: notes });
    assert.equal(await count(), before);
  });

  it("comes from the front channel too, where the preset has it (RFC 6749 §4.2)", async () => {
    const theirs = await anApi(server, {}, "open");
    const { browser, app } = await signedIn(
      server,
      {
        scope: "openid read",
        resource: theirs,
        code_challenge: undefined,
        code_challenge_method: undefined,
        response_type: "code",
      },
      {
        first_party: true,
        grant_types: ["authorization_code", "implicit"],
        response_types: ["code", "id_token token"],
      },
      open,
      "open",
    );
    const answer = await browser.open(
      app.authorization({
        scope: "openid read",
        resource: theirs,
        response_type: "id_token token",
        code_challenge: undefined,
        code_challenge_method: undefined,
      }),
    );
    const token = new URLSearchParams(new URL(answer.location ?? "").hash.slice(1)).get(
      "access_token",
    );
    const { payload } = await verified(open, token, theirs);
    assert.equal(payload["scope"], "read");
    assert.ok(typeof payload["auth_time"] === "number");
  });

  describe("bound to a key (RFC 9449)", () => {
    const bound = async (app: RelyingParty, fields: Record<string, string>) => {
      const key = await aDpopKey();
      const { clientId, clientSecret } = app.credentials;
      const answer = await app.token(fields, {
        authorization: basic(clientId, clientSecret),
        dpop: await key.proof(`${server.issuer}/token`),
      });
      return { key, answer };
    };

    it("names the key in cnf.jkt (RFC 9449 §6.1)", async () => {
      const app = await aMachine(server);
      const api = await anApi(server, { clients: { [app.credentials.clientId]: null } });
      const { key, answer } = await bound(app, {
        grant_type: "client_credentials",
        resource: api,
        scope: "read",
      });
      const tokens = json(answer);
      assert.equal(tokens["token_type"], "DPoP");
      const { payload } = await verified(server, tokens["access_token"], api);
      assert.deepEqual(payload["cnf"], { jkt: key.thumbprint });
    });

    it("has no cnf where it is not bound", async () => {
      assert.equal((await aToken()).payload["cnf"], undefined);
    });

    it("is only issued with a proof to a client that registered so (RFC 9449 §5.2)", async () => {
      const app = await aMachine(server, { dpop_bound_access_tokens: true });
      const api = await anApi(server, { clients: { [app.credentials.clientId]: null } });
      const answer = await app.token({
        grant_type: "client_credentials",
        resource: api,
        scope: "read",
      });
      assert.equal(errorOf(answer), "invalid_grant");
    });
  });

  describe("mistaken for something else", () => {
    it("is no ID token: as an access token an ID token is refused by typ (RFC 9068 §4)", async () => {
      const { tokens, client } = await aToken();
      await assert.rejects(verified(server, tokens["id_token"], client.clientId), /typ/);
    });

    it("is no ID token: its typ and audience are others' (RFC 9068 §5)", async () => {
      const { token, tokens, client } = await aToken();
      assert.notEqual(decodeProtectedHeader(String(tokens["id_token"])).typ, "at+jwt");
      assert.equal(decodeJwt(String(tokens["id_token"])).aud, client.clientId);
      assert.notEqual(decodeJwt(token).aud, client.clientId);
    });

    it("does not sign anybody in: as id_token_hint it is refused (OIDC Core §3.1.2.1)", async () => {
      const { app, browser, token } = await aToken();
      const answer = await browser.open(
        app.authorization({ prompt: "none", id_token_hint: token }),
      );
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("does not sign anybody out: as id_token_hint at the end of a session it is refused", async () => {
      const { browser, token } = await aToken();
      const answer = await browser.open(`/session/end?id_token_hint=${token}`);
      assert.equal(answer.status, 400);
    });

    it("does not open userinfo, whose audience it is not (RFC 9068 §4)", async () => {
      const { app, token } = await aToken();
      const answer = await app.userinfo(token);
      assert.equal(answer.status, 401);
      assert.equal(errorOf(answer), "invalid_token");
    });

    it("does not let an ID token open userinfo", async () => {
      const { app, tokens } = await aToken();
      assert.equal((await app.userinfo(String(tokens["id_token"]))).status, 401);
    });

    it("is for one API: another one refuses it by its audience (RFC 9068 §4)", async () => {
      const { token } = await aToken();
      await assert.rejects(verified(server, token, await anApi(server)), /aud/);
    });

    it("cannot be changed: another scope breaks its signature (RFC 9068 §4)", async () => {
      const { token } = await aToken();
      const [header = "", payload = "", signature = ""] = token.split(".");
      const wider = { ...decodeJwt(token), scope: "read write" };
      const forged = Buffer.from(JSON.stringify(wider)).toString("base64url");
      assert.notEqual(forged, payload);
      await assert.rejects(
        verified(server, `${header}.${forged}.${signature}`, notes),
        /signature/,
      );
    });

    it("cannot be made by others: HS256 with our public key is refused (RFC 8725 §2.1)", async () => {
      const { token } = await aToken();
      const { text } = await send(server, { path: "/jwks" });
      const forged = await new SignJWT(decodeJwt(token))
        .setProtectedHeader({ ...decodeProtectedHeader(token), alg: "HS256", typ: "at+jwt" })
        .sign(Buffer.from(text));
      await assert.rejects(verified(server, forged, notes));
    });

    it("cannot be asked about or revoked: the server says so (RFC 7009 §2.2.1)", async () => {
      const { app, token } = await aToken();
      for (const path of ["/token/introspection", "/token/revocation"])
        assert.equal(errorOf(await app.post(path, { token })), "unsupported_token_type");
    });

    it("does not register or manage clients", async () => {
      const { token } = await aToken();
      const answer = await send(server, {
        path: "/reg",
        method: "POST",
        body: "{}",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      });
      assert.ok([401, 404].includes(answer.status));
    });
  });
});
