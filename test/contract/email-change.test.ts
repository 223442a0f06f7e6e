import assert from "node:assert/strict";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { Session } from "../../src/models/session.ts";
import { SsoDomain } from "../../src/models/sso-domain.ts";
import { UserEmail } from "../../src/models/user-email.ts";
import { allWritten, mailsTo, mailTo } from "../support/mailbox.ts";
import { json, RelyingParty, response, send, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { addressOf, Walker } from "../support/walker.ts";

const NEW = "seven purple umbrellas sing";

describe("addresses and password below /account (T-67, ASVS 6.2.2, 7.5.1)", function () {
  this.timeout(60_000);
  let server: TestServer;
  let serial = 0;
  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());
  beforeEach(() => LoginThrottle.query(server.database.knex).delete());

  const someAddress = () => `other-${(serial += 1)}@example.org`;
  const signedIn = async (email: string, to = "/account/emails", password = PASSWORD) => {
    const walker = new Walker(server);
    const login = await walker.open(to);
    const page = login.page === "login" ? await walker.submit(login, { username: email }) : login;
    return { walker, page: await walker.submit(page, { password, remember: "1" }) };
  };
  /** Makes a session look as if its person had signed in an hour ago. */
  const age = (userId: string) =>
    Session.query(server.database.knex)
      .patch({ loggedInAt: new Date(Date.now() - 3_600_000), confirmedAt: null })
      .where({ userId });
  const added = async (walker: Walker, email: string): Promise<Answer> => {
    const page = await walker.submit("/account/emails", { email });
    assert.equal(page.page, "account-emails", page.text);
    return page;
  };
  /** The form of the address in this place of the list. */
  const formOf = (page: Answer, n: number, what: string) => {
    const before = page.text.slice(0, page.text.indexOf(`id="${what}-${n}"`));
    const forms = [...before.matchAll(/<form[^>]* action="([^"]+)"/g)];
    return forms.at(-1)?.[1] ?? "";
  };
  /** Adds an address and proves it. */
  const verified = async (walker: Walker, email: string): Promise<Answer> => {
    const page = await added(walker, email);
    const { code } = await mailTo(server, email, "verify_email");
    const done = await walker.submit(formOf(page, 2, "verify"), { otp: code });
    assert.match(done.text, /The address is verified/);
    return done;
  };
  const promoted = async (walker: Walker, email: string) =>
    walker.submit(formOf(await verified(walker, email), 2, "primary"), {});

  it("shows the addresses to nobody who is not signed in", async () => {
    const answer = await new Walker(server).open("/account/emails");
    assert.equal(answer.page, "login");
  });

  it("says whose an address is that stays because an organization signs its people in by it", async () => {
    const { knex } = server.database;
    const user = await aUser(server, { email: "ada@enforced.example" });
    const { walker } = await signedIn(user.email);
    const page = await verified(walker, someAddress());
    const { id: providerId } = await IdentityProvider.query(knex).insertAndFetch({
      slug: "enforcing",
      kind: "oidc",
      name: "Enforcing",
      clientId: "lintel",
      issuer: "https://idp.example",
    });
    await SsoDomain.query(knex).insert({
      domain: "enforced.example",
      providerId,
      dnsChallenge: "x",
      verifiedAt: new Date(),
      enforceSso: true,
    });
    const promoting = formOf(page, 2, "primary");
    const [own] = await UserEmail.query(knex).where({ userId: user.id, isPrimary: true });
    for (const action of [promoting, `/account/emails/${own?.id}/remove`]) {
      const refused = await walker.submit(action, {});
      assert.equal(refused.status, 409, refused.text);
      assert.equal(refused.page, "account-emails");
      assert.match(refused.text, /organization manages sign-in with ada@enforced\.example/);
    }
    const [still] = await UserEmail.query(knex).where({ userId: user.id, isPrimary: true });
    assert.equal(still?.id, own?.id);
    await IdentityProvider.query(knex).findById(providerId).patch({ enabled: false });
  });

  it("adds an address, proves it by its code, and tells the others (NIST SP 800-63B-4 §4.1.2.1)", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const email = someAddress();
    await verified(walker, email);
    const told = await mailTo(server, user.email, "email_added");
    assert.equal(told.other, "o•••@example.org");
    const { knex } = server.database;
    const events = await AuditEvent.query(knex).where({ userId: user.id }).select("type");
    for (const type of ["email.added", "email.verified"])
      assert.ok(
        events.some((event) => event.type === type),
        type,
      );
  });

  it("proves it by its link, too, by the button and where its person is signed in (T-66)", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const email = someAddress();
    await added(walker, email);
    const { url } = await mailTo(server, email, "verify_email");
    await send(server, { path: url });
    assert.match((await walker.open("/account/emails")).text, /Not verified/);
    // Whoever reads the mail may be somebody else, whose address must not end in a stranger’s account.
    const stranger = new Walker(server);
    assert.equal((await stranger.submit(url, {})).status, 409);
    assert.match((await walker.open("/account/emails")).text, /Not verified/);
    assert.match((await walker.submit(url, {})).text, /Your address is verified/);
    assert.doesNotMatch((await walker.open("/account/emails")).text, /Not verified/);
    assert.equal((await walker.submit(url, {})).status, 410);
  });

  it("signs nobody in by an address that is not proven, and puts it into no token (T-67)", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const email = someAddress();
    await added(walker, email);
    assert.equal((await signedIn(email)).page.page, "password");
    const app = new RelyingParty(server, await aClient(server, { first_party: true }));
    const answer = await walker.open(app.authorization({ scope: "openid email" }));
    const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
    assert.equal(json(await app.userinfo(String(tokens["access_token"])))["email"], user.email);
  });

  it("says nothing of whether another account has an address: its owner is told instead (T-62)", async () => {
    const [user, other] = [await aUser(server), await aUser(server)];
    const { walker } = await signedIn(user.email);
    const seen = [];
    for (const email of [other.email, someAddress()]) {
      const page = await added(walker, email);
      await allWritten(server);
      seen.push([page.status, page.url.pathname + page.url.search]);
    }
    assert.deepEqual(seen[0], seen[1]);
    const mails = (await mailsTo(server, other.email)).map(({ template }) => template);
    assert.deepEqual(mails, ["already_registered"]);
  });

  it("asks who is there before every change, where that was long ago (T-67, ASVS 7.5.1)", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const email = someAddress();
    const page = await verified(walker, email);
    await age(user.id);
    for (const [form, fields] of [
      ["/account/emails", { email: someAddress() }],
      [formOf(page, 2, "primary"), {}],
      [formOf(page, 2, "remove"), {}],
      ["/account/password", { password: NEW }],
    ] as const) {
      const asked = await walker.submit(form, fields);
      assert.equal(asked.page, "password", form);
    }
    const still = await walker.open("/account/emails");
    assert.match(still.text, new RegExp(email));
    assert.equal((await signedIn(user.email, "/account/emails", NEW)).page.page, "password");
  });

  it("changes nobody else's (IDOR)", async () => {
    const [ada, eve] = [await aUser(server), await aUser(server)];
    const mine = await signedIn(ada.email);
    const page = await verified(mine.walker, someAddress());
    const theirs = await signedIn(eve.email);
    for (const what of ["primary", "remove"])
      assert.equal((await theirs.walker.submit(formOf(page, 2, what), {})).status, 404);
    assert.equal((await theirs.walker.submit("/account/emails/1/remove", {})).status, 404);
  });

  it("makes only a proven address primary, and keeps the last one", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const page = await added(walker, someAddress());
    const id = /\/account\/emails\/([0-9a-f-]{36})\/remove/.exec(page.text)?.[1] ?? "";
    assert.equal((await walker.submit(`/account/emails/${id}/primary`, {})).status, 400);
    const { rows } = await server.database.knex.raw<{ rows: { id: string }[] }>(
      "SELECT id FROM user_emails WHERE user_id = ? AND is_primary",
      [user.id],
    );
    const primary = `/account/emails/${rows[0]?.id ?? ""}/remove`;
    assert.equal((await walker.submit(primary, {})).status, 400);
  });

  it("tells the old address when the primary one changes, with a link that takes it back (T-67)", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const email = someAddress();
    await promoted(walker, email);
    const told = await mailTo(server, user.email, "email_changed");
    assert.equal(told.other, "o•••@example.org");
    const days = (Date.parse(told.expiresAt) - Date.now()) / 86_400_000;
    assert.ok(days > 6.9 && days <= 7);
  });

  it("takes it back by the button alone, once: sessions end, later addresses go, a new password is chosen (T-67)", async () => {
    const user = await aUser(server);
    const thief = await signedIn(user.email);
    const [email, second] = [someAddress(), someAddress()];
    await promoted(thief.walker, email);
    await added(thief.walker, second);
    const { url } = await mailTo(server, user.email, "email_changed");
    for (let n = 0; n < 3; n += 1)
      await send(server, { path: url, method: n % 2 === 0 ? "GET" : "HEAD" });
    const owner = new Walker(server);
    assert.equal((await owner.open(url)).page, "letter");
    const choose = await owner.submit(url, {});
    assert.equal(choose.page, "new-password");
    assert.equal((await thief.walker.open("/account/emails")).page, "login");
    assert.equal((await signedIn(user.email)).page.page, "password");
    await owner.submit(choose, { password: NEW, sign_out_others: "1" });
    const back = await signedIn(user.email, "/account/emails", NEW);
    assert.equal(back.page.page, "account-emails");
    for (const gone of [email, second]) assert.ok(!back.page.text.includes(gone));
    assert.equal((await owner.submit(url, {})).status, 410);
  });

  it("takes it back once, also of 20 at the same time", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    await promoted(walker, someAddress());
    const { url } = await mailTo(server, user.email, "email_changed");
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => new WebBrowser(server).submit(url, {})),
    );
    assert.equal(answers.filter(({ status }) => status === 303).length, 1);
  });

  it("removes an address, and tells it and the others", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const email = someAddress();
    const page = await verified(walker, email);
    const done = await walker.submit(formOf(page, 2, "remove"), {});
    assert.ok(!done.text.includes(email));
    for (const to of [user.email, email]) await mailTo(server, to, "email_removed");
  });

  it("limits the mails that it sends to an address that somebody adds (T-63)", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const email = someAddress();
    for (let n = 0; n < 12; n += 1) await walker.submit("/account/emails", { email });
    await allWritten(server);
    assert.equal((await mailsTo(server, email)).length, 1);
  });

  it("takes five wrong codes of a mail and no more", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const email = someAddress();
    const page = await added(walker, email);
    const { code } = await mailTo(server, email, "verify_email");
    const form = formOf(page, 2, "verify");
    for (let n = 0; n < 5; n += 1)
      assert.equal((await walker.submit(form, { otp: "x" })).status, 401);
    assert.equal((await walker.submit(form, { otp: code })).status, 401);
  });

  it("changes the password, keeps this browser and ends the others where the person wants it (ASVS 7.4.3)", async () => {
    const user = await aUser(server);
    const [here, elsewhere] = [await signedIn(user.email), await signedIn(user.email)];
    const page = await here.walker.open("/account/password");
    assert.match(page.text, /id="sign_out_others"[^>]* checked/);
    const done = await here.walker.submit(page, { password: NEW, sign_out_others: "1" });
    assert.match(done.text, /Your password was changed/);
    assert.equal((await here.walker.open("/account/emails")).page, "account-emails");
    assert.equal((await elsewhere.walker.open("/account/emails")).page, "login");
    await mailTo(server, user.email, "password_changed");
    assert.equal((await signedIn(user.email, "/account", NEW)).page.page, "account");
  });

  it("leaves the others where the person does not", async () => {
    const user = await aUser(server);
    const [here, elsewhere] = [await signedIn(user.email), await signedIn(user.email)];
    await here.walker.submit("/account/password", { password: NEW });
    assert.equal((await elsewhere.walker.open("/account/emails")).page, "account-emails");
  });

  it("refuses a password that is weak (NIST SP 800-63B-4 §3.1.1.2)", async () => {
    const user = await aUser(server);
    const { walker } = await signedIn(user.email);
    const answer = await walker.submit("/account/password", { password: "short" });
    assert.equal(answer.status, 422);
  });

  it("has its pages linked from the account", async () => {
    const user = await aUser(server);
    const { walker, page } = await signedIn(user.email, "/account");
    for (const [id, name] of [
      ["emails-link", "account-emails"],
      ["password-link", "account-password"],
    ] as const)
      assert.equal((await walker.open(addressOf(page, id))).page, name);
  });
});
