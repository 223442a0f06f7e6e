import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { DECOUPLED_GRANTS } from "../../src/issuers.ts";
import {
  addToOrganization,
  createOrganization,
  deleteOrganization,
  removeFromOrganization,
} from "../../src/users/organizations.ts";
import { assignRole, createRole, updateRole } from "../../src/users/roles.ts";
import { anApi, asksFor } from "../support/api.ts";
import { json, RelyingParty, response, walk, WebBrowser, type Fields } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

describe("a request in the name of an organization", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let serial = 0;
  before(async () => {
    server = await aServer();
    app = new RelyingParty(
      server,
      await aClient(server, { grant_types: ["authorization_code", "refresh_token"] }),
    );
  });
  after(() => server.stop());

  const knex = () => server.database.knex;
  const anOrganization = async () => {
    const slug = `org-${(serial += 1)}`;
    await createOrganization(knex(), { slug, name: `Org ${serial}` });
    return slug;
  };
  /** Somebody with a role in each organization. */
  const somebodyIn = async (...slugs: string[]) => {
    const user = await aUser(server);
    for (const organization of slugs) {
      await addToOrganization(knex(), organization, user.id);
      const { slug: role } = await createRole(knex(), { slug: `in:${organization}:${user.id}` });
      await assignRole(knex(), role, { userId: user.id, organization });
    }
    return user;
  };
  const roleOf = (user: { id: string }, slug: string) => `in:${slug}:${user.id}`;
  /** A client that nobody is sent back to. */
  const aDecoupled = async (grant: "device" | "ciba", more: object = {}) => {
    const grants = [DECOUPLED_GRANTS[grant]];
    const metadata = { redirect_uris: [], post_logout_redirect_uris: [], grant_types: grants };
    return new RelyingParty(server, await aClient(server, { ...metadata, ...more }));
  };
  const open = (
    user: { email: string },
    asked: Fields,
    { browser = new WebBrowser(server), until }: { browser?: WebBrowser; until?: string } = {},
  ) => {
    const person = { email: user.email, ...(until === undefined ? {} : { until }) };
    return walk(server, browser, asksFor(app, { scope: "openid", ...asked }), person);
  };
  const tokensFor = async (user: { email: string }, asked: Fields) =>
    json(await app.redeem(response(await open(user, asked))["code"] ?? ""));
  const about = (claims: Record<string, unknown>) => [claims["org_id"], claims["org_roles"]];
  const inIdToken = (tokens: Record<string, unknown>) =>
    about(decodeJwt(String(tokens["id_token"])));
  const atUserinfo = async (tokens: Record<string, unknown>) =>
    about(json(await app.userinfo(String(tokens["access_token"]))));
  const refresh = async (tokens: Record<string, unknown>) =>
    json(
      await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      }),
    );
  const errorOf = async (user: { email: string }, asked: Fields, browser?: WebBrowser) => {
    const answer = await open(user, asked, browser === undefined ? {} : { browser });
    return response(answer)["error"];
  };

  it("has it and the roles in it in the ID token and at userinfo (OIDC Core §5.5.1)", async () => {
    const [acme, other] = [await anOrganization(), await anOrganization()];
    const user = await somebodyIn(acme, other);
    const tokens = await tokensFor(user, { organization_id: acme });
    const said = [acme, [roleOf(user, acme)]];
    assert.deepEqual(inIdToken(tokens), said);
    assert.deepEqual(await atUserinfo(tokens), said);
  });

  it("is the same by the value of the claim org_id (OIDC Core §5.5.1)", async () => {
    const acme = await anOrganization();
    const user = await somebodyIn(acme);
    const claims = JSON.stringify({ id_token: { org_id: { value: acme } } });
    const tokens = await tokensFor(user, { claims });
    assert.deepEqual(inIdToken(tokens), [acme, undefined]);
    assert.deepEqual(await atUserinfo(tokens), [undefined, undefined]);
  });

  it("keeps what else the claims parameter asks for (OIDC Core §5.5)", async () => {
    const acme = await anOrganization();
    const claims = JSON.stringify({ id_token: { email: null } });
    const user = await somebodyIn(acme);
    const tokens = await tokensFor(user, { organization_id: acme, claims });
    assert.equal(decodeJwt(String(tokens["id_token"]))["email"], user.email);
    assert.equal(inIdToken(tokens)[0], acme);
  });

  it("says nothing of organizations where none is named (OIDC Core §5.5.1)", async () => {
    const user = await somebodyIn(await anOrganization());
    const claims = JSON.stringify({ id_token: { org_id: null, org_roles: null } });
    for (const asked of [{}, { claims }, { scope: "openid organizations" }])
      assert.deepEqual(inIdToken(await tokensFor(user, asked)), [undefined, undefined]);
  });

  it("is refused to who does not belong to it, and to all where there is none (RFC 6749 §4.1.2.1)", async () => {
    const acme = await anOrganization();
    const stranger = await somebodyIn(await anOrganization());
    for (const organization_id of [acme, "no-such"])
      assert.equal(await errorOf(stranger, { organization_id }), "access_denied");
    const claims = JSON.stringify({ userinfo: { org_id: { value: acme } } });
    assert.equal(await errorOf(stranger, { claims }), "access_denied");
  });

  it("asks no stranger for consent to what is refused anyway (OIDC Core §3.1.2.4)", async () => {
    const [organization_id, stranger] = [await anOrganization(), await aUser(server)];
    const answer = await open(stranger, { organization_id }, { until: "consent" });
    assert.equal(answer.page, undefined);
    assert.equal(response(answer)["error"], "access_denied");
  });

  it("is refused to a stranger who is signed in, without a page (OIDC Core §3.1.2.6)", async () => {
    const acme = await anOrganization();
    const [browser, stranger] = [new WebBrowser(server), await aUser(server)];
    await open(stranger, {}, { browser });
    const asked = { organization_id: acme, prompt: "none" };
    assert.equal(await errorOf(stranger, asked, browser), "access_denied");
  });

  it("lets somebody else sign in where a stranger is signed in (OIDC Core §3.1.2.1)", async () => {
    const acme = await anOrganization();
    const [browser, stranger] = [new WebBrowser(server), await aUser(server)];
    await open(stranger, {}, { browser });
    const asked = { organization_id: acme, prompt: "login" };
    const page = await walk(server, browser, asksFor(app, { scope: "openid", ...asked }));
    assert.equal(page.page, "password");
  });

  it("asks for consent for each organization, by its name, and all or nothing (OIDC Core §3.1.2.4)", async () => {
    const [acme, other] = [await anOrganization(), await anOrganization()];
    const user = await somebodyIn(acme, other);
    const browser = new WebBrowser(server);
    const consent = { browser, until: "consent" };
    for (const organization_id of [acme, other]) {
      const page = await open(user, { organization_id }, consent);
      assert.equal(page.page, "consent");
      assert.match(page.text, /Act for this organization/);
      assert.match(page.text, new RegExp(`>${organization_id.replace("org-", "Org ")}<`));
      assert.match(page.text, /id="scope-organization"[^>]* disabled/);
      assert.ok(response(await open(user, { organization_id }, { browser }))["code"]);
      assert.ok(response(await open(user, { organization_id }, consent))["code"]);
    }
    assert.ok(
      response(await open(user, { organization_id: acme, prompt: "none" }, consent))["code"],
    );
  });

  it("is not answered without a page where nobody was asked (OIDC Core §3.1.2.6)", async () => {
    const acme = await anOrganization();
    const [browser, user] = [new WebBrowser(server), await somebodyIn(acme)];
    await open(user, {}, { browser });
    const asked = { organization_id: acme, prompt: "none" };
    assert.equal(await errorOf(user, asked, browser), "consent_required");
  });

  it("does not make what was asked for another one's: each token keeps its own (OIDC Core §5.5.1)", async () => {
    const [acme, other] = [await anOrganization(), await anOrganization()];
    const user = await somebodyIn(acme, other);
    const browser = new WebBrowser(server);
    for (const organization_id of [acme, other]) await open(user, { organization_id }, { browser });
    const all = [];
    for (const organization_id of [acme, other]) {
      const code = response(await open(user, { organization_id }, { browser }))["code"] ?? "";
      all.push(json(await app.redeem(code)));
    }
    const [first = {}, second = {}] = all;
    assert.equal(inIdToken(await refresh(first))[0], acme);
    assert.equal(inIdToken(await refresh(second))[0], other);
    assert.equal((await atUserinfo(first))[0], acme);
  });

  it("follows what is so at each refresh and at userinfo (OIDC Core §12.2)", async () => {
    const acme = await anOrganization();
    const user = await somebodyIn(acme);
    const tokens = await tokensFor(user, { organization_id: acme });
    await updateRole(knex(), roleOf(user, acme), { isActive: false });
    const second = await refresh(tokens);
    assert.deepEqual(inIdToken(second), [acme, []]);
    await removeFromOrganization(knex(), acme, user.id);
    assert.deepEqual(await atUserinfo(second), [undefined, undefined]);
    assert.deepEqual(inIdToken(await refresh(second)), [undefined, undefined]);
  });

  it("says nothing of an organization that is gone (OIDC Core §5.5.1)", async () => {
    const acme = await anOrganization();
    const tokens = await tokensFor(await somebodyIn(acme), { organization_id: acme });
    await deleteOrganization(knex(), acme);
    assert.deepEqual(await atUserinfo(tokens), [undefined, undefined]);
  });

  it("says nothing that its grant does not allow (OIDC Core §3.1.2.4)", async () => {
    const acme = await anOrganization();
    const user = await somebodyIn(acme);
    const tokens = await tokensFor(user, { organization_id: acme });
    await knex().raw(
      `UPDATE oauth_grants SET payload = jsonb_set(payload, '{openid,scope}', '"openid"') WHERE user_id = ?`,
      [user.id],
    );
    assert.deepEqual(await atUserinfo(tokens), [undefined, undefined]);
    assert.deepEqual(inIdToken(await refresh(tokens)), [undefined, undefined]);
  });

  it("names one organization, by what is one, with openid (RFC 6749 §4.1.2.1)", async () => {
    const user = await aUser(server);
    const claims = (one: unknown, two: unknown = one) =>
      JSON.stringify({
        id_token: { org_id: { value: one } },
        userinfo: { org_id: { value: two } },
      });
    for (const asked of [
      { organization_id: "Not One" },
      { organization_id: "acme", scope: "profile" },
      { organization_id: "acme", claims: claims("other") },
      { claims: claims("acme", "other") },
      { claims: claims(["acme"]) },
      { claims: claims("a b") },
    ])
      assert.equal(await errorOf(user, asked), "invalid_request", JSON.stringify(asked));
  });

  it("can be pushed (RFC 9126 §2.1)", async () => {
    const acme = await anOrganization();
    const user = await somebodyIn(acme);
    const pushed = await app.post("/request", {
      ...app.parameters({ scope: "openid" }),
      organization_id: acme,
    });
    const { request_uri: uri } = json(pushed);
    const { clientId } = app.credentials;
    const path = `/auth?${new URLSearchParams({ client_id: clientId, request_uri: String(uri) }).toString()}`;
    const page = await walk(server, new WebBrowser(server), path, { email: user.email });
    const tokens = json(await app.redeem(response(page)["code"] ?? ""));
    assert.equal(inIdToken(tokens)[0], acme);
  });

  it("is in access tokens for APIs, also after a refresh (RFC 9068 §2.2.3)", async () => {
    const acme = await anOrganization();
    const user = await somebodyIn(acme);
    const said = [acme, [roleOf(user, acme)]];
    const resource = await anApi(server, { token_format: "jwt" });
    const asked = { scope: "openid read", resource, organization_id: acme };
    const code = response(await open(user, asked))["code"] ?? "";
    const tokens = json(await app.redeem(code, { resource }));
    assert.deepEqual(about(decodeJwt(String(tokens["access_token"]))), said);
    const renewed = json(
      await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
        resource,
      }),
    );
    assert.deepEqual(about(decodeJwt(String(renewed["access_token"]))), said);
  });

  it("is in no access token for an API that nobody asked for in its name (RFC 9068 §2.2.3)", async () => {
    const user = await somebodyIn(await anOrganization());
    const resource = await anApi(server, { token_format: "jwt" });
    const code = response(await open(user, { scope: "openid read", resource }))["code"] ?? "";
    const tokens = json(await app.redeem(code, { resource }));
    assert.deepEqual(about(decodeJwt(String(tokens["access_token"]))), [undefined, undefined]);
  });

  it("is an authorization request: no device names one (RFC 8628 §3.1)", async () => {
    const device = await aDecoupled("device");
    const organization_id = await anOrganization();
    const claims = JSON.stringify({ id_token: { org_id: { value: organization_id } } });
    for (const asked of [{ organization_id }, { claims }]) {
      const answer = await device.post("/device/auth", { scope: "openid", ...asked });
      assert.deepEqual([answer.status, json(answer)["error"]], [400, "invalid_request"]);
    }
  });

  it("is an authorization request: no backchannel names one (CIBA Core §13)", async () => {
    const till = await aDecoupled("ciba", { backchannel_token_delivery_mode: "poll" });
    const { email } = await aUser(server);
    const asked = { scope: "openid", login_hint: email, organization_id: await anOrganization() };
    const answer = await till.post("/backchannel", asked);
    assert.deepEqual([answer.status, json(answer)["error"]], [400, "invalid_request"]);
    const { organization_id: _organization, ...plain } = asked;
    assert.equal((await till.post("/backchannel", plain)).status, 200);
  });
});
