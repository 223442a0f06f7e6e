import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { decodeJwt } from "jose";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { createResource, deleteResource, updateResource } from "../../src/resources/resources.ts";
import { aMachine, anApi, asksFor, signedIn } from "../support/api.ts";
import { errorOf, json, RelyingParty, response, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, aServerWith, aUser, type TestServer } from "../support/server.ts";

/** Resource indicators (RFC 8707): which API a token is for, and who may ask for it. */
describe("resource indicators", () => {
  let server: TestServer;
  let notes: string;
  let mail: string;
  before(async () => {
    server = await aServerWith({ open: "conformance" });
    notes = await anApi(server, { token_format: "opaque" });
    mail = await anApi(server, {
      name: "Mail",
      permissions: { send: "Send mail in your name", read: "Read your mail" },
      token_format: "opaque",
    });
  });
  after(() => server.stop());

  /** What the client is told of an opaque token. */
  const seen = async (app: RelyingParty, token: unknown) =>
    json(await app.post("/token/introspection", { token: String(token) }));
  const asking = async (asked: Record<string, string | string[]>) => {
    const app = new RelyingParty(server, await aClient(server));
    return walk(server, new WebBrowser(server), asksFor(app, asked), await aUser(server));
  };
  const change = (identifier: string, given: (old: object) => object) =>
    server.database.knex.transaction((trx) =>
      updateResource(trx, identifier, given, new Date(), server.deps.config.issuers),
    );
  const rowOf = (clientId: string) =>
    OAuthClient.query(server.database.knex).findOne({ clientId }).throwIfNotFound();

  describe("at the authorization endpoint", () => {
    for (const [what, resource] of [
      ["an API that nobody defined (RFC 8707 §2)", "https://unknown.example/"],
      ["an identifier with a fragment (RFC 8707 §2)", "https://api.example/#part"],
      ["a relative identifier (RFC 8707 §2)", "/notes"],
      ["a word that is no URI (RFC 8707 §2)", "notes"],
      ["an identifier that only begins like one", "https://unknown.example/x"],
    ] as const) {
      it(`answers invalid_target for ${what}`, async () => {
        const answer = await asking({ scope: "openid read", resource });
        assert.equal(errorOf(answer), "invalid_target");
      });
    }

    it("answers invalid_target where one of several is unknown (RFC 8707 §2)", async () => {
      const answer = await asking({
        scope: "openid read",
        resource: [notes, "https://unknown.example/"],
      });
      assert.equal(errorOf(answer), "invalid_target");
    });

    it("compares identifiers character by character", async () => {
      const answer = await asking({ scope: "read", resource: notes.slice(0, -1) });
      assert.equal(errorOf(answer), "invalid_target");
    });

    it("answers invalid_target for an API of another issuer", async () => {
      const elsewhere = await anApi(server, {}, "open");
      assert.equal(errorOf(await asking({ scope: "read", resource: elsewhere })), "invalid_target");
    });

    it("answers invalid_target where the client is not listed, in the same words as for an unknown API", async () => {
      const closed = await anApi(server, { open_to: "listed" });
      const [refused, unknown] = await Promise.all([
        asking({ scope: "read", resource: closed }),
        asking({ scope: "read", resource: "https://unknown.example/" }),
      ]);
      assert.equal(errorOf(refused), "invalid_target");
      assert.equal(response(refused)["error_description"], response(unknown)["error_description"]);
    });

    it("lets a listed client ask for it", async () => {
      const client = await aClient(server);
      const closed = await anApi(server, {
        open_to: "listed",
        clients: { [client.clientId]: null },
      });
      const app = new RelyingParty(server, client);
      const asked = asksFor(app, { scope: "read", resource: closed });
      const back = await walk(server, new WebBrowser(server), asked, await aUser(server));
      assert.ok(response(back)["code"]);
    });

    it("asks for no token that nobody would be asked about: a permission must be named", async () => {
      assert.equal(errorOf(await asking({ scope: "openid", resource: notes })), "invalid_scope");
    });

    it("takes the resource of a pushed request (RFC 9126 §2.1)", async () => {
      const client = await aClient(server);
      const app = new RelyingParty(server, client);
      const pushed = await app.post(
        "/request",
        app.parameters({ scope: "openid read", resource: notes }),
      );
      assert.equal(pushed.status, 201);
      const refused = await app.post(
        "/request",
        app.parameters({ scope: "openid read", resource: "https://unknown.example/" }),
      );
      assert.equal(errorOf(refused), "invalid_target");
    });
  });

  describe("the consent page", () => {
    const pageFor = async (asked: Record<string, string | string[]>, metadata = {}) => {
      const app = new RelyingParty(server, await aClient(server, metadata));
      const user = { ...(await aUser(server)), until: "consent" };
      const browser = new WebBrowser(server);
      return {
        app,
        user,
        browser,
        page: await walk(server, browser, asksFor(app, asked), user),
      };
    };

    it("names each API and what would be allowed, in plain words", async () => {
      const { page } = await pageFor({ scope: "openid read send", resource: [notes, mail] });
      assert.equal(page.page, "consent");
      for (const words of [
        "What it could do at Notes",
        "Read your notes",
        "What it could do at Mail",
        "Send mail in your name",
        "Read your mail",
      ])
        assert.ok(page.text.includes(words), words);
      assert.ok(!page.text.includes("Change your notes"), "what was not asked for");
    });

    it("asks about the same word once for every API", async () => {
      const { page } = await pageFor({ scope: "read", resource: [notes, mail] });
      const values = [...page.text.matchAll(/name="scope" value="([^"]+)"/g)].map(
        ([, item]) => item,
      );
      assert.deepEqual(values, [`${notes} read`, `${mail} read`]);
    });

    it("does not ask first-party clients' people", async () => {
      const { page } = await pageFor(
        { scope: "openid read", resource: notes },
        { first_party: true },
      );
      assert.ok(response(page)["code"]);
    });

    it("gives only what the person left ticked (RFC 6749 §3.3)", async () => {
      const { app, user, browser, page } = await pageFor({ scope: "read write", resource: notes });
      const back = await walk(server, browser, page.url.href, {
        ...user,
        until: "",
        scopes: [`${notes} read`],
      });
      const tokens = json(await app.redeem(response(back)["code"] ?? ""));
      assert.equal(tokens["scope"], "read");
    });

    it("is not shown again for what was decided, and is for another permission", async () => {
      const { app, user, browser, page } = await pageFor({ scope: "read", resource: notes });
      await walk(server, browser, page.url.href, { email: user.email });
      const again = await walk(
        server,
        browser,
        asksFor(app, { scope: "read", resource: notes }),
        user,
      );
      assert.ok(response(again)["code"]);
      const more = await walk(
        server,
        browser,
        asksFor(app, { scope: "read write", resource: notes }),
        user,
      );
      assert.equal(more.page, "consent");
      assert.match(more.text, /Read your notes <span class="badge">Allowed before/);
    });

    it("is shown for the same word at another API: consent is to one API", async () => {
      const { app, user, browser, page } = await pageFor({ scope: "read", resource: notes });
      await walk(server, browser, page.url.href, { email: user.email });
      const other = await walk(
        server,
        browser,
        asksFor(app, { scope: "read", resource: mail }),
        user,
      );
      assert.equal(other.page, "consent");
    });

    it("remembers across sessions", async () => {
      const { app, user, browser, page } = await pageFor({ scope: "read", resource: notes });
      await walk(server, browser, page.url.href, { email: user.email });
      const asked = asksFor(app, { scope: "read", resource: notes });
      const elsewhere = await walk(server, new WebBrowser(server), asked, user);
      assert.ok(response(elsewhere)["code"]);
    });

    it("cannot be answered with permissions that were not asked for", async () => {
      const { app, user, browser, page } = await pageFor({ scope: "read", resource: notes });
      const back = await walk(server, browser, page.url.href, {
        ...user,
        until: "",
        scopes: [`${notes} read`, `${notes} write`, `${mail} send`],
      });
      const tokens = json(await app.redeem(response(back)["code"] ?? ""));
      assert.equal(tokens["scope"], "read");
      const wider = await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
        scope: "write",
      });
      assert.equal(errorOf(wider), "invalid_scope");
    });
  });

  describe("at the token endpoint", () => {
    it("gives the API's token where it is named, with the API as its only audience (RFC 8707 §2.2)", async () => {
      const { app, code } = await signedIn(server, { scope: "openid read", resource: notes });
      const tokens = json(await app.redeem(code, { resource: notes }));
      const token = await seen(app, tokens["access_token"]);
      assert.equal(token["aud"], notes);
      assert.equal(token["scope"], "read");
      assert.equal(tokens["scope"], "read");
    });

    it("gives userinfo's token where openid was asked for and none is named", async () => {
      const { app, code, user } = await signedIn(server, { scope: "openid read", resource: notes });
      const tokens = json(await app.redeem(code));
      assert.equal(tokens["scope"], "openid");
      const userinfo = await app.userinfo(String(tokens["access_token"]));
      assert.equal(json(userinfo)["sub"], user.id);
    });

    it("gives the one API's token where openid was not asked for (RFC 8707 §2.2)", async () => {
      const { app, code } = await signedIn(server, { scope: "read", resource: notes });
      const tokens = json(await app.redeem(code));
      assert.equal((await seen(app, tokens["access_token"]))["aud"], notes);
      assert.equal(tokens["id_token"], undefined);
    });

    it("answers invalid_target for an API that was not granted (RFC 8707 §2.2)", async () => {
      const { app, code } = await signedIn(server, { scope: "openid read", resource: notes });
      assert.equal(errorOf(await app.redeem(code, { resource: mail })), "invalid_target");
    });

    it("answers invalid_target where nothing was granted for any API (RFC 8707 §2.2)", async () => {
      const { app, code } = await signedIn(server, { scope: "openid" });
      assert.equal(errorOf(await app.redeem(code, { resource: notes })), "invalid_target");
    });

    it("answers invalid_target where several APIs are named at once", async () => {
      const { app, code } = await signedIn(server, { scope: "read", resource: [notes, mail] });
      const answer = await app.redeem(code, { resource: [notes, mail] });
      assert.equal(errorOf(answer), "invalid_target");
    });

    it("answers invalid_target where several were granted and none is named", async () => {
      const { app, code } = await signedIn(server, { scope: "read", resource: [notes, mail] });
      assert.equal(errorOf(await app.redeem(code)), "invalid_target");
    });

    it("answers invalid_target at a refresh for an API that was not granted (RFC 8707 §2.2)", async () => {
      const { app, code } = await signedIn(server, { scope: "read", resource: [notes, mail] });
      const tokens = json(await app.redeem(code, { resource: notes }));
      const refused = await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
        resource: "https://unknown.example/",
      });
      assert.equal(errorOf(refused), "invalid_target");
    });

    it("gives one token after the other for several APIs, each with its own permissions (RFC 8707 §2.2)", async () => {
      const { app, code } = await signedIn(server, {
        scope: "openid read write send",
        resource: [notes, mail],
      });
      const first = json(await app.redeem(code, { resource: notes }));
      assert.equal(first["scope"], "read write");
      const second = json(
        await app.token({
          grant_type: "refresh_token",
          refresh_token: String(first["refresh_token"]),
          resource: mail,
        }),
      );
      assert.deepEqual(String(second["scope"]).split(" ").toSorted(), ["read", "send"]);
      assert.equal((await seen(app, second["access_token"]))["aud"], mail);
    });

    it("narrows the scope at a refresh and never widens it (RFC 6749 §6)", async () => {
      const { app, code } = await signedIn(server, { scope: "read write", resource: notes });
      const tokens = json(await app.redeem(code));
      const refresh = async (token: unknown, scope: string) =>
        app.token({ grant_type: "refresh_token", refresh_token: String(token), scope });
      const narrowed = json(await refresh(tokens["refresh_token"], "read"));
      assert.equal(narrowed["scope"], "read");
      const wider = await refresh(narrowed["refresh_token"], "read send");
      assert.equal(errorOf(wider), "invalid_scope");
    });

    it("gives nothing more of a permission that was taken away since", async () => {
      const shrinking = await anApi(server, { token_format: "opaque" });
      const { app, code } = await signedIn(server, { scope: "read write", resource: shrinking });
      const tokens = json(await app.redeem(code));
      assert.equal(tokens["scope"], "read write");
      await change(shrinking, (old) => ({ ...old, permissions: { read: "Read your notes" } }));
      await delay(100);
      const answer = await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      });
      assert.equal(json(answer)["scope"], "read");
    });

    it("gives nothing more for an API that was deleted", async () => {
      const gone = await anApi(server);
      const { app, code } = await signedIn(server, { scope: "read", resource: gone });
      const tokens = json(await app.redeem(code));
      await server.database.knex.transaction((trx) => deleteResource(trx, gone));
      await delay(100);
      const answer = await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      });
      assert.equal(errorOf(answer), "invalid_target");
    });

    it("gives nothing more to a client that is no longer listed", async () => {
      const client = await aClient(server);
      const closed = await anApi(server, {
        open_to: "listed",
        clients: { [client.clientId]: null },
      });
      const app = new RelyingParty(server, client);
      const asked = asksFor(app, { scope: "read", resource: closed });
      const back = await walk(server, new WebBrowser(server), asked, await aUser(server));
      await change(closed, (old) => ({ ...old, clients: {} }));
      await delay(100);
      const answer = await app.redeem(response(back)["code"] ?? "");
      assert.equal(errorOf(answer), "invalid_target");
    });

    it("refuses the API's token at userinfo, whose audience it is not (RFC 9068 §4)", async () => {
      const { app, code } = await signedIn(server, { scope: "openid read", resource: notes });
      const tokens = json(await app.redeem(code, { resource: notes }));
      const answer = await app.userinfo(String(tokens["access_token"]));
      assert.ok([401, 403].includes(answer.status));
    });
  });

  describe("the client_credentials grant", () => {
    const ask = (app: RelyingParty, fields: Record<string, string | string[]>) =>
      app.token({ grant_type: "client_credentials", ...fields });

    it("gives a listed client the permissions it asks for (RFC 6749 §4.4)", async () => {
      const app = await aMachine(server);
      const api = await anApi(server, {
        token_format: "opaque",
        clients: { [app.credentials.clientId]: null },
      });
      const tokens = json(await ask(app, { resource: api, scope: "read write" }));
      assert.equal(tokens["scope"], "read write");
      assert.equal((await seen(app, tokens["access_token"]))["aud"], api);
    });

    it("gives it no more than the permissions that it is listed with", async () => {
      const app = await aMachine(server);
      const api = await anApi(server, { clients: { [app.credentials.clientId]: ["read"] } });
      const tokens = json(await ask(app, { resource: api, scope: "read write" }));
      assert.equal(tokens["scope"], "read");
    });

    it("does not let in whom only people may let in: an API that is open to any client", async () => {
      const app = await aMachine(server);
      const answer = await ask(app, { resource: notes, scope: "read" });
      assert.equal(errorOf(answer), "invalid_target");
    });

    it("answers invalid_target for several APIs at once", async () => {
      const app = await aMachine(server);
      const listed = { clients: { [app.credentials.clientId]: null } };
      const resource = [await anApi(server, listed), await anApi(server, listed)];
      assert.equal(errorOf(await ask(app, { resource, scope: "read" })), "invalid_target");
    });

    it("gives no permission of an API where no API is named", async () => {
      const app = await aMachine(server);
      const tokens = json(await ask(app, { scope: "read" }));
      assert.equal(tokens["scope"], undefined);
      assert.equal((await seen(app, tokens["access_token"]))["aud"], undefined);
    });
  });

  describe("the API itself", () => {
    it("may ask about tokens that are for it, as the client that was named (RFC 7662 §2.1)", async () => {
      const self = await aMachine(server);
      const api = await anApi(server, {
        token_format: "opaque",
        own_client: self.credentials.clientId,
      });
      const { app, code, user, client } = await signedIn(server, { scope: "read", resource: api });
      const tokens = json(await app.redeem(code));
      const token = await seen(self, tokens["access_token"]);
      assert.equal(token["active"], true);
      assert.equal(token["sub"], user.id);
      assert.equal(token["client_id"], client.clientId);
      assert.equal(token["scope"], "read");
      assert.ok(typeof token["auth_time"] === "number", "RFC 9470 §6.2");
      assert.ok(token["acr"], "RFC 9470 §6.2");
    });

    it("is told nothing of tokens for another API (RFC 7662 §4)", async () => {
      const self = await aMachine(server);
      await anApi(server, {
        token_format: "opaque",
        own_client: self.credentials.clientId,
      });
      const { app, code } = await signedIn(server, { scope: "read", resource: notes });
      const tokens = json(await app.redeem(code));
      assert.deepEqual(await seen(self, tokens["access_token"]), { active: false });
    });

    it("is told nothing of userinfo's and of refresh tokens", async () => {
      const self = await aMachine(server);
      const api = await anApi(server, {
        token_format: "opaque",
        own_client: self.credentials.clientId,
      });
      const { app, code } = await signedIn(server, { scope: "openid read", resource: api });
      const tokens = json(await app.redeem(code));
      assert.deepEqual(await seen(self, tokens["access_token"]), { active: false });
      assert.deepEqual(await seen(self, tokens["refresh_token"]), { active: false });
    });

    it("cannot revoke a client's tokens (RFC 7009 §2.1)", async () => {
      const self = await aMachine(server);
      const api = await anApi(server, {
        token_format: "opaque",
        own_client: self.credentials.clientId,
      });
      const { app, code } = await signedIn(server, { scope: "read", resource: api });
      const { access_token: token } = json(await app.redeem(code));
      await self.post("/token/revocation", { token: String(token) });
      assert.equal((await seen(app, token))["active"], true);
    });

    it("sees the pairwise subject of the client's sector, not its own (OIDC Core §8.1)", async () => {
      const self = await aMachine(server);
      const api = await anApi(server, {
        token_format: "opaque",
        own_client: self.credentials.clientId,
      });
      const asked = { scope: "openid read", resource: api };
      const { app, code } = await signedIn(server, asked, { subject_type: "pairwise" });
      const tokens = json(await app.redeem(code, { resource: api }));
      const { sub } = decodeJwt(String(tokens["id_token"]));
      assert.equal((await seen(self, tokens["access_token"]))["sub"], sub);
    });

    it("is told of no token after its client revoked it (RFC 7009 §2)", async () => {
      const self = await aMachine(server);
      const api = await anApi(server, {
        token_format: "opaque",
        own_client: self.credentials.clientId,
      });
      const { app, code } = await signedIn(server, { scope: "read", resource: api });
      const { access_token: token } = json(await app.redeem(code));
      await app.post("/token/revocation", { token: String(token) });
      assert.deepEqual(await seen(self, token), { active: false });
    });
  });

  describe("what an operator defines", () => {
    const define = (definition: object) =>
      server.database.knex.transaction((trx) =>
        createResource(
          trx,
          {
            definition: {
              identifier: "https://defined.example/",
              name: "Defined",
              permissions: { read: "Read" },
              ...definition,
            },
          },
          new Date(),
          server.deps.config.issuers,
        ),
      );
    for (const [what, definition, words] of [
      ["a fragment", { identifier: "https://api.example/#x" }, /fragment/],
      ["a relative identifier", { identifier: "notes" }, /absolute URI/],
      ["a space in the identifier", { identifier: "https://api.example/ x" }, /absolute URI/],
      ["no permission", { permissions: {} }, /at least one/],
      ["a permission with a space", { permissions: { "read all": "Read" } }, /printable ASCII/],
      ["a scope of OpenID Connect", { permissions: { email: "Read" } }, /OpenID Connect/],
      ["a permission without words", { permissions: { read: " " } }, /must not be empty/],
      ["a short life", { token_lifetime: 59 }, /at least 60/],
      ["a long life", { token_lifetime: 3_601 }, /at most 3600/],
      ["another issuer's algorithm", { signing_alg: "PS256" }, /ES256 or RS256/],
      ["no algorithm at all", { signing_alg: "none" }, /signing_alg/],
      ["a client that is not there", { clients: { nobody: null } }, /no client/],
      ["a field that is not known", { token_ttl: 60 }, /token_ttl/],
    ] as const) {
      it(`is refused with ${what}`, async () => {
        await assert.rejects(define(definition), words);
      });
    }

    it("is refused twice under one identifier", async () => {
      await assert.rejects(define({ identifier: notes }), /in use/);
    });

    it("cannot list a client of another issuer", async () => {
      const { clientId } = await aClient(server, {}, "open");
      await assert.rejects(define({ clients: { [clientId]: null } }), /no client/);
    });

    it("cannot list a permission that is not there", async () => {
      const { clientId } = await aClient(server);
      await assert.rejects(
        define({ clients: { [clientId]: ["write"] } }),
        /not one of the permissions/,
      );
    });

    it("is written to the audit log", async () => {
      const api = await anApi(server);
      await change(api, (old) => ({ ...old, name: "Better notes" }));
      await server.database.knex.transaction((trx) => deleteResource(trx, api));
      const events = await AuditEvent.query(server.database.knex)
        .where("type", "like", "resource.%")
        .orderBy("id", "desc")
        .limit(3);
      assert.deepEqual(
        events.map(({ type }) => type),
        ["resource.deleted", "resource.updated", "resource.created"],
      );
      assert.deepEqual(events[1]?.details, { fields: ["name"] });
    });

    it("loses a client that is purged, and stays", async () => {
      const { clientId } = await aClient(server);
      const api = await anApi(server, {
        clients: { [clientId]: null },
        own_client: clientId,
      });
      await (await rowOf(clientId)).$query(server.database.knex).delete();
      const shown = await change(api, (old) => ({ ...old, own_client: null }));
      assert.deepEqual(shown.clients, []);
    });
  });

  it("costs a request without resource nothing, and one with it one look-up in ten seconds", async () => {
    let statements = 0;
    const count = ({ sql }: { sql: string }) => {
      if (/api_resource|permissions/.test(sql)) statements += 1;
    };
    const app = await aMachine(server);
    const api = await anApi(server, { clients: { [app.credentials.clientId]: null } });
    await delay(200);
    server.deps.knex.on("query", count);
    try {
      await app.token({ grant_type: "client_credentials" });
      assert.equal(statements, 0);
      for (let time = 0; time < 3; time += 1)
        await app.token({ grant_type: "client_credentials", resource: api, scope: "read" });
      assert.equal(statements, 3, "the API, its permissions, its clients");
    } finally {
      server.deps.knex.off("query", count);
    }
  });

  it("is known to another node at once", async () => {
    const { origin } = await server.another();
    const other = { issuer: server.issuer, port: Number(new URL(origin).port) };
    const app = await aMachine(server);
    const there = new RelyingParty(other, app.credentials);
    const ask = { grant_type: "client_credentials", scope: "read" };
    const identifier = "https://announced.example/";
    const before = await there.token({ ...ask, resource: identifier });
    assert.equal(errorOf(before), "invalid_target");
    await anApi(server, { identifier, clients: { [app.credentials.clientId]: null } });
    await delay(200);
    assert.equal((await there.token({ ...ask, resource: identifier })).status, 200);
  });

  it("does not make requests wait for each other's connections when an API has just changed", async () => {
    const small = await aServer({ DATABASE_POOL: "2" });
    try {
      const api = await anApi(small);
      const asked = { scope: "read", resource: api };
      const visits = [];
      for (let count = 0; count < 6; count += 1) visits.push(await signedIn(small, asked));
      await small.database.knex("permissions").update({ description: "Read all" });
      await delay(200);
      const answers = await Promise.all(visits.map(({ app, code }) => app.redeem(code)));
      assert.deepEqual(
        answers.map(({ status }) => status),
        [200, 200, 200, 200, 200, 200],
      );
    } finally {
      await small.stop();
    }
  });
});
