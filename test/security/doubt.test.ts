import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { findByIdentifier, readIdentifier } from "../../src/authn/identifier.ts";
import { throttleAttempt } from "../../src/authn/throttle.ts";
import { Session } from "../../src/models/session.ts";
import { User } from "../../src/models/user.ts";
import { UserEmail } from "../../src/models/user-email.ts";
import { anApp, mailedCode } from "../support/factors.ts";
import {
  aProductionServer,
  json,
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Answer,
} from "../support/rp.ts";
import { aClient, aUser, PASSWORD, type TestServer } from "../support/server.ts";

const DAY = 24 * 60 * 60 * 1000;
let networks = 0;
function newNetwork(): string {
  networks += 1;
  return `198.18.${networks % 250}.7`;
}

describe("T-63: a password alone proves too little", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  before(async () => {
    server = await aProductionServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(() => server.stop());

  const aBrowser = () => new WebBrowser(server, { "x-forwarded-for": newNetwork() });
  const signIn = (browser: WebBrowser, email: string, client = app) =>
    walk(server, browser, client.authorization(), { email });
  const hasSession = async (userId: string) =>
    (await Session.liveOf(server.database.knex, userId, new Date())).length > 0;

  /** Wrong passwords from everywhere; what they count is counted before they are looked at. */
  async function guess(email: string, times: number): Promise<void> {
    for (let index = 0; index < times; index += 1)
      await throttleAttempt(server.database.knex, server.deps.seal, {
        identifier: email,
        found: await findByIdentifier(server.database.knex, readIdentifier(email)),
        ipPrefix: `203.0.${index % 250}.0/24`,
        now: new Date(),
      });
  }
  const here = (answer: Answer) => answer.url.pathname.replace(/\/mfa.*/, "");
  async function codeFromMail(browser: WebBrowser, at: Answer, userId: string): Promise<Answer> {
    await browser.submit(`${here(at)}/mfa/email/send`, {});
    const otp = await mailedCode(server, userId);
    const { location = "" } = await browser.submit(`${here(at)}/mfa/email`, { otp });
    return walk(server, browser, location);
  }

  describe("while an account is guessed at", () => {
    it("a stranger with the right password is asked for a code from the mailbox, and has no session before", async () => {
      const user = await aUser(server);
      await guess(user.email, 20);
      const browser = aBrowser();
      const asked = await signIn(browser, user.email);
      assert.equal(asked.page, "mfa-email");
      assert.equal(await hasSession(user.id), false);
      const wrong = await browser.submit(`${here(asked)}/mfa/email`, { otp: "00000000" });
      assert.equal(wrong.location, undefined);
      for (const step of ["", "/password", "/consent"])
        await browser.submit(`${here(asked)}${step}`, { username: user.email, password: PASSWORD });
      assert.equal(await hasSession(user.id), false);
      const done = await codeFromMail(browser, asked, user.id);
      const tokens = json(await app.redeem(response(done)["code"] ?? ""));
      const { acr, amr } = decodeJwt(String(tokens["id_token"]));
      assert.equal(acr, "1");
      assert.deepEqual(amr, ["pwd", "otp", "email"]);
    });

    it("the owner on a browser of theirs is asked for nothing more", async () => {
      const user = await aUser(server);
      const browser = aBrowser();
      await signIn(browser, user.email);
      await guess(user.email, 60);
      const answer = await walk(server, browser, app.authorization({ prompt: "login" }), user);
      assert.ok(response(answer)["code"]);
    });

    it("nineteen failures are not yet an attack", async () => {
      const user = await aUser(server);
      await guess(user.email, 19);
      assert.ok(response(await signIn(aBrowser(), user.email))["code"]);
    });

    it("who has a second factor shows that one", async () => {
      const user = await aUser(server);
      const phone = await anApp(server, user.id);
      await guess(user.email, 20);
      const browser = aBrowser();
      const asked = await signIn(browser, user.email);
      assert.equal(asked.page, "mfa-totp");
      const { location = "" } = await browser.submit(`${here(asked)}/mfa/totp`, {
        otp: await phone.code(),
      });
      assert.ok(response(await walk(server, browser, location))["code"]);
    });

    it("who has neither factor nor verified address is slowed down, and not shut out", async () => {
      const user = await aUser(server);
      await UserEmail.query(server.database.knex)
        .where({ userId: user.id })
        .patch({ verifiedAt: null });
      await guess(user.email, 20);
      assert.ok(response(await signIn(aBrowser(), user.email))["code"]);
    });
  });

  describe("where a sign-in is unusual", () => {
    it("an account that was not used for half a year asks for a code on an unknown browser", async () => {
      const user = await aUser(server);
      await User.query(server.database.knex)
        .findById(user.id)
        .patch({ lastLoginAt: new Date(Date.now() - 200 * DAY) });
      const browser = aBrowser();
      const asked = await signIn(browser, user.email);
      assert.equal(asked.page, "mfa-email");
      const done = await codeFromMail(browser, asked, user.id);
      assert.ok(response(done)["code"]);
      const [session] = await Session.liveOf(server.database.knex, user.id, new Date());
      assert.equal(session?.riskScore, 40);
      assert.deepEqual(session?.riskReasons, ["new_device", "dormant_user"]);
      assert.ok(
        response(await walk(server, browser, app.authorization({ prompt: "login" }), user))["code"],
        "the browser is known from now on, and the account no longer dormant",
      );
    });

    it("a new browser alone is no reason", async () => {
      const user = await aUser(server);
      for (let times = 0; times < 2; times += 1)
        assert.ok(response(await signIn(aBrowser(), user.email))["code"]);
    });
  });
});

describe("RISK_SECOND_STEP", function () {
  this.timeout(60_000);

  async function atServer(
    score: string,
    run: (server: TestServer, app: RelyingParty) => Promise<void>,
  ): Promise<void> {
    const server = await aProductionServer({ RISK_SECOND_STEP: score });
    try {
      await run(server, new RelyingParty(server, await aClient(server, { first_party: true })));
    } finally {
      await server.stop();
    }
  }
  const fallAsleep = (server: TestServer, userId: string) =>
    User.query(server.database.knex)
      .findById(userId)
      .patch({ lastLoginAt: new Date(Date.now() - 200 * DAY) });

  it("0 asks nobody for more because a sign-in is unusual", () =>
    atServer("0", async (server, app) => {
      const user = await aUser(server);
      await fallAsleep(server, user.id);
      const browser = new WebBrowser(server);
      const answer = await walk(server, browser, app.authorization(), { email: user.email });
      assert.ok(response(answer)["code"]);
    }));

  it("asks from its sum on for the second factor, also on a browser that is trusted", () =>
    atServer("15", async (server, app) => {
      const user = await aUser(server);
      const phone = await anApp(server, user.id);
      const browser = new WebBrowser(server);
      const asked = await walk(server, browser, app.authorization(), user);
      const path = asked.url.pathname;
      const otp = await phone.code();
      const { location = "" } = await browser.submit(path, { otp, trust_device: "1" });
      assert.ok(response(await walk(server, browser, location))["code"]);
      const stranger = browser.copy();
      stranger.jar.delete("/ __Host-lintel_session");
      const trusted = await walk(server, stranger, app.authorization(), user);
      assert.ok(response(trusted)["code"], "a trusted browser is asked for nothing more");
      await fallAsleep(server, user.id);
      const unusual = browser.copy();
      unusual.jar.delete("/ __Host-lintel_session");
      assert.equal((await walk(server, unusual, app.authorization(), user)).page, "mfa-totp");
    }));
});
