import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { factorsOf } from "../../src/authn/factors.ts";
import { MfaFactor } from "../../src/models/mfa-factor.ts";
import { RecoveryCode } from "../../src/models/recovery-code.ts";
import { Session } from "../../src/models/session.ts";
import { TrustedBrowser } from "../../src/models/trusted-browser.ts";
import { anApp, codeAt, mailsTo, seedOn, someRecoveryCodes, type App } from "../support/factors.ts";
import { aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

describe("account: the second step", function () {
  this.timeout(60_000);
  let server: TestServer;
  let strict: TestServer;

  before(async () => {
    [server, strict] = await Promise.all([
      aServer(),
      aServer({
        SECOND_FACTOR: "required",
        SECOND_FACTOR_SKIPS: "2",
        SECOND_FACTOR_BY_EMAIL: "on",
      }),
    ]);
  });
  after(async () => {
    await server?.stop();
    await strict?.stop();
  });

  /** Somebody on the page of their account at `path`, signed in with all they have. */
  async function at(path: string, user: { email: string }, app?: App, on = server) {
    const visitor = new Visitor();
    await visitor.open(`${on.issuer}/account${path}`);
    await visitor.submit({ username: user.email });
    await visitor.submit({ password: PASSWORD });
    if (app !== undefined) await visitor.submit({ otp: await app.code() });
    return visitor;
  }
  const changes = async (userId: string, of = server) =>
    (await mailsTo(of, userId)).flatMap(({ props }) => props["change"] ?? []);
  /** As if everything had been shown an hour ago. */
  const anHourLater = async (userId: string, of = server) =>
    Session.query(of.database.knex)
      .patch({ loggedInAt: new Date(Date.now() - 3_600_000), confirmedAt: null })
      .where({ userId });

  it("an app is added with its code, brings recovery codes, and the owner is told (T-78)", async () => {
    const user = await aUser(server);
    const visitor = await at("/authenticators/new", user);
    assert.equal(visitor.page, "account-authenticator-new");
    const seed = seedOn(visitor.html);
    await visitor.submit({ otp: "000000" });
    assert.equal(visitor.status, 401);
    assert.deepEqual(seedOn(visitor.html), seed, "the seed stays");
    await visitor.submit({ otp: codeAt(seed, new Date()), label: "<i>Phone</i>" });
    assert.equal(visitor.page, "account-codes-new");
    const codes = [...visitor.html.matchAll(/name="code" value="([^"]+)"/g)].map(
      ([, code = ""]) => code,
    );
    assert.equal(codes.length, 10);
    await visitor.submit({ code: codes }, "/account/recovery-codes/download");
    assert.equal(visitor.html, `${codes.join("\r\n")}\r\n`);
    await visitor.open(`${server.issuer}/account/authenticators`);
    assert.match(visitor.html, /&lt;i&gt;Phone/);
    assert.deepEqual(await factorsOf(server.database.knex, user.id), ["totp", "recovery"]);
    assert.deepEqual(await changes(user.id), ["totp_added"]);
  });

  it("the file has codes and nothing else that somebody sends", async () => {
    const user = await aUser(server);
    const visitor = await at("/recovery-codes", user);
    await visitor.submit(
      { code: ["<script>alert(1)</script>"] },
      "/account/recovery-codes/download",
    );
    assert.equal(visitor.status, 400);
  });

  it("a session alone changes nothing: whoever has it shows all they have first (T-78)", async () => {
    const user = await aUser(server);
    const app = await anApp(server, user.id);
    await someRecoveryCodes(server, user.id);
    const visitor = await at("", user, app);
    await anHourLater(user.id);
    for (const path of [
      "/authenticators/new",
      `/authenticators/${app.id}/remove`,
      "/recovery-codes",
    ]) {
      await visitor.submit({ otp: "123456" }, `/account${path}`);
      assert.equal(visitor.page, "password", path);
      await visitor.submit({ password: PASSWORD });
      assert.equal(visitor.page, "mfa-totp", path);
    }
    await visitor.open(`${server.issuer}/account/authenticators/new`);
    assert.equal(visitor.page, "password");
    assert.deepEqual(await factorsOf(server.database.knex, user.id), ["totp", "recovery"]);
    assert.equal(await RecoveryCode.countLeft(server.database.knex, user.id), 10);
  });

  it("a trusted browser is no proof for a change (T-86)", async () => {
    const user = await aUser(server);
    const app = await anApp(server, user.id);
    const visitor = new Visitor();
    await visitor.open(`${server.issuer}/account`);
    await visitor.submit({ username: user.email });
    await visitor.submit({ password: PASSWORD });
    await visitor.submit({ otp: await app.code(), trust_device: "1" });
    assert.equal(visitor.page, "account");
    await anHourLater(user.id);
    await visitor.open(`${server.issuer}/account/authenticators/new`);
    await visitor.submit({ password: PASSWORD });
    assert.equal(visitor.page, "mfa-totp");
  });

  it("an app is removed by its owner, with what was of use beside it only, and the owner is told", async () => {
    const user = await aUser(server);
    const app = await anApp(server, user.id);
    await someRecoveryCodes(server, user.id);
    const visitor = await at("/authenticators", user, app);
    await visitor.submit({}, `/account/authenticators/${app.id}/remove`);
    assert.equal(visitor.page, "account-authenticators");
    assert.match(visitor.html, /id="no-factors"/);
    assert.equal(
      await RecoveryCode.query(server.database.knex).where({ userId: user.id }).resultSize(),
      0,
    );
    assert.deepEqual(await changes(user.id), ["totp_removed"]);
  });

  it("an app of somebody else is 404, and stays (better-auth GHSA-4vcf)", async () => {
    const [user, victim] = [await aUser(server), await aUser(server)];
    const theirs = await anApp(server, victim.id);
    const visitor = await at("/authenticators", user);
    for (const id of [theirs.id, "email", "not-an-id"]) {
      await visitor.submit({}, `/account/authenticators/${id}/remove`);
      assert.equal(visitor.status, 404, id);
    }
    assert.equal(await MfaFactor.query(server.database.knex).findById(theirs.id).resultSize(), 1);
  });

  it("the last one that the policy demands is kept, of two removed at once one", async () => {
    const user = await aUser(strict);
    const [phone, tablet] = [await anApp(strict, user.id), await anApp(strict, user.id)];
    const visitor = await at("/authenticators", user, phone, strict);
    const other = await at("/authenticators", user, tablet, strict);
    await Promise.all([
      visitor.submit({}, `/account/authenticators/${phone.id}/remove`),
      other.submit({}, `/account/authenticators/${tablet.id}/remove`),
    ]);
    const [left] = await MfaFactor.query(strict.database.knex).where({ userId: user.id });
    assert.ok(left !== undefined, "one is left");
    await visitor.submit({}, `/account/authenticators/${left.id}/remove`);
    assert.equal(visitor.status, 409);
    assert.match(visitor.html, /Add another one before you remove this/);
  });

  it("new recovery codes void the old, and the owner is told (T-79)", async () => {
    const user = await aUser(server);
    const app = await anApp(server, user.id);
    const [old = ""] = await someRecoveryCodes(server, user.id);
    const visitor = await at("/recovery-codes", user, app);
    assert.match(visitor.html, /You have 10 left/);
    await visitor.submit({});
    assert.equal(visitor.page, "account-codes-new");
    assert.ok(!visitor.html.includes(old));
    assert.deepEqual(await changes(user.id), ["codes_created"]);
    const thief = new Visitor();
    await thief.open(`${server.issuer}/account`);
    await thief.submit({ username: user.email });
    await thief.submit({ password: PASSWORD });
    await thief.submit({ recovery_code: old }, thief.url.replace(/mfa\/totp$/, "mfa/recovery"));
    assert.equal(thief.status, 401);
  });

  it("recovery codes are made beside a second step, not in its place", async () => {
    const user = await aUser(server);
    const visitor = await at("/recovery-codes", user);
    assert.doesNotMatch(visitor.html, /id="codes-new"/);
    await visitor.submit({});
    assert.equal(visitor.status, 409);
  });

  it("trusted browsers are listed and forgotten, one or all, by their owner (T-86)", async () => {
    const user = await aUser(server);
    const app = await anApp(server, user.id);
    const victim = await aUser(server);
    const row = (userId: string, index: number) => ({
      userId,
      tokenHash: randomBytes(32),
      agentHash: Buffer.alloc(32),
      name: `Browser ${index}`,
      expiresAt: new Date(Date.now() + 86_400_000),
    });
    const db = server.database.knex;
    const [first] = await Promise.all(
      [0, 1, 2].map((index) => TrustedBrowser.query(db).insert(row(user.id, index))),
    );
    const theirs = await TrustedBrowser.query(db).insert(row(victim.id, 9));
    const visitor = await at("/browsers", user, app);
    assert.match(visitor.html, /Browser 0/);
    assert.doesNotMatch(visitor.html, /Browser 9/);
    await visitor.submit({}, `/account/browsers/${theirs.id}/forget`);
    assert.equal(visitor.status, 404);
    await visitor.submit({}, `/account/browsers/${first?.id}/forget`);
    assert.doesNotMatch(visitor.html, /Browser 0/);
    await visitor.submit({}, "/account/browsers/forget-all");
    assert.match(visitor.html, /id="no-browsers"/);
    assert.equal(await TrustedBrowser.query(db).where({ userId: victim.id }).resultSize(), 1);
  });

  describe("where the issuer requires it", () => {
    it("it can be put off as often as the policy says, counted on the server, in any browser", async () => {
      const user = await aUser(strict);
      for (const left of [2, 1]) {
        const visitor = await at("", user, undefined, strict);
        assert.equal(visitor.page, "enroll");
        assert.ok(visitor.html.includes(`Skip for now (${left} left)`));
        await visitor.submit({}, `${new URL(visitor.url).pathname}/skip`);
        assert.equal(visitor.page, "account");
      }
      const visitor = await at("", user, undefined, strict);
      assert.doesNotMatch(visitor.html, /enroll-skip/);
      await visitor.submit({}, `${new URL(visitor.url).pathname}/skip`);
      assert.equal(visitor.status, 403);
      assert.match(visitor.html, /enrolment_required/);
    });

    it("of many who put it off at once no more get through than are left", async () => {
      const user = await aUser(strict);
      const visitors = await Promise.all([0, 1, 2, 3].map(() => at("", user, undefined, strict)));
      await Promise.all(
        visitors.map((visitor) => visitor.submit({}, `${new URL(visitor.url).pathname}/skip`)),
      );
      assert.deepEqual(visitors.map(({ status }) => status).toSorted(), [200, 200, 403, 403]);
    });

    it("a mailbox is enough where the policy says so, from then on", async () => {
      const user = await aUser(strict);
      const visitor = await at("", user, undefined, strict);
      await visitor.submit({ factor: "email" });
      assert.equal(visitor.page, "mfa-email");
      await visitor.submit({}, `${new URL(visitor.url).pathname}/send`);
      const code = (await mailsTo(strict, user.id)).findLast(
        ({ template }) => template === "sign_in_code",
      )?.props["code"];
      await visitor.submit({ otp: String(code) });
      assert.equal(visitor.page, "account");
      assert.equal((await at("", user, undefined, strict)).page, "mfa-email");
    });
  });
});
