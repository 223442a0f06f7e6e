import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { createResource } from "../../src/resources/resources.ts";
import { deleteClient } from "../../src/clients/clients.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { OAuthGrant } from "../../src/models/oauth-grant.ts";
import {
  addToOrganization,
  createOrganization,
  removeFromOrganization,
} from "../../src/users/organizations.ts";
import { disableUser } from "../../src/users/users.ts";
import { aDpopKey, aMachine, anApi, asksFor, signedIn, verified } from "../support/api.ts";
import {
  basic,
  errorOf,
  json,
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Fields,
} from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";

const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
const machine = {
  redirect_uris: [],
  post_logout_redirect_uris: [],
  grant_types: ["client_credentials", GRANT],
};

/** OAuth 2.0 Token Exchange (RFC 8693). */
describe("token exchange", () => {
  let server: TestServer;
  /** The API as a client, and the API with JWTs and with opaque tokens. */
  let gateway: RelyingParty;
  let notes: string;
  let opaque: string;
  before(async () => {
    server = await aServerWith({ open: "conformance", bank: "fapi2" });
    gateway = await aMachine(server, machine);
    const mine = {
      own_client: gateway.credentials.clientId,
      clients: { [gateway.credentials.clientId]: null },
    };
    notes = await anApi(server, mine);
    opaque = await anApi(server, { ...mine, token_format: "opaque" });
  });
  after(() => server.stop());

  /** What an app was given for the API and sends to it. */
  async function sent(resource = opaque, scope = "read write") {
    const visit = await signedIn(server, { scope, resource });
    const tokens = json(await visit.app.redeem(visit.code));
    return { ...visit, tokens, token: String(tokens["access_token"]) };
  }
  /** The token with which a client says that it is the one who acts. */
  const itself = async (app = gateway): Promise<string> =>
    String(json(await app.token({ grant_type: "client_credentials" }))["access_token"]);
  const exchange = (fields: Fields, app = gateway, headers?: Record<string, string>) =>
    app.token({ grant_type: GRANT, subject_token_type: ACCESS_TOKEN, ...fields }, headers);
  /** An exchange in which the client says who acts. */
  const delegate = async (token: string, fields: Fields = {}, app = gateway) =>
    exchange(
      {
        subject_token: token,
        actor_token: await itself(app),
        actor_token_type: ACCESS_TOKEN,
        ...fields,
      },
      app,
    );
  const seen = async (token: unknown, app = gateway) =>
    json(await app.post("/token/introspection", { token: String(token) }));
  const refused = async (answer: ReturnType<typeof exchange>, words: RegExp) => {
    const body = json(await answer);
    assert.equal(body["error"], "invalid_request");
    assert.match(String(body["error_description"]), words);
  };

  describe("gives", () => {
    it("a token in the name of the same organization, while the person belongs to it (RFC 8693 §1.1)", async () => {
      const { slug } = await createOrganization(server.database.knex, { slug: "acme" });
      const [user, app] = [await aUser(server), new RelyingParty(server, await aClient(server))];
      await addToOrganization(server.database.knex, slug, user.id);
      const asked = asksFor(app, {
        scope: "openid read",
        resource: opaque,
        organization_id: slug,
      });
      const back = response(await walk(server, new WebBrowser(server), asked, user));
      const first = json(await app.redeem(back["code"] ?? "", { resource: opaque }));
      const saysOf = async () => {
        const { access_token: token } = json(await delegate(String(first["access_token"])));
        const { org_id: id, org_roles: roles } = await seen(token);
        return [id, roles];
      };
      assert.deepEqual(await saysOf(), [slug, []]);
      await removeFromOrganization(server.database.knex, slug, user.id);
      assert.deepEqual(await saysOf(), [undefined, undefined]);
    });

    it("an access token, and says so in issued_token_type (RFC 8693 §2.2.1)", async () => {
      const { token } = await sent();
      const answer = await delegate(token);
      const tokens = json(answer);
      assert.equal(answer.status, 200);
      assert.equal(tokens["issued_token_type"], ACCESS_TOKEN);
      assert.equal(tokens["token_type"], "Bearer");
      assert.ok(typeof tokens["expires_in"] === "number");
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    });

    it("no refresh token and no ID token (RFC 8693 §2.2.1)", async () => {
      const { token } = await sent();
      const tokens = json(await delegate(token));
      assert.equal(tokens["refresh_token"], undefined);
      assert.equal(tokens["id_token"], undefined);
    });

    it("a token of the same person, for the client that asked (RFC 8693 §4.3)", async () => {
      const { token, user } = await sent();
      const made = await seen(json(await delegate(token))["access_token"]);
      assert.equal(made["active"], true);
      assert.equal(made["sub"], user.id);
      assert.equal(made["client_id"], gateway.credentials.clientId);
      assert.equal(made["aud"], opaque);
    });

    it("a token that says who acts: act.sub (RFC 8693 §4.1)", async () => {
      const { token } = await sent();
      const made = await seen(json(await delegate(token))["access_token"]);
      assert.deepEqual(made["act"], { sub: gateway.credentials.clientId });
    });

    it("a JWT where the API takes those, with act, and from a JWT (RFC 8693 §4.1)", async () => {
      const { token, user } = await sent(notes);
      const tokens = json(await delegate(token));
      const { payload } = await verified(server, tokens["access_token"], notes);
      assert.equal(payload.sub, user.id);
      assert.equal(payload["client_id"], gateway.credentials.clientId);
      assert.deepEqual(payload["act"], { sub: gateway.credentials.clientId });
    });

    it("a token that still says how the person signed in (RFC 9068 §2.2.1)", async () => {
      const { token } = await sent(notes);
      const tokens = json(await delegate(token));
      const [before, after] = [token, String(tokens["access_token"])].map((each) =>
        decodeJwt(each),
      );
      for (const claim of ["auth_time", "acr", "amr"])
        assert.deepEqual(after?.[claim], before?.[claim], claim);
    });

    it("a chain of those who act, the latest outermost (RFC 8693 §4.1)", async () => {
      const { token } = await sent(notes);
      const first = String(json(await delegate(token))["access_token"]);
      const second = json(await delegate(first))["access_token"];
      const { sub } = (await verified(server, second, notes)).payload;
      const act = decodeJwt(String(second))["act"];
      const self = gateway.credentials.clientId;
      assert.deepEqual(act, { sub: self, act: { sub: self } });
      assert.equal(sub, decodeJwt(token).sub);
    });

    it("less where less is asked for (RFC 8693 §2.1)", async () => {
      const { token } = await sent();
      const tokens = json(await delegate(token, { scope: "read" }));
      assert.equal(tokens["scope"], "read");
      assert.equal((await seen(tokens["access_token"]))["scope"], "read");
    });

    it("a token to the client that the subject token was issued to", async () => {
      const app = new RelyingParty(
        server,
        await aClient(server, { grant_types: ["authorization_code", "client_credentials", GRANT] }),
      );
      const { code } = await signedIn(server, { scope: "read", resource: opaque });
      assert.ok(code);
      const visit = await signedIn(
        server,
        { scope: "read write", resource: opaque },
        { grant_types: ["authorization_code", "client_credentials", GRANT] },
      );
      const token = String(json(await visit.app.redeem(visit.code))["access_token"]);
      const tokens = json(await delegate(token, { scope: "read" }, visit.app));
      assert.equal(tokens["scope"], "read");
      await refused(delegate(token, {}, app), /not issued to this client/);
    });

    it("a token for userinfo from a token for userinfo", async () => {
      const visit = await signedIn(
        server,
        { scope: "openid email" },
        { grant_types: ["authorization_code", "client_credentials", GRANT] },
      );
      const token = String(json(await visit.app.redeem(visit.code))["access_token"]);
      const tokens = json(await delegate(token, { scope: "openid" }, visit.app));
      const claims = json(await visit.app.userinfo(String(tokens["access_token"])));
      assert.deepEqual(claims, { sub: visit.user.id });
    });

    it("a token that lives no longer than the subject token", async () => {
      const { token } = await sent(notes);
      const made = json(await delegate(token))["access_token"];
      assert.ok((decodeJwt(String(made)).exp ?? 0) <= (decodeJwt(token).exp ?? 0));
    });

    it("a record in the audit log", async () => {
      const { token, user } = await sent();
      await delegate(token, { scope: "read" });
      const event = await AuditEvent.query(server.database.knex).findOne({
        type: "token.exchanged",
        userId: user.id,
      });
      assert.deepEqual(event?.details, { audience: opaque, scope: "read", impersonation: false });
    });
  });

  describe("impersonation", () => {
    it("is refused without a policy of the client: somebody must act (RFC 8693 §1.1)", async () => {
      const { token } = await sent();
      await refused(exchange({ subject_token: token }), /may not impersonate/);
    });

    it("is possible with that policy, and leaves no act (RFC 8693 §1.1)", async () => {
      const trusted = await aMachine(server, { ...machine, token_exchange_impersonation: true });
      const { clientId } = trusted.credentials;
      const api = await anApi(server, { own_client: clientId, clients: { [clientId]: null } });
      const { token, user } = await sent(api);
      const tokens = json(await exchange({ subject_token: token }, trusted));
      const { payload } = await verified(server, tokens["access_token"], api);
      assert.equal(payload.sub, user.id);
      assert.equal(payload["act"], undefined);
    });

    it("does not hide who acted before", async () => {
      const trusted = await aMachine(server, { ...machine, token_exchange_impersonation: true });
      const { clientId } = trusted.credentials;
      const api = await anApi(server, { own_client: clientId, clients: { [clientId]: null } });
      const { token } = await sent(api);
      const first = String(json(await delegate(token, {}, trusted))["access_token"]);
      const tokens = json(await exchange({ subject_token: first }, trusted));
      assert.deepEqual(decodeJwt(String(tokens["access_token"]))["act"], { sub: clientId });
    });
  });

  describe("refuses", () => {
    it("a subject token that was neither issued nor sent to the client (RFC 8693 §2.2.2)", async () => {
      const { token } = await sent();
      await refused(delegate(token, {}, await aMachine(server, machine)), /nor sent to it/);
    });

    it("a JWT that was neither issued nor sent to the client (RFC 8693 §2.2.2)", async () => {
      const { token } = await sent(notes);
      await refused(delegate(token, {}, await aMachine(server, machine)), /nor sent to it/);
    });

    it("userinfo's token of another client", async () => {
      const { app, code } = await signedIn(server, { scope: "openid" });
      const token = String(json(await app.redeem(code))["access_token"]);
      await refused(delegate(token), /nor sent to it/);
    });

    it("an API's own client that the operator does not list for the API", async () => {
      const app = await aMachine(server, machine);
      const api = await anApi(server, { own_client: app.credentials.clientId });
      const { token } = await sent(api);
      assert.equal(errorOf(await delegate(token, {}, app)), "invalid_target");
    });

    it("a scope that the subject token does not have (RFC 8693 §5)", async () => {
      const { token } = await sent(opaque, "read");
      assert.equal(errorOf(await delegate(token, { scope: "read write" })), "invalid_scope");
    });

    it("a scope that the client may not have", async () => {
      const app = await aMachine(server, machine);
      const { clientId } = app.credentials;
      const api = await anApi(server, { own_client: clientId, clients: { [clientId]: ["read"] } });
      const { token } = await sent(api);
      assert.equal(json(await delegate(token, {}, app))["scope"], "read");
      assert.equal(errorOf(await delegate(token, { scope: "write" }, app)), "invalid_scope");
    });

    it("openid for an API's token: it opens no userinfo", async () => {
      const { token } = await sent();
      assert.equal(errorOf(await delegate(token, { scope: "openid" })), "invalid_scope");
    });

    for (const parameter of ["audience", "resource"])
      it(`another ${parameter} than the subject token's (RFC 8693 §2.2.2)`, async () => {
        const { token } = await sent();
        assert.equal(errorOf(await delegate(token, { [parameter]: notes })), "invalid_target");
        assert.equal((await delegate(token, { [parameter]: opaque })).status, 200);
      });

    it("several audiences at once", async () => {
      const { token } = await sent();
      const answer = await delegate(token, { audience: [opaque, notes] });
      assert.equal(errorOf(answer), "invalid_target");
    });

    it("an API for userinfo's token", async () => {
      const visit = await signedIn(
        server,
        { scope: "openid" },
        { grant_types: ["authorization_code", "client_credentials", GRANT] },
      );
      const token = String(json(await visit.app.redeem(visit.code))["access_token"]);
      const answer = await delegate(token, { resource: opaque }, visit.app);
      assert.equal(errorOf(answer), "invalid_target");
    });

    it("a revoked subject token (RFC 8693 §2.2.2)", async () => {
      const { token, app } = await sent();
      await app.post("/token/revocation", { token });
      await refused(delegate(token), /subject_token is not valid/);
    });

    it("a JWT whose grant was revoked (RFC 8693 §2.2.2)", async () => {
      const { token, app, tokens } = await sent(notes);
      await app.post("/token/revocation", { token: String(tokens["refresh_token"]) });
      await refused(delegate(token), /subject_token is not valid/);
    });

    it("an expired subject token (RFC 8693 §2.2.2)", async () => {
      const { token } = await sent();
      await server.database.knex.raw(
        "UPDATE oidc_artifacts SET expires_at = clock_timestamp() WHERE payload->>'aud' = ?",
        [opaque],
      );
      await refused(delegate(token), /subject_token is not valid/);
    });

    it("a JWT that somebody else signed (RFC 8693 §2.2.2)", async () => {
      const { token } = await sent(notes);
      const [header, payload] = token.split(".");
      const { token: other } = await sent(notes);
      await refused(delegate(`${header}.${payload}.${other.split(".")[2]}`), /not valid/);
    });

    it("an ID token and a refresh token as the subject token", async () => {
      const { app, code } = await signedIn(server, { scope: "openid read", resource: notes });
      const tokens = json(await app.redeem(code, { resource: notes }));
      for (const name of ["id_token", "refresh_token"])
        await refused(delegate(String(tokens[name])), /subject_token is not valid/);
    });

    it("a subject token of a person who was disabled", async () => {
      const { token, user } = await sent(notes);
      await server.database.knex.transaction((trx) => disableUser(trx, user.id, {}, new Date()));
      await refused(delegate(token), /subject_token is not valid/);
    });

    it("a subject token of a client that was deleted", async () => {
      const { token, client } = await sent(notes);
      await server.database.knex.transaction((trx) =>
        deleteClient(trx, client.clientId, {}, new Date()),
      );
      await refused(delegate(token), /subject_token is not valid/);
    });

    it("a client's own token as the subject: it stands for no person", async () => {
      await refused(delegate(await itself()), /must stand for a person/);
    });

    it("another client's token as the actor's: nobody acts in another's name", async () => {
      const { token } = await sent();
      const other = await itself(await aMachine(server));
      await refused(delegate(token, { actor_token: other }), /actor_token was not issued/);
    });

    it("an actor token that is not one", async () => {
      const { token } = await sent();
      await refused(delegate(token, { actor_token: "forged" }), /actor_token is not valid/);
    });

    it("an actor token without its type, and a type without its token (RFC 8693 §2.1)", async () => {
      const { token } = await sent();
      await refused(delegate(token, { actor_token_type: undefined }), /come together/);
      await refused(delegate(token, { actor_token: undefined }), /come together/);
    });

    it("other types of tokens (RFC 8693 §2.1)", async () => {
      const { token } = await sent();
      const idToken = "urn:ietf:params:oauth:token-type:id_token";
      for (const name of ["subject_token_type", "actor_token_type", "requested_token_type"])
        await refused(delegate(token, { [name]: idToken }), new RegExp(`${name} must be`));
    });

    it("a request without a subject token (RFC 8693 §2.1)", async () => {
      await refused(exchange({}), /subject_token is missing/);
    });

    it("a chain that grows without end", async () => {
      let { token } = await sent(notes);
      for (let links = 0; links < 5; links += 1)
        token = String(json(await delegate(token))["access_token"]);
      await refused(delegate(token), /too many/);
    });

    it("a client that did not register the grant (RFC 6749 §5.2)", async () => {
      const { token } = await sent();
      const answer = await delegate(token, {}, await aMachine(server));
      assert.ok(["unauthorized_client", "invalid_request"].includes(errorOf(answer) ?? ""));
    });

    it("a client that cannot prove who it is (RFC 8693 §5)", async () => {
      await assert.rejects(
        aMachine(server, { ...machine, grant_types: [GRANT], token_endpoint_auth_method: "none" }),
        /token exchange/,
      );
      const { token } = await sent();
      const { clientId } = gateway.credentials;
      const answer = await exchange({ subject_token: token }, gateway, {
        authorization: basic(clientId, "wrong"),
      });
      assert.equal(errorOf(answer), "invalid_client");
    });

    it("registration at an issuer whose profile does not have it", async () => {
      await assert.rejects(
        aClient(server, { grant_types: ["authorization_code", GRANT] }, "bank"),
        /at this issuer/,
      );
    });
  });

  describe("a token that is bound to a key (RFC 9449)", () => {
    /** A person's token that only the holder of a key can use, issued to a client that may exchange it. */
    async function bound() {
      const key = await aDpopKey();
      const visit = await signedIn(
        server,
        { scope: "read", resource: notes },
        { grant_types: ["authorization_code", "client_credentials", GRANT] },
      );
      const { clientId, clientSecret } = visit.app.credentials;
      const headers = async (holder = key) => ({
        authorization: basic(clientId, clientSecret),
        dpop: await holder.proof(`${server.issuer}/token`),
      });
      const tokens = json(await visit.app.redeem(visit.code, {}, await headers()));
      const fields = {
        subject_token: String(tokens["access_token"]),
        actor_token: await itself(visit.app),
        actor_token_type: ACCESS_TOKEN,
      };
      return { ...visit, key, headers, fields };
    }

    it("is refused where the key is not proven", async () => {
      const { app, fields } = await bound();
      await refused(exchange(fields, app), /bound to a key/);
    });

    it("is refused where another key is proven", async () => {
      const { app, fields, headers } = await bound();
      await refused(exchange(fields, app, await headers(await aDpopKey())), /bound to a key/);
    });

    it("is exchanged with a proof, for one that is bound to the same key", async () => {
      const { app, fields, headers, key } = await bound();
      const tokens = json(await exchange(fields, app, await headers()));
      assert.equal(tokens["token_type"], "DPoP");
      assert.deepEqual(decodeJwt(String(tokens["access_token"]))["cnf"], { jkt: key.thumbprint });
    });

    it("cannot be exchanged twice with one proof (RFC 9449 §11.1)", async () => {
      const { app, fields, headers } = await bound();
      const once = await headers();
      assert.equal((await exchange(fields, app, once)).status, 200);
      assert.equal(errorOf(await exchange(fields, app, once)), "invalid_grant");
    });
  });

  describe("the new token ends", () => {
    it("when its client revokes it, and the subject token stays (RFC 7009 §2)", async () => {
      const { token, app } = await sent();
      const made = String(json(await delegate(token))["access_token"]);
      await gateway.post("/token/revocation", { token: made });
      assert.deepEqual(await seen(made), { active: false });
      assert.equal((await seen(token, app))["active"], true);
    });

    it("when the subject token is revoked", async () => {
      const { token, app } = await sent();
      const made = String(json(await delegate(token))["access_token"]);
      assert.equal((await seen(made))["active"], true);
      await app.post("/token/revocation", { token });
      assert.deepEqual(await seen(made), { active: false });
    });

    it("when the first of a chain is revoked", async () => {
      const { token, app } = await sent();
      const first = String(json(await delegate(token))["access_token"]);
      const second = String(json(await delegate(first))["access_token"]);
      await app.post("/token/revocation", { token });
      assert.deepEqual(await seen(second), { active: false });
    });

    it("when the person is disabled", async () => {
      const { token, user } = await sent();
      const made = String(json(await delegate(token))["access_token"]);
      await server.database.knex.transaction((trx) => disableUser(trx, user.id, {}, new Date()));
      assert.deepEqual(await seen(made), { active: false });
    });

    it("also where both happen at the same moment", async () => {
      for (let round = 0; round < 5; round += 1) {
        const { token, app } = await sent();
        const [answer] = await Promise.all([
          delegate(token),
          app.post("/token/revocation", { token }),
        ]);
        if (answer.status === 200)
          assert.deepEqual(await seen(json(answer)["access_token"]), { active: false });
        else assert.equal(errorOf(answer), "invalid_request");
      }
    });

    it("with a grant that lives no longer than it", async () => {
      const { token, user } = await sent();
      await delegate(token);
      const grant = await OAuthGrant.query(server.database.knex)
        .findOne({ userId: user.id })
        .whereNotNull("parentId");
      assert.ok((grant?.expiresAt.getTime() ?? Infinity) <= Date.now() + 600_000);
    });
  });

  it("is in the discovery document where it is offered, and only there (RFC 8414 §2)", async () => {
    for (const [path, isOffered] of [
      ["", true],
      ["/open", true],
      ["/bank", false],
    ] as const) {
      const answer = await fetch(`${server.issuer}${path}/.well-known/openid-configuration`);
      const { grant_types_supported: grants } = (await answer.json()) as {
        grant_types_supported: string[];
      };
      assert.equal(grants.includes(GRANT), isOffered, path);
    }
  });

  it("does not cross issuers: another's token is not valid here", async () => {
    const open = issuerAt(server, "open");
    const identifier = `${server.issuer}/theirs`;
    await server.database.knex.transaction((trx) =>
      createResource(
        trx,
        {
          definition: {
            identifier,
            name: "Theirs",
            permissions: { read: "Read" },
            open_to: "any",
          },
          issuer: "open",
        },
        new Date(),
        server.deps.config.issuers,
      ),
    );
    for (const asked of [{ scope: "read", resource: identifier }, { scope: "openid" }]) {
      const visit = await signedIn(server, asked, {}, open, "open");
      const tokens = json(await visit.app.redeem(visit.code));
      await refused(delegate(String(tokens["access_token"])), /subject_token is not valid/);
    }
  });
});
