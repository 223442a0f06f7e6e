import assert from "node:assert/strict";
import type { UpstreamTokens } from "../../src/federation/connector.ts";
import { keepTokens } from "../../src/federation/tokens.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { IdentityToken } from "../../src/models/identity-token.ts";
import { disableUser } from "../../src/users/users.ts";
import { aMachine, anApi, signedIn } from "../support/api.ts";
import { errorOf, json, RelyingParty, type Answer, type Fields } from "../support/rp.ts";
import { aClient, aServerWith, issuerAt, type TestServer } from "../support/server.ts";
import { Upstream } from "../support/upstream.ts";

const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
const exchanging = { grant_types: ["authorization_code", GRANT] };
const HOUR = 3_600;

/** Reading the tokens of a person's identity providers, by token exchange (RFC 8693). */
describe("tokens of connections", function () {
  this.timeout(60_000);
  let server: TestServer;
  let upstream: Upstream;
  let serial = 0;
  before(async () => {
    upstream = await Upstream.start();
    server = await aServerWith({ other: "conformance" });
  });
  after(async () => {
    await server.stop();
    await upstream.stop();
  });
  beforeEach(() => upstream.mend());

  const epoch = () => Math.floor(Date.now() / 1000);
  const aConnection = async (clientIds: string[], changes: Partial<IdentityProvider> = {}) => {
    const provider = await IdentityProvider.query(server.database.knex).insertAndFetch({
      slug: `upstream-${(serial += 1)}`,
      kind: "oidc",
      name: "Upstream",
      clientId: upstream.clientId,
      issuer: upstream.issuer,
      keepAccess: true,
      exchangeClientIds: clientIds,
      ...changes,
    });
    const place = {
      table: "identity_providers",
      column: "client_secret_enc",
      id: provider.id,
    };
    await IdentityProvider.query(server.database.knex)
      .findById(provider.id)
      .patch({ clientSecretEnc: server.deps.seal.encrypt(upstream.clientSecret, place) });
    return provider;
  };
  const connect = async (
    provider: IdentityProvider,
    userId: string,
    tokens: Partial<UpstreamTokens> = {},
  ) => {
    const { knex } = server.database;
    const { id: identityId } = await Identity.query(knex).insertAndFetch({
      userId,
      providerId: provider.id,
      issuer: upstream.issuer,
      subject: `subject-${(serial += 1)}`,
      linkedVia: "user",
    });
    await keepTokens(knex, server.deps.seal, provider, {
      identityId,
      tokens: {
        accessToken: "upstream-at",
        scopes: ["mail", "calendar"],
        expiresAt: epoch() + HOUR,
        ...tokens,
      },
      now: new Date(),
    });
    return identityId;
  };
  /** Somebody who is connected, and an app of theirs that may read their tokens. */
  const aVisit = async (
    tokens: Partial<UpstreamTokens> = {},
    changes: Partial<IdentityProvider> = {},
  ) => {
    const visit = await signedIn(server, { scope: "openid" }, exchanging);
    const { access_token: token } = json(await visit.app.redeem(visit.code));
    const provider = await aConnection([visit.client.clientId], changes);
    const identityId = await connect(provider, visit.user.id, tokens);
    return { ...visit, token: String(token), provider, identityId };
  };
  const read = (
    app: RelyingParty,
    { token, connection, ...fields }: { token: string; connection: string } & Fields,
  ): Promise<Answer> =>
    app.token({
      grant_type: GRANT,
      subject_token: token,
      subject_token_type: ACCESS_TOKEN,
      connection,
      ...fields,
    });
  const is = (answer: Answer, error: string) => {
    assert.equal(answer.status, 400, answer.text);
    assert.equal(errorOf(answer), error);
    assert.equal(json(answer)["access_token"], undefined);
  };
  const over = { expiresAt: 1, refreshToken: "a-refresh-token" };

  describe("are given", () => {
    it("to a client of the connection's list, and said to be what they are (RFC 8693 §2.2.1)", async () => {
      const { app, token, provider } = await aVisit();
      const answer = await read(app, { token, connection: provider.slug });
      assert.equal(answer.status, 200, answer.text);
      const { expires_in: left, ...body } = json(answer);
      assert.ok(Number(left) > HOUR - 60 && Number(left) <= HOUR);
      assert.deepEqual(body, {
        access_token: "upstream-at",
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        scope: "mail calendar",
      });
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    });

    it("never with the refresh token, which stays here", async () => {
      const { app, token, provider } = await aVisit(over);
      const answer = await read(app, { token, connection: provider.slug });
      assert.equal(answer.status, 200, answer.text);
      assert.ok(!answer.text.includes("a-refresh-token"));
    });

    it("without expires_in where the provider said none", async () => {
      const visit = await aVisit();
      await IdentityToken.query(server.database.knex)
        .findById(visit.identityId)
        .patch({ expiresAt: null });
      const answer = await read(visit.app, { token: visit.token, connection: visit.provider.slug });
      assert.ok(!("expires_in" in json(answer)));
    });

    it("to an API for a token that it was sent, where it is on the list", async () => {
      const gateway = await aMachine(server, {
        redirect_uris: [],
        post_logout_redirect_uris: [],
        grant_types: ["client_credentials", GRANT],
      });
      const { clientId } = gateway.credentials;
      const resource = await anApi(server, {
        own_client: clientId,
        clients: { [clientId]: null },
        token_format: "opaque",
      });
      const visit = await signedIn(server, { scope: "read", resource });
      const token = String(json(await visit.app.redeem(visit.code))["access_token"]);
      const provider = await aConnection([clientId]);
      await connect(provider, visit.user.id);
      const answer = await read(gateway, { token, connection: provider.slug });
      assert.equal(json(answer)["access_token"], "upstream-at", answer.text);
    });

    it("as of the identity that the person used last", async () => {
      const { app, token, provider, user } = await aVisit();
      const later = await connect(provider, user.id, { accessToken: "later-at" });
      await Identity.query(server.database.knex).findById(later).patch({ lastLoginAt: new Date() });
      const answer = await read(app, { token, connection: provider.slug });
      assert.equal(json(answer)["access_token"], "later-at");
    });

    it("with a record that has no token in it", async () => {
      const { app, token, provider, user, identityId } = await aVisit();
      await read(app, { token, connection: provider.slug });
      const [event] = await AuditEvent.query(server.database.knex).where({
        type: "identity.token_issued",
        userId: user.id,
      });
      assert.deepEqual(event?.details, {
        connection: provider.slug,
        scopes: ["mail", "calendar"],
      });
      assert.equal(event.targetId, identityId);
    });
  });

  describe("are refused", () => {
    const refused = async (
      changes: Partial<IdentityProvider>,
      fields: (visit: Awaited<ReturnType<typeof aVisit>>) => Partial<Fields> = () => ({}),
    ) => {
      const visit = await aVisit({}, changes);
      const { app, token, provider } = visit;
      return read(app, { token, connection: provider.slug, ...fields(visit) });
    };

    it("to a client that is not on the list: invalid_target (RFC 8693 §2.2.2)", async () =>
      is(await refused({ exchangeClientIds: ["another"] }), "invalid_target"));

    it("of a connection that keeps no access", async () =>
      is(await refused({ keepAccess: false }), "invalid_target"));

    it("of a connection that is switched off (T-93)", async () =>
      is(await refused({ enabled: false }), "invalid_target"));

    it("of a connection of another issuer", async () =>
      is(await refused({ atIssuer: "other" }), "invalid_target"));

    it("of a connection that there is not, in the same words as where the client is not on the list", async () => {
      const [unknown, unlisted] = [
        await refused({}, () => ({ connection: "nowhere" })),
        await refused({ exchangeClientIds: [] }),
      ];
      is(unknown, "invalid_target");
      assert.equal(json(unknown)["error_description"], json(unlisted)["error_description"]);
    });

    it("for another person: only the subject token says whose they are", async () => {
      const { provider, client, app } = await aVisit();
      const other = await signedIn(server, { scope: "openid" }, exchanging);
      const { access_token: token } = json(await other.app.redeem(other.code));
      await IdentityProvider.query(server.database.knex)
        .findById(provider.id)
        .patch({ exchangeClientIds: [client.clientId, other.client.clientId] });
      is(
        await read(other.app, { token: String(token), connection: provider.slug }),
        "invalid_target",
      );
      is(await read(app, { token: String(token), connection: provider.slug }), "invalid_request");
    });

    it("for a token that was issued to another client (RFC 8693 §2.2.2)", async () => {
      const { provider, token, client } = await aVisit();
      const thief = new RelyingParty(server, await aClient(server, exchanging));
      await IdentityProvider.query(server.database.knex)
        .findById(provider.id)
        .patch({ exchangeClientIds: [client.clientId, thief.credentials.clientId] });
      is(await read(thief, { token, connection: provider.slug }), "invalid_request");
    });

    it("for a token that was revoked (T-97)", async () => {
      const { app, token, provider } = await aVisit();
      await app.post("/token/revocation", { token });
      is(await read(app, { token, connection: provider.slug }), "invalid_request");
    });

    it("for somebody who is disabled (T-97)", async () => {
      const { app, token, provider, user } = await aVisit();
      await disableUser(server.database.knex, user.id, {}, new Date());
      is(await read(app, { token, connection: provider.slug }), "invalid_request");
    });

    it("for a token of another issuer (T-97)", async () => {
      const elsewhere = issuerAt(server, "other");
      const visit = await signedIn(server, { scope: "openid" }, exchanging, elsewhere, "other");
      const { access_token: token } = json(await visit.app.redeem(visit.code));
      const { app, provider } = await aVisit();
      is(await read(app, { token: String(token), connection: provider.slug }), "invalid_request");
    });

    it("to a client without the grant: unauthorized_client (RFC 6749 §5.2)", async () => {
      const { token, provider } = await aVisit();
      const other = new RelyingParty(server, await aClient(server));
      is(await read(other, { token, connection: provider.slug }), "unauthorized_client");
    });

    it("with what would say what a token of ours is to be", async () => {
      for (const fields of [
        { scope: "mail" },
        { audience: "https://api.example" },
        { actor_token: "x", actor_token_type: ACCESS_TOKEN },
      ])
        is(await refused({}, () => fields), "invalid_request");
    });

    it("as anything but an access token: requested_token_type (RFC 8693 §2.1)", async () => {
      const requested = "urn:ietf:params:oauth:token-type:refresh_token";
      is(await refused({}, () => ({ requested_token_type: requested })), "invalid_request");
    });
  });

  describe("that are over", () => {
    const refreshes = () =>
      upstream.calls.filter(({ fields }) => fields["grant_type"] === "refresh_token").length;
    const kept = ({ identityId }: { identityId: string }) =>
      IdentityToken.query(server.database.knex).findById(identityId);

    it("are renewed at the provider, and kept (RFC 6749 §6)", async () => {
      const visit = await aVisit(over);
      const { app, token, provider } = visit;
      const first = json(await read(app, { token, connection: provider.slug }));
      assert.match(String(first["access_token"]), /^access-/);
      const second = json(await read(app, { token, connection: provider.slug }));
      assert.equal(second["access_token"], first["access_token"]);
      assert.equal(refreshes(), 1);
      assert.equal((await kept(visit))?.refreshingUntil, null);
    });

    it("are renewed once, however many ask at the same time, on two nodes", async () => {
      const { app, token, provider, client } = await aVisit(over);
      const another = await server.another();
      const node = new RelyingParty(
        { issuer: server.issuer, port: Number(new URL(another.origin).port) },
        client,
      );
      const answers = await Promise.all(
        [app, node, app, node].map((each) => read(each, { token, connection: provider.slug })),
      );
      const tokens = new Set(answers.map((answer) => json(answer)["access_token"]));
      assert.equal(tokens.size, 1);
      assert.match(String([...tokens][0]), /^access-/);
      assert.equal(refreshes(), 1);
    });

    it("are given up where the provider takes the refresh token no more", async () => {
      const visit = await aVisit({ ...over, refreshToken: "revoked-there" });
      is(
        await read(visit.app, { token: visit.token, connection: visit.provider.slug }),
        "invalid_target",
      );
      assert.equal(await kept(visit), undefined);
    });

    it("are given up where there is no refresh token", async () => {
      const visit = await aVisit({ expiresAt: 1 });
      is(
        await read(visit.app, { token: visit.token, connection: visit.provider.slug }),
        "invalid_target",
      );
      assert.equal(refreshes(), 0);
    });

    it("wait for a provider that is down: temporarily_unavailable, and nothing is lost", async () => {
      const visit = await aVisit(over);
      const { app, token, provider } = visit;
      upstream.replaced.set("/token", () => ({ status: 503, body: "down" }));
      is(await read(app, { token, connection: provider.slug }), "temporarily_unavailable");
      assert.equal((await kept(visit))?.refreshingUntil, null);
      upstream.mend();
      assert.equal((await read(app, { token, connection: provider.slug })).status, 200);
    });

    it("are renewed by somebody else after whoever began went away", async () => {
      const visit = await aVisit(over);
      await IdentityToken.query(server.database.knex)
        .findById(visit.identityId)
        .patch({ refreshingUntil: new Date(Date.now() + 500) });
      const answer = await read(visit.app, { token: visit.token, connection: visit.provider.slug });
      assert.match(String(json(answer)["access_token"]), /^access-/);
    });
  });
});
