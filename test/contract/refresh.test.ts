import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { RefreshToken } from "../../src/models/refresh-token.ts";
import { Session } from "../../src/models/session.ts";
import { User } from "../../src/models/user.ts";
import { aKey, proof, type Key } from "../support/keys.ts";
import { aHouse, type House } from "../support/presets.ts";
import {
  basic,
  errorOf,
  json,
  RelyingParty,
  response,
  VERIFIER,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aUser } from "../support/server.ts";

const OFFLINE = { scope: "openid email offline_access", prompt: "consent" };

/** What a refresh token brings, to whom, and until when. */
describe("the refresh token grant", () => {
  let house: House;
  /** Strict: a token that was replaced is never answered again. */
  let app: RelyingParty;
  let other: RelyingParty;

  before(async () => {
    house = await aHouse();
    app = await house.client({ refresh_reuse_interval: 0 });
    other = await house.client({ refresh_reuse_interval: 0 });
  });
  after(() => house.server.stop());

  const refresh = (client: RelyingParty, token = "", more: Fields = {}) =>
    client.token({ grant_type: "refresh_token", refresh_token: token, ...more });
  const tokenOf = async (client = app, changes: Fields = {}) =>
    (await house.tokensOf(client, changes))["refresh_token"] ?? "";
  const next = async (client: RelyingParty, token: string) => {
    const answer = await refresh(client, token);
    assert.equal(answer.status, 200, answer.text);
    return json(answer) as Record<string, string>;
  };
  const words = (tokens: Record<string, unknown>) => String(tokens["scope"]).split(" ").toSorted();

  function refuses(answer: Answer, error: string, status = 400): void {
    assert.equal(errorOf(answer), error, answer.text);
    assert.equal(answer.status, status);
    assert.equal(json(answer)["access_token"], undefined);
  }

  describe("answers", () => {
    it("with a new access token (RFC 6749 §6, §5.1)", async () => {
      const first = await house.tokensOf(app);
      const second = await next(app, first["refresh_token"] ?? "");
      assert.notEqual(second["access_token"], first["access_token"]);
      assert.equal((await app.userinfo(second["access_token"] ?? "")).status, 200);
    });

    it("as every token answer is: JSON, a type, and stored by nobody (RFC 6749 §5.1)", async () => {
      const answer = await refresh(app, await tokenOf());
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
      assert.equal(json(answer)["token_type"], "Bearer");
    });

    it("with the scope that was granted, where none is asked for (RFC 6749 §6)", async () => {
      const token = await tokenOf(app, { scope: "openid email profile" });
      assert.deepEqual(words(await next(app, token)), ["email", "openid", "profile"]);
    });

    it("with less scope where less is asked for (RFC 6749 §6)", async () => {
      const token = await tokenOf(app, { scope: "openid email profile" });
      const tokens = json(await refresh(app, token, { scope: "openid email" }));
      assert.deepEqual(words(tokens), ["email", "openid"]);
      const told = json(await app.userinfo(String(tokens["access_token"])));
      assert.ok(!("name" in told));
    });

    it("with the whole scope again after less was asked for (RFC 6749 §6)", async () => {
      const token = await tokenOf(app, { scope: "openid email profile" });
      const less = json(await refresh(app, token, { scope: "openid" }));
      const again = await next(app, String(less["refresh_token"]));
      assert.deepEqual(words(again), ["email", "openid", "profile"]);
    });

    it("with no more scope than was granted (RFC 6749 §6)", async () => {
      const token = await tokenOf(app, { scope: "openid" });
      refuses(await refresh(app, token, { scope: "openid email" }), "invalid_scope");
    });

    it("with no more scope after the person allowed another request more (RFC 6749 §6)", async () => {
      const token = await tokenOf(app, { scope: "openid" });
      await tokenOf(app, { scope: "openid profile" });
      refuses(await refresh(app, token, { scope: "openid profile" }), "invalid_scope");
    });

    it("with a refresh token that is good in its turn (RFC 6749 §6)", async () => {
      const second = await next(app, await tokenOf());
      const third = await next(app, second["refresh_token"] ?? "");
      assert.ok(third["refresh_token"]);
    });
  });

  describe("answers with an ID token", () => {
    let first: Record<string, unknown>;
    let second: Record<string, unknown>;
    before(async () => {
      const client = await house.client({ require_auth_time: true });
      const tokens = await house.tokensOf(client, { nonce: "n-1" });
      first = decodeJwt(tokens["id_token"] ?? "");
      await new Promise((resolve) => setTimeout(resolve, 1_050));
      const answer = await next(client, tokens["refresh_token"] ?? "");
      second = decodeJwt(answer["id_token"] ?? "");
    });

    for (const [name, clause] of [
      ["iss", "OIDC Core §12.2"],
      ["sub", "OIDC Core §12.2"],
      ["aud", "OIDC Core §12.2"],
      ["auth_time", "OIDC Core §12.2"],
      ["azp", "OIDC Core §12.2"],
    ] as const)
      it(`whose ${name} is that of the first (${clause})`, () =>
        assert.deepEqual(second[name], first[name]));

    it("that has an auth_time at all (OIDC Core §12.2)", () =>
      assert.ok(Number.isInteger(second["auth_time"])));

    it("that was made now (OIDC Core §12.2)", () =>
      assert.ok(Number(second["iat"]) > Number(first["iat"])));

    it("whose nonce, if any, is that of the first (OIDC Core §12.2)", () =>
      assert.ok(second["nonce"] === undefined || second["nonce"] === "n-1"));

    it("only where openid was granted (OIDC Core §12.1)", async () => {
      const token = await tokenOf(app, { scope: "email", nonce: undefined });
      assert.ok(!("id_token" in (await next(app, token))));
    });
  });

  describe("is for one client", () => {
    it("and not for another (RFC 6749 §6, §10.4)", async () =>
      refuses(await refresh(other, await tokenOf()), "invalid_grant"));

    it("and stays good when another tries (RFC 6749 §10.4)", async () => {
      const token = await tokenOf();
      await refresh(other, token);
      await next(app, token);
    });

    it("and not for another public one (RFC 6749 §10.4, RFC 9700 §4.14.2)", async () => {
      const metadata = { token_endpoint_auth_method: "none", refresh_reuse_interval: 0 };
      const [one, two] = [await house.client(metadata), await house.client(metadata)];
      refuses(await refresh(two, await tokenOf(one)), "invalid_grant");
    });

    it("which authenticates (RFC 6749 §6, OIDC Core §12)", async () => {
      const token = await tokenOf();
      const headers = { authorization: basic(app.credentials.clientId, "wrong") };
      const fields = { grant_type: "refresh_token", refresh_token: token };
      refuses(await app.token(fields, headers), "invalid_client", 401);
      const named = { ...fields, client_id: app.credentials.clientId };
      refuses(await app.token(named, {}), "invalid_client", 401);
      await next(app, token);
    });

    it("which registered the grant (RFC 6749 §5.2)", async () => {
      const plain = await house.client({ grant_types: ["authorization_code"] });
      refuses(await refresh(plain, await tokenOf()), "unauthorized_client");
    });

    it("and none is given to a client that did not (OIDC Registration §2)", async () => {
      const plain = await house.client({ grant_types: ["authorization_code"] });
      assert.ok(!("refresh_token" in (await house.tokensOf(plain, OFFLINE))));
    });

    it("at one issuer (RFC 9700 §2.3)", async () => {
      const open = await house.client({}, "conformance");
      refuses(await refresh(open, await tokenOf()), "invalid_grant");
    });
  });

  describe("is refused", () => {
    it("where there is none in the request (RFC 6749 §6)", async () =>
      refuses(await app.token({ grant_type: "refresh_token" }), "invalid_request"));

    it("where it is given twice (RFC 6749 §3.2)", async () => {
      const token = await tokenOf();
      const fields = { grant_type: "refresh_token", refresh_token: [token, token] };
      refuses(await app.token(fields), "invalid_request");
    });

    it("where it is nobody's (RFC 6749 §5.2)", async () =>
      refuses(await refresh(app, "nobodys"), "invalid_grant"));

    it("where a letter was changed, so that none can be guessed (RFC 6749 §10.4)", async () => {
      const token = await tokenOf();
      const last = token.slice(-2, -1) === "A" ? "B" : "A";
      refuses(await refresh(app, token.slice(0, -2) + last + token.slice(-1)), "invalid_grant");
    });

    it("where it is an access token (RFC 6749 §1.5)", async () => {
      const { access_token: token } = await house.tokensOf(app);
      refuses(await refresh(app, token), "invalid_grant");
    });

    it("where it was revoked (RFC 7009 §2)", async () => {
      const token = await tokenOf();
      await app.post("/token/revocation", { token });
      refuses(await refresh(app, token), "invalid_grant");
    });

    it("where nobody used it for too long (RFC 9700 §4.14.2)", async () => {
      const token = await tokenOf();
      await RefreshToken.query(house.server.database.knex).patch({ expiresAt: new Date(0) });
      refuses(await refresh(app, token), "invalid_grant");
    });

    it("where its session ended, unless it was offline access (OIDC Core §11)", async () => {
      const person = await aUser(house.server);
      const browser = new WebBrowser(house.server);
      const given = async (changes: Fields) => {
        const answer = await walk(house.server, browser, app.authorization(changes), person);
        return json(await app.redeem(response(answer)["code"] ?? "")) as Record<string, string>;
      };
      const { refresh_token: online } = await given({});
      const { refresh_token: offline = "" } = await given(OFFLINE);
      await Session.query(house.server.database.knex)
        .where({ userId: person.id })
        .patch({ endedAt: new Date(), endReason: "superseded" });
      refuses(await refresh(app, online), "invalid_grant");
      await next(app, offline);
    });

    it("where its owner was disabled (RFC 9700 §4.14.2)", async () => {
      const person = await aUser(house.server);
      const path = app.authorization();
      const answer = await walk(house.server, new WebBrowser(house.server), path, person);
      const { refresh_token: token } = json(await app.redeem(response(answer)["code"] ?? ""));
      await User.query(house.server.database.knex)
        .findById(person.id)
        .patch({ status: "deactivated" });
      refuses(await refresh(app, String(token)), "invalid_grant");
    });

    it("where its client was disabled (RFC 6749 §10.4)", async () => {
      const client = await house.client();
      const token = await tokenOf(client);
      await OAuthClient.query(house.server.database.knex)
        .where({ clientId: client.credentials.clientId })
        .patch({ status: "disabled" });
      let answer = await refresh(client, token);
      for (let tries = 0; tries < 100 && answer.status === 200; tries += 1)
        answer = await refresh(client, String(json(answer)["refresh_token"]));
      refuses(answer, "invalid_client", 401);
    });
  });

  describe("rotates", () => {
    it("with every use (RFC 9700 §4.14.2)", async () => {
      const token = await tokenOf();
      assert.notEqual((await next(app, token))["refresh_token"], token);
    });

    it("so that the one before is refused (RFC 9700 §4.14.2)", async () => {
      const token = await tokenOf();
      await next(app, token);
      refuses(await refresh(app, token), "invalid_grant");
    });

    it("so that one that comes back ends its successor (RFC 9700 §4.14.2)", async () => {
      const token = await tokenOf();
      const { refresh_token: successor } = await next(app, token);
      await refresh(app, token);
      refuses(await refresh(app, successor), "invalid_grant");
    });

    it("so that one that comes back ends the access tokens of its family (RFC 9700 §4.14.2)", async () => {
      const token = await tokenOf();
      const { access_token: access = "" } = await next(app, token);
      await refresh(app, token);
      assert.equal((await app.userinfo(access)).status, 401);
    });

    it("so that one of long ago ends all that came after (RFC 9700 §4.14.2)", async () => {
      const first = await tokenOf();
      const second = await next(app, first);
      const third = await next(app, second["refresh_token"] ?? "");
      await refresh(app, first);
      refuses(await refresh(app, third["refresh_token"]), "invalid_grant");
    });

    it("for public clients as for others (RFC 9700 §2.2.2)", async () => {
      const spa = await house.client({
        token_endpoint_auth_method: "none",
        refresh_reuse_interval: 0,
      });
      const token = await tokenOf(spa);
      const { refresh_token: successor } = await next(spa, token);
      refuses(await refresh(spa, token), "invalid_grant");
      refuses(await refresh(spa, successor), "invalid_grant");
    });

    it("with one successor for all who ask at the same moment (RFC 9700 §4.14.2)", async () => {
      const client = await house.client({ refresh_reuse_interval: 10 });
      const token = await tokenOf(client);
      const answers = await Promise.all(Array.from({ length: 4 }, () => refresh(client, token)));
      const successors = answers.map((answer) => json(answer)["refresh_token"]);
      assert.equal(new Set(successors).size, 1);
    });

    it("and answers again only until the successor was used (RFC 9700 §4.14.2)", async () => {
      const client = await house.client({ refresh_reuse_interval: 10 });
      const token = await tokenOf(client);
      const { refresh_token: successor = "" } = await next(client, token);
      assert.equal((await next(client, token))["refresh_token"], successor);
      await next(client, successor);
      refuses(await refresh(client, token), "invalid_grant");
    });

    it("and not when the request was wrong (RFC 6749 §6)", async () => {
      const token = await tokenOf(app, { scope: "openid" });
      await refresh(app, token, { scope: "openid email" });
      await next(app, token);
    });
  });

  describe("ends", () => {
    const endOf = async () => {
      const [row] = await RefreshToken.query(house.server.database.knex)
        .orderBy("createdAt", "desc")
        .limit(1);
      assert.ok(row !== undefined);
      return row;
    };

    it("and not when it is refused for what it asks for (RFC 6749 §6, RFC 8707 §2)", async () => {
      const token = await tokenOf();
      for (let again = 0; again < 2; again += 1)
        refuses(
          await refresh(app, token, { resource: "https://unknown.example/" }),
          "invalid_target",
        );
      await next(app, token);
    });

    it("at the latest a fixed time after the first, however often it is used (RFC 9700 §4.14.2)", async () => {
      const token = await tokenOf(app, OFFLINE);
      const row = await endOf();
      const started = Math.floor(Date.now() / 1000) - 364 * 86_400;
      await RefreshToken.query(house.server.database.knex)
        .findById(row.id)
        .patch({ payload: { ...row.payload, iiat: started } });
      await next(app, token);
      const left = ((await endOf()).expiresAt.getTime() - Date.now()) / 86_400_000;
      assert.ok(left > 0 && left <= 1.01, `${left} days`);
    });

    it("when the client's own lifetime is over (RFC 9700 §4.14.2)", async () => {
      const client = await house.client({ refresh_token_lifetime: 300 });
      await tokenOf(client, OFFLINE);
      const left = ((await endOf()).expiresAt.getTime() - Date.now()) / 1000;
      assert.ok(left > 290 && left <= 301, String(left));
    });
  });

  describe("is bound to the key of a public client", () => {
    let spa: RelyingParty;
    let key: Key;
    let token: string;
    const ask = async (fields: Fields, by?: Key) => {
      const url = `${house.server.issuer}/token`;
      const { clientId } = spa.credentials;
      const dpop = by === undefined ? {} : { dpop: await proof(by, { method: "POST", url }) };
      return spa.token({ client_id: clientId, ...fields }, dpop);
    };

    before(async () => {
      spa = await house.client({ security_profile: "spa", refresh_reuse_interval: 0 });
      key = await aKey("ES256");
    });
    beforeEach(async () => {
      const { redirectUri } = spa.credentials;
      const right = { code: await house.codeOf(spa), redirect_uri: redirectUri };
      const answer = await ask(
        { grant_type: "authorization_code", ...right, code_verifier: VERIFIER },
        key,
      );
      token = String(json(answer)["refresh_token"]);
    });
    const again = (by?: Key) => ask({ grant_type: "refresh_token", refresh_token: token }, by);

    it("and good with it (RFC 9449 §5)", async () => {
      const answer = await again(key);
      assert.equal(answer.status, 200, answer.text);
      assert.equal(json(answer)["token_type"], "DPoP");
    });

    it("and refused without it (RFC 9449 §5, RFC 9700 §2.2.2)", async () => {
      const answer = await again();
      assert.equal(answer.status, 400);
      assert.match(errorOf(answer) ?? "", /^invalid_(grant|dpop_proof|request)$/);
    });

    it("and refused with another (RFC 9449 §5)", async () =>
      refuses(await again(await aKey("ES256")), "invalid_grant"));

    it("and so is its successor (RFC 9449 §5)", async () => {
      token = String(json(await again(key))["refresh_token"]);
      refuses(await again(await aKey("ES256")), "invalid_grant");
    });
  });

  describe("at the fapi2 issuer", () => {
    it("does not rotate (FAPI 2.0 §5.3.2.1)", async () => {
      const client = await house.fapiClient();
      const tokens = json(await client.redeem(await client.codeOf()));
      const fields = {
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      };
      const answer = await client.token(fields);
      assert.equal(answer.status, 200, answer.text);
      const given = json(answer)["refresh_token"];
      assert.ok(given === undefined || given === fields.refresh_token);
      assert.equal((await client.token(fields)).status, 200);
    });

    it("may come with another key of an authenticated client, to which the access token is bound then (RFC 9449 §5)", async () => {
      const client = await house.fapiClient();
      const tokens = json(await client.redeem(await client.codeOf()));
      const fields = {
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      };
      const answer = await client.token(fields, await aKey("ES256"));
      assert.equal(answer.status, 200, answer.text);
      assert.equal(json(answer)["token_type"], "DPoP");
    });

    it("brings no token that is bound to nothing (FAPI 2.0 §5.3.2.1)", async () => {
      const client = await house.fapiClient();
      const tokens = json(await client.redeem(await client.codeOf()));
      const fields = {
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      };
      const answer = await client.token(fields, null);
      assert.equal(answer.status, 400);
      assert.equal(json(answer)["access_token"], undefined);
    });
  });
});
