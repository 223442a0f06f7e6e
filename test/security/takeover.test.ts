import assert from "node:assert/strict";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { Session } from "../../src/models/session.ts";
import { anApp } from "../support/factors.ts";
import { allWritten, mailsTo, mailTo } from "../support/mailbox.ts";
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
