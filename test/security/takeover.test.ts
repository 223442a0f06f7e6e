import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { MfaFactor } from "../../src/models/mfa-factor.ts";
import { RecoveryCode } from "../../src/models/recovery-code.ts";
import { Session } from "../../src/models/session.ts";
import { TrustedBrowser } from "../../src/models/trusted-browser.ts";
import { anApp, codeAt, seedOn } from "../support/factors.ts";
import { allWritten, mailsTo, mailTo } from "../support/mailbox.ts";
import { aPasskey } from "../support/passkeys.ts";
import { errorOf, RelyingParty, walk, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Walker } from "../support/walker.ts";

const NEW = "seven purple umbrellas sing";

/** Somebody who knows a password, or had a moment at a browser, and wants to stay when the owner takes over again. */
describe("taking an account over, and keeping it", function () {
  this.timeout(60_000);
  let server: TestServer;
  let serial = 0;
  before(async () => {
    server = await aServer();
  });
  after(() => server.stop());
  beforeEach(() => LoginThrottle.query(server.database.knex).delete());

  const someAddress = () => `thief-${(serial += 1)}@example.org`;
  async function signedIn(email: string, to = "/account/emails"): Promise<Walker> {
    const walker = new Walker(server);
    const page = await walker.submit(await walker.open(to), { username: email });
    await walker.submit(page, { password: PASSWORD, remember: "1" });
    return walker;
  }
  const signOut = (userId: string) =>
    Session.query(server.database.knex)
      .patch({ endedAt: new Date(), endReason: "logout" })
      .where({ userId });
  const age = (userId: string) =>
    Session.query(server.database.knex)
      .patch({ loggedInAt: new Date(Date.now() - 3_600_000), confirmedAt: null })
      .where({ userId });
  /** The form of the address in this place of the list. */
  const formOf = (page: Answer, n: number, what: string) => {
    const before = page.text.slice(0, page.text.indexOf(`id="${what}-${n}"`));
    return [...before.matchAll(/<form[^>]* action="([^"]+)"/g)].at(-1)?.[1] ?? "";
  };
  const changePassword = (owner: Walker) =>
    owner.submit("/account/password", { password: NEW, sign_out_others: "1" });

  it("an address that was added today is not sent the way to undo its removal (T-67)", async () => {
    const user = await aUser(server);
    const thief = await signedIn(user.email);
    const address = someAddress();
    let page = await thief.submit("/account/emails", { email: address });
    const { code } = await mailTo(server, address, "verify_email");
    page = await thief.submit(formOf(page, 2, "verify"), { otp: code });
    await thief.submit(formOf(page, 2, "primary"), {});
    await mailTo(server, user.email, "email_changed");
    await thief.submit(formOf(await thief.open("/account/emails"), 2, "primary"), {});
    await allWritten(server);
    const sent = (await mailsTo(server, address)).map(({ template }) => template);
    assert.ok(!sent.includes("email_changed"), sent.join());
  });

  it("a link that proves an address ends with the password (T-65)", async () => {
    const user = await aUser(server);
    const thief = await signedIn(user.email);
    const address = someAddress();
    await thief.submit("/account/emails", { email: address });
    const { url } = await mailTo(server, address, "verify_email");
    await changePassword(await signedIn(user.email));
    assert.equal((await thief.submit(url, {})).status, 410);
  });

  it("a sign-in that was finished and kept back ends with the password (T-30)", async () => {
    const user = await aUser(server);
    const app = new RelyingParty(server, await aClient(server, { first_party: true }));
    const thief = new WebBrowser(server);
    const page = await walk(server, thief, app.authorization());
    const sent = await thief.submit(page.url.href, { username: user.email, password: PASSWORD });
    await changePassword(await signedIn(user.email));
    const after = await thief.open(sent.location ?? "");
    assert.equal(after.location, undefined, errorOf(after));
    assert.equal((await walk(server, thief, "/account/emails")).page, "login");
  });

  it("a sign-in that was finished at a server of an earlier version goes on, unless the password ends it (T-30)", async () => {
    for (const isChanged of [false, true]) {
      const user = await aUser(server);
      const app = new RelyingParty(server, await aClient(server, { first_party: true }));
      const browser = new WebBrowser(server);
      const page = await walk(server, browser, app.authorization());
      const given = { username: user.email, password: PASSWORD };
      const { location = "" } = await browser.submit(page.url.href, given);
      await server.database.knex("oauth_interactions").update({ user_id: null, as_of: null });
      if (isChanged) await changePassword(await signedIn(user.email));
      assert.equal((await browser.open(location)).location === undefined, isChanged);
    }
  });

  it("a sign-in that waits for consent ends when its owner ends all others (T-30)", async () => {
    const user = await aUser(server);
    const app = new RelyingParty(server, await aClient(server));
    const thief = new WebBrowser(server);
    const page = await walk(server, thief, app.authorization(), { ...user, until: "consent" });
    assert.equal(page.page, "consent");
    const owner = await signedIn(user.email, "/account/sessions");
    await owner.submit("/account/sessions", { others: "1" });
    const sent = await thief.submit(page.url.href, { decision: "allow", scope: "openid" });
    const after = await walk(server, thief, sent.location ?? "");
    assert.equal(after.location, undefined);
  });

  it("ending all sign-ins ends all, also those that no page lists (T-30)", async () => {
    const user = await aUser(server);
    const owner = await signedIn(user.email, "/account/sessions");
    const { knex } = server.database;
    await knex.raw(
      `INSERT INTO sessions (uid, user_id, cookie_hash, transient, logged_in_at, last_active_at, expires_at, gc_on)
         SELECT 'many-sessions-of-one-' || n, :userId, sha256(('many-' || n)::bytea), false, now(), now(), now() + interval '1 day',
           current_date + 3 FROM generate_series(1, 150) AS n`,
      { userId: user.id },
    );
    await owner.submit("/account/sessions", { others: "1" });
    assert.equal(await Session.liveOf(knex, user.id, new Date()).resultSize(), 1);
    assert.equal((await owner.open("/account/sessions")).page, "sessions");
  });

  it("the link that undoes a change takes the factors of its week away, and no older one (T-67)", async () => {
    const { knex } = server.database;
    const user = await aUser(server);
    const thief = await signedIn(user.email);
    const address = someAddress();
    let page = await thief.submit("/account/emails", { email: address });
    const { code } = await mailTo(server, address, "verify_email");
    page = await thief.submit(formOf(page, 2, "verify"), { otp: code });
    await thief.submit(formOf(page, 2, "primary"), {});
    const { url } = await mailTo(server, user.email, "email_changed");
    const offered = await thief.open("/account/authenticators/new");
    await thief.submit(offered, { otp: codeAt(seedOn(offered.text), new Date()) });
    const older = await anApp(server, user.id);
    const longAgo = new Date(Date.now() - 8 * 86_400_000);
    await MfaFactor.query(knex).findById(older.id).patch({ createdAt: longAgo });
    assert.equal(await MfaFactor.query(knex).where({ userId: user.id }).resultSize(), 2);
    assert.equal(await RecoveryCode.countLeft(knex, user.id), 10);
    await new Walker(server).submit(url, {});
    const left = await MfaFactor.query(knex).where({ userId: user.id });
    assert.deepEqual(
      left.map(({ id }) => id),
      [older.id],
    );
    assert.equal(await RecoveryCode.countLeft(knex, user.id), 0);
  });

  describe("on a browser that is trusted", () => {
    const trust = (userId: string, on = server) =>
      TrustedBrowser.query(on.database.knex).insert({
        userId,
        tokenHash: randomBytes(32),
        agentHash: Buffer.alloc(32),
        name: "Firefox",
        expiresAt: new Date(Date.now() + 86_400_000),
      });
    const trusted = (userId: string, on = server) =>
      TrustedBrowser.query(on.database.knex).where({ userId }).resultSize();

    it("an app that its owner adds is asked for: the trust is of before (T-86)", async () => {
      const user = await aUser(server);
      const owner = await signedIn(user.email);
      await trust(user.id);
      const page = await owner.open("/account/authenticators/new");
      await owner.submit(page, { otp: codeAt(seedOn(page.text), new Date()) });
      assert.equal(await trusted(user.id), 0);
    });

    it("so is a passkey, from when its owner wants it asked for (T-86)", async () => {
      const user = await aUser(server);
      await aPasskey(server, user.id);
      const owner = await signedIn(user.email, "/account/passkeys");
      await trust(user.id);
      await owner.submit("/account/passkeys/second-step", { always: "no" });
      assert.equal(await trusted(user.id), 1);
      await owner.submit("/account/passkeys/second-step", { always: "yes" });
      assert.equal(await trusted(user.id), 0);
    });

    it("so is a mailbox that becomes the second step (T-86)", async () => {
      const strict = await aServer({ SECOND_FACTOR: "required", SECOND_FACTOR_BY_EMAIL: "on" });
      try {
        const user = await aUser(strict);
        const owner = new Walker(strict);
        let page = await owner.submit(await owner.open("/account"), { username: user.email });
        page = await owner.submit(page, { password: PASSWORD });
        await trust(user.id, strict);
        assert.equal((await owner.submit(page, { factor: "email" })).page, "mfa-email");
        assert.equal(await trusted(user.id, strict), 0);
      } finally {
        await strict.stop();
      }
    });
  });

  describe("on a browser that is not asked for the second step", () => {
    async function trusted() {
      const user = await aUser(server);
      const phone = await anApp(server, user.id);
      const walker = new Walker(server);
      let page = await walker.submit(await walker.open("/account"), { username: user.email });
      page = await walker.submit(page, { password: PASSWORD });
      await walker.submit(page, { otp: await phone.code(), trust_device: "1" });
      await signOut(user.id);
      return { user, walker };
    }

    it("a password makes no passkey (T-78, T-86)", async () => {
      const { user, walker } = await trusted();
      const page = await walker.submit(await walker.open("/account"), { username: user.email });
      const next = await walker.submit(page, { password: PASSWORD, passkey_can: "1" });
      assert.equal(next.page, "account");
    });

    it("whoever confirms as somebody else has confirmed nothing (T-78)", async () => {
      const { user, walker } = await trusted();
      const eve = await aUser(server);
      let page = await walker.open("/account");
      page = await walker.submit(page, { username: eve.email });
      await walker.submit(page, { password: PASSWORD });
      await age(eve.id);
      page = await walker.open("/account/authenticators/new");
      page = await walker.open(`${page.url.pathname.replace("/password", "")}?change=1`);
      page = await walker.submit(page, { username: user.email });
      page = await walker.submit(page, { password: PASSWORD });
      assert.notEqual(page.page, "account-authenticator-new");
    });
  });
});
