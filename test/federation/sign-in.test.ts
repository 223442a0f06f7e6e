import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { decodeJwt } from "jose";
import { listSessions } from "../../src/devices/sessions.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Session } from "../../src/models/session.ts";
import { SsoDomain } from "../../src/models/sso-domain.ts";
import { User } from "../../src/models/user.ts";
import { RelyingParty, json } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

async function eventually(check: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await check()); tries += 1) {
    assert(tries < 100, "it never came to be");
    await delay(100);
  }
}

/** Two Lintels: people of the one sign in to apps of the other. */
describe("signing in at another OpenID provider", () => {
  let home: TestServer;
  let work: TestServer;
  let app: RelyingParty;
  let provider: IdentityProvider;
  before(async () => {
    home = await aServer({ SIGN_UP: "open" });
    work = await aServer();
    const { clientId, clientSecret } = await aClient(work, {
      redirect_uris: [`${home.issuer}/federation/work/callback`],
      post_logout_redirect_uris: [`${home.issuer}/federation/work/signed-out`],
      backchannel_logout_uri: `${home.issuer}/federation/work/backchannel-logout`,
      backchannel_logout_session_required: true,
      application_type: "native",
    });
    const { knex } = home.database;
    provider = await IdentityProvider.query(knex).insertAndFetch({
      slug: "work",
      kind: "oidc",
      name: "Work",
      issuer: work.issuer,
      clientId,
      settings: { sign_out: true },
    });
    await provider.$query(knex).patch({
      clientSecretEnc: home.deps.seal.encrypt(clientSecret, {
        table: "identity_providers",
        column: "client_secret_enc",
        id: provider.id,
      }),
    });
    app = new RelyingParty(home, await aClient(home));
  });
  after(async () => {
    await home.stop();
    await work.stop();
  });

  /** Somebody at the sign-in page of the app. */
  const arrives = async (changes = {}, visitor = new Visitor()): Promise<Visitor> =>
    visitor.open(home.issuer + app.authorization({ scope: "openid email", ...changes }));

  const allows = async (visitor: Visitor): Promise<Visitor> =>
    visitor.page === "consent"
      ? visitor.submit({ decision: "allow", scope: ["openid", "profile", "email"] })
      : visitor;

  /** Presses the button, and signs in there. */
  const signsInAtWork = async (
    visitor: Visitor,
    email: string,
    href = /href="([^"]*\/federation\/work)"/.exec(visitor.html)?.[1] ?? "",
  ): Promise<Visitor> => {
    if (href !== "") await visitor.open(home.issuer + href);
    assert.equal(visitor.page, "login");
    assert.equal(new URL(visitor.url).origin, work.issuer);
    await visitor.submit({ username: email, password: PASSWORD });
    return allows(visitor);
  };

  const tokensOf = async (visitor: Visitor) => {
    if (visitor.page === "consent")
      await visitor.submit({ decision: "allow", scope: ["openid", "email"] });
    const code = new URL(visitor.location ?? "").searchParams.get("code") ?? "";
    const { id_token: idToken, access_token: token } = json(await app.redeem(code));
    return { ...decodeJwt(String(idToken)), ...json(await app.userinfo(String(token))) };
  };

  it("makes an account at the first time, and knows it from then on", async () => {
    const { email, id } = await aUser(work);
    const visitor = await signsInAtWork(await arrives(), email);
    const claims = await tokensOf(visitor);
    const { knex } = home.database;
    const identity = await Identity.query(knex).findOne({ subject: id }).throwIfNotFound();
    assert.equal(claims.sub, identity.userId);
    assert.deepEqual(claims["amr"], ["fed"]);
    assert.equal(claims["email"], email);
    assert.equal(claims["email_verified"], false, "nobody vouches for the provider's word");
    const user = await User.query(knex).findById(identity.userId).throwIfNotFound();
    assert.equal(user.createdVia, "federation");
    const session = await Session.query(knex).findOne({ userId: user.id }).throwIfNotFound();
    assert.equal(session.identityId, identity.id);
    assert.notEqual(session.upstreamKey, null);
    assert.equal(session.upstreamAcr, "1", "in the provider's words");
    assert.deepEqual(session.upstreamAmr, ["pwd"]);
    const [live] = await listSessions(knex, user.id, new Date());
    assert.equal(live?.connection, "work");

    const again = await signsInAtWork(await arrives(), email);
    assert.equal((await tokensOf(again)).sub, claims.sub);
  });

  it("asks whoever has an account with that address to sign in to it once, and connects the two", async () => {
    const { email, id } = await aUser(work);
    const { id: userId } = await aUser(home, { email });
    const visitor = await signsInAtWork(await arrives(), email);
    assert.equal(visitor.page, "link");
    await visitor.submit({});
    assert.equal(visitor.page, "password");
    await visitor.submit({ password: "not this one" });
    assert.equal(visitor.page, "password");
    assert.equal(await Identity.query(home.database.knex).findOne({ subject: id }), undefined);
    await visitor.submit({ password: PASSWORD });
    assert.equal((await tokensOf(visitor)).sub, userId);
    const identity = await Identity.query(home.database.knex).findOne({ subject: id });
    assert.equal(identity?.userId, userId);
    assert.equal(identity.linkedVia, "user");
  });

  it("connects nothing where somebody signs in to another account", async () => {
    const { email, id } = await aUser(work);
    await aUser(home, { email });
    const other = await aUser(home);
    const visitor = await signsInAtWork(await arrives(), email);
    await visitor.submit({});
    await visitor.open(visitor.url.replace(/\/password$/, "?change=1"));
    await visitor.submit({ username: other.email, password: PASSWORD });
    assert.equal((await tokensOf(visitor)).sub, other.id);
    assert.equal(await Identity.query(home.database.knex).findOne({ subject: id }), undefined);
  });

  it("goes back to the other ways in when somebody changes their mind there", async () => {
    const visitor = await arrives();
    const href = /href="([^"]*\/federation\/work)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.open(home.issuer + href);
    await visitor.submit({}, `${visitor.url}/cancel`);
    assert.equal(new URL(visitor.url).origin, home.issuer);
    assert.equal(visitor.page, "login");
    assert.match(visitor.html, /did not finish signing in with Work/);
  });

  it("takes an answer once, from the browser that left, and never after that (T-45, T-94)", async () => {
    const { email } = await aUser(work);
    const visitor = await arrives();
    const href = /href="([^"]*\/federation\/work)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.open(home.issuer + href);
    const stopping = new Visitor({ follows: false });
    stopping.take(visitor);
    await stopping.submit({ username: email, password: PASSWORD }, visitor.url);
    for (let hops = 0; !stopping.location?.startsWith(home.issuer); hops += 1) {
      assert(hops < 6, stopping.page);
      if (stopping.page === "consent")
        await stopping.submit({ decision: "allow", scope: ["openid", "profile", "email"] });
      else await stopping.open(stopping.location ?? "");
    }
    const callback = stopping.location;
    const thief = await new Visitor().open(callback);
    assert.equal(thief.page, "federation-error");
    assert.equal(thief.status, 400);
    await stopping.open(callback);
    const outcome = stopping.location;
    assert.match(outcome, /\/arrived\?outcome=fo_/);
    await stopping.open(callback);
    assert.equal(stopping.page, "federation-error", "the answer was spent");
    await new Visitor().open(outcome);
    await stopping.open(outcome);
    assert.equal(stopping.status, 303);
    assert.doesNotMatch(stopping.location, /error/);
    const before = stopping.location;
    await stopping.open(outcome);
    assert.equal(stopping.location, before, "an outcome that is spent changes nothing");
  });

  it("signs nobody in where the connection was switched off meanwhile (T-93)", async () => {
    const { email, id } = await aUser(work);
    const visitor = await arrives();
    const href = /href="([^"]*\/federation\/work)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.open(home.issuer + href);
    const { knex } = home.database;
    await provider.$query(knex).patch({ enabled: false });
    try {
      await signsInAtWork(visitor, email, "");
      assert.equal(visitor.status, 404);
      assert.equal(await Identity.query(knex).findOne({ subject: id }), undefined);
    } finally {
      await provider.$query(knex).patch({ enabled: true });
    }
  });

  describe("where a domain is the connection's", () => {
    const domain = "contoso.example";
    before(async () => {
      await SsoDomain.query(home.database.knex).insert({
        domain,
        providerId: provider.id,
        dnsChallenge: "x",
        verifiedAt: new Date(),
      });
    });
    const enforce = (enforceSso: boolean) =>
      SsoDomain.query(home.database.knex).patch({ enforceSso }).where({ domain });

    it("offers it to whoever types such an address, known or not", async () => {
      for (const email of [
        `ada@${domain}`,
        (await aUser(home, { email: `bea@${domain}` })).email,
      ]) {
        const visitor = await arrives();
        await visitor.submit({ username: email });
        assert.equal(visitor.page, "sso", visitor.html);
        await visitor.submit({ way: "other" });
        assert.equal(visitor.page, "password");
      }
    });

    it("goes there at once where its people must", async () => {
      await enforce(true);
      const { email, id } = await aUser(work, { email: `cleo@${domain}` });
      const visitor = await arrives();
      await visitor.submit({ username: email });
      await signsInAtWork(visitor, email, "");
      const { sub } = await tokensOf(visitor);
      const identity = await Identity.query(home.database.knex).findOne({ subject: id });
      assert.equal(sub, identity?.userId);
    });

    it("lets no password take the place of it", async () => {
      await enforce(true);
      const { email } = await aUser(home, { email: `dora@${domain}` });
      const visitor = await arrives();
      await visitor.submit({ username: email, password: PASSWORD });
      assert.equal(new URL(visitor.url).origin, work.issuer);
    });

    it("begins there too where somebody would make an account, and sends no letter", async () => {
      await enforce(true);
      const visitor = await arrives({ prompt: "create" });
      assert.equal(visitor.page, "register");
      await visitor.submit({ email: `eve@${domain}` });
      assert.equal(new URL(visitor.url).origin, work.issuer);
      assert.deepEqual(await home.database.knex("one_time_tokens"), []);
    });

    it("knows the domain from what the app says", async () => {
      await enforce(false);
      for (const hint of [{ domain_hint: domain }, { idp_hint: "work" }]) {
        const visitor = await arrives(hint);
        assert.equal(new URL(visitor.url).origin, work.issuer, JSON.stringify(hint));
      }
      const unknown = await arrives({ idp_hint: "elsewhere" });
      assert.equal(unknown.page, "login");
      assert.equal(new URL(unknown.url).origin, home.issuer);
    });

    it("is not offered before the domain is proven to be its", async () => {
      await SsoDomain.query(home.database.knex).patch({ verifiedAt: null, enforceSso: false });
      const visitor = await arrives();
      await visitor.submit({ username: `ada@${domain}` });
      assert.equal(visitor.page, "password");
    });
  });

  /** Everything that a person of the provider signs in to, and what our session keeps of it. */
  const aSession = async () => {
    const person = await aUser(work);
    const visitor = await signsInAtWork(await arrives(), person.email);
    const { sub } = await tokensOf(visitor);
    const session = () =>
      Session.query(home.database.knex)
        .findOne({ userId: String(sub) })
        .throwIfNotFound();
    return { person, visitor, session, userId: String(sub) };
  };

  it("ends our session when the provider says that its own has ended", async () => {
    const { person, session } = await aSession();
    await aSession();
    assert.equal((await session()).endedAt, null);
    const atWork = new Visitor();
    await atWork.open(`${work.issuer}/account`);
    await atWork.submit({ username: person.email, password: PASSWORD });
    await atWork.open(`${work.issuer}/account/sessions`);
    const { knex } = work.database;
    const there = await Session.query(knex).where({ userId: person.id }).whereNotNull("loggedInAt");
    for (const { uid } of there)
      await atWork.submit({ end: uid }, `${work.issuer}/account/sessions`);
    await eventually(async () => (await session()).endedAt !== null);
    assert.equal((await session()).endReason, "upstream_logout");
    const others = await Session.query(home.database.knex)
      .where({ endReason: "upstream_logout" })
      .whereNot({ uid: (await session()).uid });
    assert.deepEqual(others, [], "nobody else's ends");
  });

  it("signs people out there too, and brings them to where they were going", async () => {
    const { visitor, session, person } = await aSession();
    await visitor.open(`${home.issuer}/session/end`);
    assert.equal(visitor.page, "logout");
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.submit({ xsrf, logout: "yes" }, `${home.issuer}/session/end/confirm`);
    assert.equal(new URL(visitor.url).origin, work.issuer);
    const there = /name="xsrf" value="([^"]+)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.submit({ xsrf: there, logout: "yes" }, `${work.issuer}/session/end/confirm`);
    assert.equal(visitor.page, "signed-out");
    assert.equal(new URL(visitor.url).origin, home.issuer);
    assert.notEqual((await session()).endedAt, null);
    const live = await Session.query(work.database.knex)
      .where({ userId: person.id })
      .whereNull("endedAt");
    assert.deepEqual(live, []);
  });

  it("takes no state of a sign-out for one of a sign-in", async () => {
    const { visitor } = await aSession();
    await visitor.open(`${home.issuer}/session/end`);
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(visitor.html)?.[1] ?? "";
    const stopping = new Visitor({ follows: false });
    stopping.take(visitor);
    await stopping.submit({ xsrf, logout: "yes" }, `${home.issuer}/session/end/confirm`);
    const state = new URL(stopping.location ?? "").searchParams.get("state");
    await stopping.open(`${home.issuer}/federation/work/callback?state=${state}&code=x`);
    assert.equal(stopping.page, "federation-error");
    assert.match(stopping.html, /data-reason="stale"/);
    await stopping.open(`${home.issuer}/federation/work/signed-out?state=${state}`);
    assert.equal(stopping.status, 303, "what it is for, it is still good for");
    const login = await arrives();
    const href = /href="([^"]*\/federation\/work)"/.exec(login.html)?.[1] ?? "";
    const leaving = new Visitor({ follows: false });
    leaving.take(login);
    await leaving.open(home.issuer + href);
    const other = new URL(leaving.location ?? "").searchParams.get("state");
    await leaving.open(`${home.issuer}/federation/work/signed-out?state=${other}`);
    assert.equal(leaving.status, 404);
  });

  it("asks who has nothing else to show it there once more, and anew, before a change", async () => {
    const { visitor, session, userId, person } = await aSession();
    const longAgo = new Date(Date.now() - 3_600_000);
    await Session.query(home.database.knex).patch({ loggedInAt: longAgo }).where({ userId });
    await visitor.open(`${home.issuer}/account/emails`);
    await visitor.submit({ email: "x@example.com" }, `${home.issuer}/account/emails`);
    assert.equal(new URL(visitor.url).origin, work.issuer);
    assert.equal(visitor.page, "password", "though there is a session");
    await visitor.submit({ password: PASSWORD });
    await allows(visitor);
    assert.equal(visitor.url, `${home.issuer}/account/emails`, person.email);
    assert.notEqual((await session()).confirmedAt, null);
  });

  it("reaches the level of two factors where the operator believes the provider", async () => {
    const { email } = await aUser(work);
    const first = await tokensOf(await signsInAtWork(await arrives(), email));
    assert.equal(first["acr"], "1");
    await provider.$query(home.database.knex).patch({ trustedAcrValues: ["pwd"] });
    try {
      const second = await tokensOf(await signsInAtWork(await arrives(), email));
      assert.equal(second["acr"], "2");
      assert.deepEqual(second["amr"], ["fed", "mfa"]);
    } finally {
      await provider.$query(home.database.knex).patch({ trustedAcrValues: [] });
    }
  });

  it("leads from a link of its own to the account", async () => {
    const { email } = await aUser(work);
    const visitor = await new Visitor().open(`${home.issuer}/federation/work/login`);
    await signsInAtWork(visitor, email, "");
    assert.equal(visitor.page, "account");
  });

  it("shows what was wrong with a number that leads to what happened", async () => {
    const visitor = await arrives();
    const href = /href="([^"]*\/federation\/work)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.open(home.issuer + href);
    const stopping = new Visitor({ follows: false });
    stopping.take(visitor);
    const back = new Visitor({ follows: false });
    back.take(visitor);
    await back.open(home.issuer + href);
    const state = new URL(back.location ?? "").searchParams.get("state") ?? "";
    const iss = encodeURIComponent(work.issuer);
    await back.open(`${home.issuer}/federation/work/callback?state=${state}&code=x&iss=${iss}`);
    assert.equal(back.page, "federation-error");
    const supportId = /id="correlation-id">([^<]+)</.exec(back.html)?.[1] ?? "";
    const trace = await home.database.knex("federation_traces").where({ support_id: supportId });
    assert.equal(trace.length, 1);
    assert(trace[0].steps.length > 1, JSON.stringify(trace[0]));
  });
});
