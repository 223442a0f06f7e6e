import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { composeMail, parseSender } from "../../src/mail/compose.ts";
import { openSeal } from "../../src/keys/seal.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { LogoutNotice } from "../../src/models/logout-notice.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { Session } from "../../src/models/session.ts";
import { UserProfile } from "../../src/models/user-profile.ts";
import { UserDevice } from "../../src/models/user-device.ts";
import { runCli } from "../support/cli.ts";
import { writeDatabase } from "../support/mmdb.ts";
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

const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
const SAFARI =
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";
const BERLIN = "192.0.2.7";
const TOKYO = "198.51.100.7";

describe("account: where somebody is signed in", () => {
  const directory = mkdtempSync(join(tmpdir(), "lintel-geoip-"));
  const encryptionKey = randomBytes(32);
  let server: TestServer;
  let app: RelyingParty;

  before(async () => {
    const file = join(directory, "places.mmdb");
    writeFileSync(
      file,
      writeDatabase([
        [
          "192.0.2.0/24",
          { country: { iso_code: "DE" }, location: { latitude: 52.5, longitude: 13.4 } },
        ],
        [
          "198.51.100.0/24",
          { country: { iso_code: "JP" }, location: { latitude: 35.7, longitude: 139.7 } },
        ],
      ]),
    );
    server = await aProductionServer({
      GEOIP_FILE: file,
      RISK_SECOND_STEP: "0",
      ENCRYPTION_KEY: encryptionKey.toString("base64"),
    });
    const client = await aClient(server, {
      first_party: true,
      backchannel_logout_uri: "https://rp.example/logout",
      grant_types: ["authorization_code", "refresh_token"],
    });
    app = new RelyingParty(server, client);
  });
  after(async () => {
    await server?.stop();
    rmSync(directory, { recursive: true });
  });

  const browserOf = (userAgent = FIREFOX, network = BERLIN) =>
    new WebBrowser(server, { "x-forwarded-for": network, "user-agent": userAgent });

  async function signIn(email: string, browser = browserOf()) {
    const answer = await walk(
      server,
      browser,
      app.authorization({ scope: "openid offline_access", prompt: "consent" }),
      { email },
    );
    return { browser, code: response(answer)["code"] ?? "" };
  }
  const pageOf = (browser: WebBrowser): Promise<Answer> => browser.open("/account/sessions");
  const sessionsOn = ({ text }: Answer) =>
    [...text.matchAll(/data-session="([^"]+)"/g)].map(([, id = ""]) => id);
  const isIn = async (browser: WebBrowser) =>
    (await browser.open(app.authorization({ prompt: "none" }))).location?.includes("code=") ===
    true;
  const live = (userId: string) => Session.liveOf(server.database.knex, userId, new Date());

  describe("the page", () => {
    it("lists each browser with its sign-ins, apps, place and method, this one first", async () => {
      const user = await aUser(server);
      await signIn(user.email, browserOf(SAFARI, TOKYO));
      const { browser } = await signIn(user.email);
      const answer = await pageOf(browser);
      assert.equal(answer.page, "sessions");
      const [here = "", there = ""] = answer.text.split("<section").slice(1);
      assert.match(here, /Firefox on Linux/);
      assert.match(here, /This browser/);
      assert.match(here, /Germany/);
      assert.match(there, /Safari on iOS/);
      assert.match(there, /Japan/);
      assert.doesNotMatch(there, /This browser/);
      assert.match(there, /by password/);
      assert.match(there, /Used by/);
    });

    it("needs a session, and shows nobody else’s", async () => {
      assert.match((await pageOf(browserOf())).location ?? "", /\/interaction\//);
      const [user, other] = [await aUser(server), await aUser(server)];
      await signIn(other.email);
      const { browser } = await signIn(user.email);
      assert.equal(sessionsOn(await pageOf(browser)).length, 1);
    });
  });

  describe("ending", () => {
    it("one sign-in ends it with its tokens, tells its apps, and leaves the others (ASVS 7.4.2)", async () => {
      const user = await aUser(server);
      const there = await signIn(user.email, browserOf(SAFARI));
      const here = await signIn(user.email);
      const { refresh_token: refreshToken } = json(await app.redeem(there.code));
      const [, second = ""] = sessionsOn(await pageOf(here.browser));
      await here.browser.submit("/account/sessions", { end: second });
      assert.equal(await isIn(there.browser), false);
      assert.equal(await isIn(here.browser), true);
      const refreshed = await app.token({
        grant_type: "refresh_token",
        refresh_token: String(refreshToken),
      });
      assert.equal(json(refreshed)["error"], "invalid_grant");
      const notices = await LogoutNotice.query(server.database.knex).where({ userId: user.id });
      assert.equal(notices.length, 1);
      const [event] = await AuditEvent.query(server.database.knex).where({
        userId: user.id,
        type: "session.revoked",
      });
      assert.deepEqual(event?.details, { reason: "user_revoked", count: 1 });
    });

    it("all others leaves this one", async () => {
      const user = await aUser(server);
      const others = [await signIn(user.email), await signIn(user.email, browserOf(SAFARI))];
      const here = await signIn(user.email);
      await here.browser.submit("/account/sessions", { others: "1" });
      for (const { browser } of others) assert.equal(await isIn(browser), false);
      assert.equal(await isIn(here.browser), true);
      assert.equal((await live(user.id)).length, 1);
    });

    it("a browser that is forgotten is signed out, and a stranger at the next sign-in", async () => {
      const user = await aUser(server);
      const there = await signIn(user.email, browserOf(SAFARI));
      const here = await signIn(user.email);
      const devices = await UserDevice.query(server.database.knex).where({ userId: user.id });
      const safari = devices.find(({ browserFamily }) => browserFamily === "Safari");
      await here.browser.submit("/account/sessions", { forget: safari?.id });
      assert.equal(await isIn(there.browser), false);
      await signIn(user.email, there.browser);
      assert.equal((await mailsTo(user.id)).length, 2);
    });

    it("reaches nobody else’s sign-ins or browsers, whatever is posted", async () => {
      const [victim, attacker] = [await aUser(server), await aUser(server)];
      const theirs = await signIn(victim.email);
      const [session] = await live(victim.id);
      const device = await UserDevice.query(server.database.knex).findOne({ userId: victim.id });
      const { browser } = await signIn(attacker.email);
      await browser.submit("/account/sessions", { end: session?.uid });
      await browser.submit("/account/sessions", { forget: device?.id });
      await browser.submit("/account/sessions", { others: "1" });
      assert.equal(await isIn(theirs.browser), true);
      assert.ok(await UserDevice.query(server.database.knex).findById(device?.id ?? ""));
    });

    it("asks who it is where the sign-in is older than ten minutes (ASVS 7.5.2), and comes back", async () => {
      const user = await aUser(server);
      const { browser } = await signIn(user.email);
      await live(user.id).patch({ loggedInAt: new Date(Date.now() - 11 * 60_000) });
      const answer = await browser.submit("/account/sessions", { others: "1" });
      assert.match(answer.location ?? "", /\/interaction\//);
      const back = await walk(server, browser, answer.location ?? "", { email: user.email });
      assert.equal(back.page, "sessions");
    });

    it("is refused from another site", async () => {
      const { browser } = await signIn((await aUser(server)).email);
      const answer = await browser.submit(
        "/account/sessions",
        { others: "1" },
        { origin: "https://evil.example", "sec-fetch-site": "cross-site" },
      );
      assert.equal(answer.status, 403);
    });
  });

  async function mailsTo(
    userId: string,
  ): Promise<{ subject: string; url: string; text: string }[]> {
    const { knex } = server.database;
    const seal = await openSeal(knex, { encryptionKey });
    const messages = await OutboxMessage.query(knex)
      .where({ userId, template: "new_device" })
      .orderBy("createdAt");
    return Promise.all(
      messages.map(async (message) => {
        const { text } = await composeMail(message, {
          seal,
          from: parseSender("a@b.example"),
          renderMail: (_template, props) => ({
            subject: "",
            html: "",
            text: JSON.stringify(props),
          }),
        });
        return { subject: message.template, text, url: (JSON.parse(text) as { url: string }).url };
      }),
    );
  }

  describe("the mail about a new browser", () => {
    it("comes once for each, and not at the first sign-in of all", async () => {
      const user = await aUser(server);
      const first = await signIn(user.email);
      assert.deepEqual(await mailsTo(user.id), []);
      const second = await signIn(user.email, browserOf(SAFARI, TOKYO));
      await signIn(user.email, second.browser);
      await signIn(user.email, first.browser);
      const [mail, ...more] = await mailsTo(user.id);
      assert.deepEqual(more, []);
      assert.match(mail?.text ?? "", /"browser":"Safari","os":"iOS"/);
      assert.match(mail?.text ?? "", /"country":"JP"/);
    });

    it("leads to a page that does nothing by itself, however often it is opened (T-66)", async () => {
      const { user, there, mail } = await reportable();
      const scanner = browserOf();
      for (let times = 0; times < 3; times += 1)
        assert.equal((await scanner.open(mail.url)).page, "not-me");
      assert.equal(await isIn(there.browser), true);
      assert.equal((await live(user.id)).length, 2);
    });

    it("whose button ends that browser, the others if asked, and stops the password", async () => {
      const { user, here, there, mail } = await reportable();
      const reader = browserOf();
      const token = new URL(mail.url).searchParams.get("t") ?? "";
      const answer = await reader.submit("/not-me", { token });
      assert.equal(answer.page, "not-me-done");
      assert.equal(await isIn(there.browser), false);
      assert.equal(await isIn(here.browser), true);
      const again = await walk(server, there.browser, app.authorization(), { email: user.email });
      assert.equal(again.status, 429);
      assert.equal((await reader.submit("/not-me", { token, everywhere: "1" })).status, 410);
      assert.equal(await isIn(here.browser), true);
    });

    it("whose button ends everything where that is asked", async () => {
      const { user, mail } = await reportable();
      const token = new URL(mail.url).searchParams.get("t") ?? "";
      await browserOf().submit("/not-me", { token, everywhere: "1" });
      assert.equal((await live(user.id)).length, 0);
    });

    it("whose button disconnects what was connected since, with what it signed in (T-67)", async () => {
      const { user, mail } = await reportable();
      const { knex } = server.database;
      const { id: providerId } = await IdentityProvider.query(knex).insertAndFetch({
        slug: "elsewhere",
        kind: "oidc",
        name: "Elsewhere",
        clientId: "lintel",
        issuer: "https://elsewhere.example",
      });
      const connected = (subject: string, createdAt: Date) =>
        Identity.query(knex).insertAndFetch({
          userId: user.id,
          providerId,
          issuer: "https://elsewhere.example",
          subject,
          linkedVia: "user",
          createdAt,
          updatedAt: createdAt,
        });
      const own = await connected("owner", new Date(Date.now() - 86_400_000));
      const { id: identityId } = await connected("thief", new Date());
      const uid = "n".repeat(21);
      const expiresAt = new Date(Date.now() + 60_000);
      await Session.query(knex).insert({
        uid,
        userId: user.id,
        identityId,
        expiresAt,
        gcOn: "2100-01-01",
      });
      const token = new URL(mail.url).searchParams.get("t") ?? "";
      await browserOf().submit("/not-me", { token });
      const left = await Identity.query(knex).where({ userId: user.id });
      assert.deepEqual(
        left.map(({ id }) => id),
        [own.id],
      );
      assert.notEqual((await Session.query(knex).findOne({ uid }))?.endedAt, null);
      const event = await AuditEvent.query(knex).findOne({
        userId: user.id,
        type: "identity.unlinked",
      });
      assert.deepEqual(event?.details, { connection: "elsewhere" });
    });

    it("speaks to them in their language, and leads to a new password", async () => {
      const { user, mail } = await reportable();
      await UserProfile.query(server.database.knex)
        .insert({ userId: user.id, locale: "de" })
        .onConflict("userId")
        .merge();
      const reader = browserOf();
      const shown = await reader.open(mail.url);
      assert.equal(shown.headers["content-language"], "de");
      const token = new URL(mail.url).searchParams.get("t") ?? "";
      const done = await reader.submit("/not-me", { token });
      assert.equal(done.headers["content-language"], "de");
      assert.match(done.text, /id="account-link" href="\/account\/password"/);
    });

    it("nobody can make such a link, or turn it to another browser or person", async () => {
      const { mail, there } = await reportable();
      const { mail: other } = await reportable();
      const token = new URL(mail.url).searchParams.get("t") ?? "";
      const [id = ""] = (new URL(other.url).searchParams.get("t") ?? "").split(".");
      for (const forged of [
        "",
        "x",
        `${id}.${token.split(".")[1]}`,
        `${token}x`,
        token.split(".")[0] ?? "",
      ]) {
        assert.equal((await browserOf().submit("/not-me", { token: forged })).status, 410, forged);
        assert.equal((await browserOf().open(`/not-me?t=${forged}`)).status, 410, forged);
      }
      assert.equal(await isIn(there.browser), true);
    });

    async function reportable() {
      const user = await aUser(server);
      const here = await signIn(user.email);
      const there = await signIn(user.email, browserOf(SAFARI, TOKYO));
      const [mail] = await mailsTo(user.id);
      assert.ok(mail);
      return { user, here, there, mail };
    }
  });

  describe("what a session keeps of its sign-in", () => {
    it("its browser, method, country, and why it was unusual, as the audit log does", async () => {
      const user = await aUser(server);
      await signIn(user.email);
      await signIn(user.email, browserOf(SAFARI, TOKYO));
      const session = await live(user.id).orderBy("createdAt", "desc").first();
      assert.equal(session?.loginMethod, "pwd");
      assert.equal(session?.country, "JP");
      assert.equal(session?.riskScore, 80);
      assert.deepEqual(session?.riskReasons, ["new_device", "new_country", "impossible_travel"]);
      const event = await AuditEvent.query(server.database.knex)
        .where({ userId: user.id, type: "login.succeeded" })
        .orderBy("id", "desc")
        .first();
      assert.equal(event?.details?.["riskScore"], 80);
      assert.equal(event?.details?.["isNewDevice"], true);
    });

    it("and operators see it on the command line", async function () {
      this.timeout(60_000);
      const user = await aUser(server);
      await signIn(user.email);
      await signIn(user.email, browserOf(SAFARI, TOKYO));
      const run = (words: string[]) =>
        runCli(words, { DATABASE_URL: server.database.url, ISSUER: server.issuer });
      const [latest, first] = JSON.parse(
        (await run(["user", "sessions", user.email, "--json"])).out,
      ) as Record<string, unknown>[];
      assert.equal(latest?.["risk_score"], 80);
      assert.deepEqual(latest?.["risk_reasons"], [
        "new_device",
        "new_country",
        "impossible_travel",
      ]);
      assert.equal(first?.["risk_score"], 0);
      const { out } = await run(["user", "sessions", user.email]);
      assert.match(out, /Safari, iOS +198\.51\.100\.0\/24 +JP +80 +new_device new_country/);
    });

    it("and at a sign-in to one’s own pages", async () => {
      const user = await aUser(server);
      const browser = browserOf();
      const answer = await walk(server, browser, "/account/sessions", { email: user.email });
      assert.equal(answer.page, "sessions");
      assert.match(answer.text, /Firefox on Linux/);
      assert.match(answer.text, /Germany/);
    });

    it("the cookie of the browser is only this host’s, no script’s, random, and lasts thirteen months", async () => {
      const user = await aUser(server);
      const browser = browserOf();
      const { location = "" } = await browser.open(app.authorization());
      await browser.submit(location, { username: user.email });
      const answer = await browser.submit(`${location}/password`, { password: PASSWORD });
      const line = answer.setCookies.find((cookie) => cookie.startsWith("__Host-lintel_device="));
      assert.match(line ?? "", /=dv_[\w-]{43};/);
      for (const attribute of [/; path=\/;/, /; httponly/i, /; secure/i, /; samesite=lax/i])
        assert.match(line ?? "", attribute);
      const expires = Date.parse(/expires=([^;]+)/.exec(line ?? "")?.[1] ?? "");
      assert.ok(Math.abs(expires - Date.now() - 395 * 86_400_000) < 60_000);
      const device = await UserDevice.query(server.database.knex).findOne({ userId: user.id });
      assert.equal(device?.cookieHash.length, 32);
    });
  });
});
