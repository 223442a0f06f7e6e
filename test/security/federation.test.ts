import assert from "node:assert/strict";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Session } from "../../src/models/session.ts";
import { SsoDomain } from "../../src/models/sso-domain.ts";
import { UserEmail } from "../../src/models/user-email.ts";
import { User } from "../../src/models/user.ts";
import { restoreEmail } from "../../src/users/emails.ts";
import { connectionTo } from "../support/counterparts.ts";
import { RelyingParty } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Upstream } from "../support/upstream.ts";
import { Visitor } from "../support/visitor.ts";

/** What a review of signing in elsewhere found; each test says what should be. */
describe("signing in elsewhere, attacked", () => {
  let server: TestServer;
  let upstream: Upstream;
  let provider: IdentityProvider;
  let app: RelyingParty;
  let clientId: string;
  const domain = "upstream.example";

  before(async () => {
    server = await aServer();
    upstream = await Upstream.start();
    const client = await aClient(server);
    clientId = client.clientId;
    app = new RelyingParty(server, client);
    const { knex } = server.database;
    provider = await IdentityProvider.query(knex).insertAndFetch(
      connectionTo(upstream, server.deps.seal),
    );
    await SsoDomain.query(knex).insert({
      domain,
      providerId: provider.id,
      dnsChallenge: "x",
      verifiedAt: new Date(),
    });
  });
  beforeEach(() => enforce(false));
  afterEach(() => upstream.mend());
  after(async () => {
    await server.stop();
    await upstream.stop();
  });

  const enforce = async (enforceSso: boolean): Promise<void> => {
    await SsoDomain.query(server.database.knex).patch({ enforceSso }).where({ domain });
    await new Promise((done) => setTimeout(done, 300));
  };

  /** Answers at the provider as whoever `upstream.person` is. */
  const comesBack = async (visitor: Visitor): Promise<Visitor> => {
    assert.equal(new URL(visitor.location ?? "").origin, upstream.issuer);
    const { parameters } = upstream.agree(visitor.location ?? "");
    return visitor.open(
      `${server.issuer}/federation/acme/callback?${new URLSearchParams({ ...parameters })}`,
    );
  };
  const arrives = async (visitor = new Visitor()): Promise<Visitor> =>
    visitor.open(server.issuer + app.authorization({ scope: "openid email" }));
  const presses = async (visitor: Visitor): Promise<Visitor> => {
    const href = /href="([^"]*\/federation\/acme)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.open(server.issuer + href);
    return comesBack(visitor);
  };
  const name = (): string => Math.random().toString(36).slice(2);
  const sessionsOf = (userId: string) =>
    Session.query(server.database.knex).where({ userId }).whereNull("endedAt").resultSize();

  it("a colleague who waits to be linked cannot enter another's account by password where SSO is enforced", async () => {
    await enforce(true);
    const victim = await aUser(server, { email: `victim-${name()}@${domain}` });
    const colleague = await aUser(server, { email: `colleague-${name()}@${domain}` });
    Object.assign(upstream.person, { sub: name(), email: colleague.email });
    const visitor = await arrives();
    await visitor.submit({ username: colleague.email });
    await comesBack(visitor);
    assert.equal(visitor.page, "link");
    await visitor.open(visitor.url.replace(/\/link$/, "?change=1"));
    assert.equal(visitor.page, "login");
    await visitor.submit({ username: victim.email, password: PASSWORD });
    if (visitor.page === "consent")
      await visitor.submit({ decision: "allow", scope: ["openid", "email"] });
    assert.equal(await sessionsOf(victim.id), 0);
  });

  it("nobody leaves enforced SSO by choosing another primary address", async () => {
    await enforce(true);
    const { knex } = server.database;
    const user = await aUser(server, { email: `private-${name()}@elsewhere.example` });
    const work = `work-${name()}@${domain}`;
    await UserEmail.query(knex).insert({
      userId: user.id,
      email: work,
      emailNorm: work,
      isPrimary: false,
      verifiedAt: new Date(),
      createdAt: new Date(),
    });
    const visitor = await arrives();
    await visitor.submit({ username: user.email, password: PASSWORD });
    if (visitor.page === "consent")
      await visitor.submit({ decision: "allow", scope: ["openid", "email"] });
    assert.equal(await sessionsOf(user.id), 0, "signed in by password");
  });

  it("nothing is linked that nobody agreed to", async () => {
    const victim = await aUser(server, { email: `victim-${name()}@elsewhere.example` });
    Object.assign(upstream.person, { sub: name(), email: victim.email, email_verified: false });
    const visitor = await presses(await arrives());
    assert.equal(visitor.page, "link");
    await visitor.open(visitor.url.replace(/\/link$/, "?change=1"));
    await visitor.submit({ username: victim.email, password: PASSWORD });
    assert.equal(visitor.page, "consent");
    await visitor.submit({ decision: "allow", scope: ["openid", "email"] });
    const linked = await Identity.query(server.database.knex).findOne({ userId: victim.id });
    assert.equal(linked, undefined, "an identity was linked without the link page");
  });

  it("taking a change of address back takes back what was linked since", async () => {
    const { knex } = server.database;
    const victim = await aUser(server);
    const since = new Date();
    await Identity.query(knex).insert({
      userId: victim.id,
      providerId: provider.id,
      issuer: upstream.issuer,
      subject: `attacker-${name()}`,
      linkedVia: "user",
      createdAt: new Date(since.getTime() + 1000),
      updatedAt: since,
    });
    await knex.transaction((trx) =>
      restoreEmail(
        trx,
        { userId: victim.id, email: victim.email, since, by: { actor: { type: "system" } } },
        new Date(),
      ),
    );
    assert.equal(await Identity.query(knex).where({ userId: victim.id }).resultSize(), 0);
  });

  it("another site's POST does not make this browser a stranger to its own sign-ins", async () => {
    const visitor = await arrives();
    assert.equal(visitor.page, "login");
    // A cross-site POST carries no Lax cookie, and what is set in its answer is kept.
    const forged = await fetch(`${server.issuer}/federation/no-such-connection/acs`, {
      method: "POST",
      redirect: "manual",
      headers: { origin: "https://evil.example", "sec-fetch-site": "cross-site" },
      body: new URLSearchParams({ SAMLResponse: "x" }),
    });
    const set = forged.headers.getSetCookie().filter((line) => /lintel_browser=/.test(line));
    assert.deepEqual(set, []);
  });

  it("what was switched off between arrival and the last page signs nobody in (T-93)", async () => {
    const { knex } = server.database;
    Object.assign(upstream.person, { sub: name(), email: `new-${name()}@x.example` });
    const visitor = await presses(await arrives());
    assert.equal(visitor.page, "consent");
    await provider.$query(knex).patch({ enabled: false });
    try {
      const { userId } = await Identity.query(knex)
        .findOne({ subject: String(upstream.person["sub"]) })
        .throwIfNotFound();
      await visitor.submit({ decision: "allow", scope: ["openid", "email"] });
      assert.equal(await sessionsOf(userId), 0);
      assert(!visitor.location?.includes("code="), visitor.location);
    } finally {
      await provider.$query(knex).patch({ enabled: true });
    }
  });

  it("showing a password later does not cut a session off from the provider it began at", async () => {
    const { knex } = server.database;
    const user = await aUser(server);
    const sub = name();
    await Identity.query(knex).insert({
      userId: user.id,
      providerId: provider.id,
      issuer: upstream.issuer,
      subject: sub,
      linkedVia: "user",
      createdAt: new Date(),
      updatedAt: new Date(),
    });
    Object.assign(upstream.person, { sub });
    upstream.claims = { sid: "upstream-session" };
    const visitor = await new Visitor().open(`${server.issuer}/federation/acme/login`);
    await comesBack(visitor);
    assert.equal(visitor.page, "account");
    const session = () => Session.query(knex).findOne({ userId: user.id }).throwIfNotFound();
    assert.notEqual((await session()).upstreamKey, null);
    const longAgo = new Date(Date.now() - 3_600_000);
    await Session.query(knex).patch({ loggedInAt: longAgo }).where({ userId: user.id });
    await visitor.submit({ email: "x@example.com" }, `${server.issuer}/account/emails`);
    assert.equal(visitor.page, "password");
    await visitor.submit({ password: PASSWORD });
    assert.equal(visitor.page, "account-emails");
    assert.notEqual((await session()).upstreamKey, null, "an upstream logout would find nothing");
  });

  it("a long state keeps nobody from signing out", async () => {
    const { knex } = server.database;
    const sub = name();
    Object.assign(upstream.person, { sub, email: `long-${name()}@x.example` });
    const visitor = await presses(await arrives());
    await visitor.submit({ decision: "allow", scope: ["openid", "email"] });
    const { userId } = await Identity.query(knex).findOne({ subject: sub }).throwIfNotFound();
    assert.equal(await sessionsOf(userId), 1);
    const query = new URLSearchParams({
      client_id: clientId,
      post_logout_redirect_uri: "https://rp.example/",
      state: "x".repeat(2100),
    });
    await visitor.open(`${server.issuer}/session/end?${query}`);
    assert.equal(visitor.page, "logout");
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.submit({ xsrf, logout: "yes" }, `${server.issuer}/session/end/confirm`);
    assert.equal(await sessionsOf(userId), 0, `still signed in, status ${visitor.status}`);
    assert(visitor.status < 500, `status ${visitor.status}`);
  });

  it("unlinking ends a sign-in that is on its way, with a page", async () => {
    const { knex } = server.database;
    const sub = name();
    Object.assign(upstream.person, { sub, email: `gone-${name()}@x.example` });
    const visitor = await presses(await arrives());
    assert.equal(visitor.page, "consent");
    const { userId, id } = await Identity.query(knex).findOne({ subject: sub }).throwIfNotFound();
    await Identity.query(knex).deleteById(id);
    await visitor.submit({ decision: "allow", scope: ["openid", "email"] });
    assert.equal(await sessionsOf(userId), 0);
    assert(visitor.status < 500, String(visitor.status));
    await User.query(knex).findById(userId).throwIfNotFound();
  });

  it("a link that signs in silently elsewhere is no proof of who is there now", async () => {
    const { knex } = server.database;
    const sub = name();
    Object.assign(upstream.person, { sub, email: `quiet-${name()}@x.example` });
    upstream.claims = { auth_time: Math.floor(Date.now() / 1000) - 8 * 3600 };
    const visitor = await new Visitor().open(`${server.issuer}/federation/acme/login`);
    await comesBack(visitor);
    assert.equal(visitor.page, "account");
    const { userId } = await Identity.query(knex).findOne({ subject: sub }).throwIfNotFound();
    const longAgo = new Date(Date.now() - 3_600_000);
    await Session.query(knex).patch({ loggedInAt: longAgo }).where({ userId });
    await visitor.submit({ email: "x@example.com" }, `${server.issuer}/account/emails`);
    assert.match(visitor.location ?? "", /prompt=login/, "asked once more, anew");
    const other = await new Visitor().open(`${server.issuer}/federation/acme/login`);
    await comesBack(other);
    for (const who of [visitor, other]) {
      await who.open(`${server.issuer}/federation/acme/login`);
      assert.equal(who.page, "account");
      await who.submit({ email: "attacker@example.com" }, `${server.issuer}/account/emails`);
      assert.match(who.location ?? "", /prompt=login/, "asked once more, anew");
    }
    const added = await UserEmail.query(knex).findOne({ userId, email: "attacker@example.com" });
    assert.equal(added, undefined, "changed without anybody showing who they are");
  });

  it("an answer that another site posts to /acs ends in the sign-in that it is for (T-45)", async () => {
    // A jar as browsers have one: Lax cookies do not go with another site's POST, what it sets is kept.
    const jar = new Map<string, string>();
    const go = async (url: string, init: RequestInit = {}, only = /./): Promise<Response> => {
      const cookie = [...jar].filter(([key]) => only.test(key)).map((pair) => pair.join("="));
      const answer = await fetch(url, {
        ...init,
        redirect: "manual",
        headers: { accept: "text/html", cookie: cookie.join("; "), ...init.headers },
      });
      for (const line of answer.headers.getSetCookie()) {
        const [key = "", value = ""] = (line.split(";")[0] ?? "").split(/=(.*)/s);
        jar.set(key, value);
      }
      return answer;
    };
    Object.assign(upstream.person, { sub: name(), email: `saml-${name()}@x.example` });
    const auth = await go(server.issuer + app.authorization({ scope: "openid email" }));
    const here = new URL(auth.headers.get("location") ?? "", server.issuer).href;
    const away = await go(`${here}/federation/acme`);
    const { parameters } = upstream.agree(away.headers.get("location") ?? "");
    const posted = await go(
      `${server.issuer}/federation/acme/acs`,
      {
        method: "POST",
        headers: { origin: upstream.issuer, "sec-fetch-site": "cross-site" },
        body: new URLSearchParams({ ...parameters }),
      },
      // The only one that is SameSite=None in production (`states.ts`).
      /federation/,
    );
    assert.equal(posted.status, 303);
    const arrived = await go(new URL(posted.headers.get("location") ?? "", server.issuer).href);
    const page = /data-page="([^"]+)"/.exec(await arrived.text())?.[1];
    assert.equal(arrived.status, 303, `the page is ${page}`);
  });
});
