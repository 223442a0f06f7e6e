import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { OneTimeToken } from "../../src/models/one-time-token.ts";
import { Session } from "../../src/models/session.ts";
import { UserEmail } from "../../src/models/user-email.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { addEmail } from "../../src/users/emails.ts";
import { createUser, disableUser } from "../../src/users/users.ts";
import { anApp } from "../support/factors.ts";
import { aPasskey } from "../support/passkeys.ts";
import { allWritten, mailsTo, mailTo } from "../support/mailbox.ts";
import { json, RelyingParty, response, send, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { addressOf, Walker } from "../support/walker.ts";

const NEW = "seven purple umbrellas sing";

describe("recovery: who cannot sign in (NIST SP 800-63B-4 §4.2, ASVS 6.4)", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(() => server.stop());
  beforeEach(() => LoginThrottle.query(server.database.knex).delete());

  /** As far as the page that says that a mail was sent. */
  const asked = async (username: string, walker = new Walker(server)) => {
    const login = await walker.open(app.authorization({ prompt: "login" }));
    const password = login.page === "login" ? await walker.submit(login, { username }) : login;
    const forgot = await walker.open(addressOf(password, "forgot-link"));
    assert.equal(forgot.page, "forgot");
    const sent = await walker.submit(forgot, { username });
    return { walker, sent, password };
  };
  const signIn = async (email: string, password: string, walker = new Walker(server)) => {
    const login = await walker.open(app.authorization());
    const page = await walker.submit(login, { username: email });
    return { walker, answer: await walker.submit(page, { password }) };
  };
  const hasCode = ({ location }: Answer) =>
    location !== undefined && new URL(location).searchParams.has("code");
  const isLive = async (userId: string) =>
    (await Session.query(server.database.knex).where({ userId }).whereNull("endedAt")).length;

  it("goes on with the sign-in that was interrupted, with the code from the mail", async () => {
    const user = await aUser(server);
    const { walker, sent } = await asked(user.email);
    const { code } = await mailTo(server, user.email, "reset_password");
    const choose = await walker.submit(sent, { otp: code });
    assert.equal(choose.page, "new-password");
    assert.match(choose.text, /id="sign_out_others"[^>]* checked/);
    const done = await walker.submit(choose, { password: NEW, sign_out_others: "1" });
    const tokens = json(await app.redeem(response(done)["code"] ?? ""));
    const claims = decodeJwt(String(tokens["id_token"]));
    assert.deepEqual([claims.sub, claims["amr"]], [user.id, ["pwd"]]);
    assert.ok(hasCode((await signIn(user.email, NEW)).answer));
    assert.equal((await signIn(user.email, PASSWORD)).answer.page, "password");
  });

  it("leaves the second step to be shown: a mailbox alone signs nobody in (ASVS 6.4.3)", async () => {
    const user = await aUser(server);
    const phone = await anApp(server, user.id);
    const { walker, sent } = await asked(user.email);
    const { code } = await mailTo(server, user.email, "reset_password");
    const choose = await walker.submit(sent, { otp: code });
    const second = await walker.submit(choose, { password: NEW, sign_out_others: "1" });
    assert.equal(second.page, "mfa-totp");
    assert.equal(await isLive(user.id), 0);
    const done = await walker.submit(second, { otp: await phone.code() });
    const tokens = json(await app.redeem(response(done)["code"] ?? ""));
    assert.equal(decodeJwt(String(tokens["id_token"]))["acr"], "2");
  });

  it("says how to sign in to who has no password but a passkey, and lets them set one (NIST SP 800-63B-4 §4.2)", async () => {
    const email = "keys-only@example.com";
    const user = await createUser(
      server.database.knex,
      { email, verified: true, via: "admin" },
      new Date(),
    );
    await aPasskey(server, user.id);
    const { walker, sent } = await asked(email);
    await mailTo(server, email, "no_password");
    assert.deepEqual(
      (await mailsTo(server, email)).map(({ template }) => template),
      ["no_password"],
    );
    const { code } = await mailTo(server, email, "no_password");
    const choose = await walker.submit(sent, { otp: code });
    assert.equal(choose.page, "new-password");
    const done = await walker.submit(choose, { password: NEW });
    assert.ok(hasCode(done));
  });

  it("goes on with it after the link, too, in the same browser, and signs nobody in by itself", async () => {
    const user = await aUser(server);
    const { walker } = await asked(user.email);
    const { url } = await mailTo(server, user.email, "reset_password");
    const page = await walker.open(url);
    assert.equal(page.page, "new-password");
    const done = await walker.submit(page, { password: NEW });
    assert.equal(done.page, "letter-done");
    assert.equal(await isLive(user.id), 0);
    const password = await walker.open(addressOf(done, "continue"));
    assert.equal(password.page, "password");
    assert.ok(hasCode(await walker.submit(password, { password: NEW })));
  });

  it("by a link opened elsewhere sets the password and leads to no sign-in of somebody else", async () => {
    const user = await aUser(server);
    await asked(user.email);
    const { url } = await mailTo(server, user.email, "reset_password");
    const phone = new Walker(server);
    const done = await phone.submit(await phone.open(url), { password: NEW });
    assert.match(done.text, /Your password is set/);
    assert.doesNotMatch(done.text, /id="continue"/);
    assert.equal(phone.browser.cookie("lintel_session"), undefined);
  });

  it("does not use the link up by GET and HEAD (T-66)", async () => {
    const user = await aUser(server);
    await asked(user.email);
    const { url } = await mailTo(server, user.email, "reset_password");
    for (let n = 0; n < 5; n += 1)
      await send(server, { path: url, method: n % 2 === 0 ? "GET" : "HEAD" });
    const walker = new Walker(server);
    assert.equal((await walker.submit(url, { password: NEW })).status, 200);
  });

  it("takes a link once, also of 20 at the same time (T-66)", async () => {
    const user = await aUser(server);
    await asked(user.email);
    const { url } = await mailTo(server, user.email, "reset_password");
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        new WebBrowser(server).submit(url, { password: `${NEW} ${n}` }),
      ),
    );
    const changed = await mailsTo(server, user.email);
    assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    assert.equal(changed.filter(({ template }) => template === "password_changed").length, 1);
  });

  it("voids the link when another is asked for, and when the password changes (T-65)", async () => {
    const user = await aUser(server);
    await asked(user.email);
    const first = await mailTo(server, user.email, "reset_password");
    await asked(user.email);
    const second = await mailTo(server, user.email, "reset_password", 2);
    const walker = new Walker(server);
    assert.equal((await walker.submit(first.url, { password: NEW })).status, 410);
    assert.equal((await walker.submit(second.url, { password: NEW })).status, 200);
    assert.equal((await walker.submit(second.url, { password: `${NEW} again` })).status, 410);
  });

  it("ends what else is signed in by choice (ASVS 7.4.3)", async () => {
    for (const [signOut, live] of [
      ["1", 0],
      [undefined, 1],
    ] as const) {
      const user = await aUser(server);
      await signIn(user.email, PASSWORD);
      assert.equal(await isLive(user.id), 1);
      await asked(user.email);
      const { url } = await mailTo(server, user.email, "reset_password");
      const done = await new Walker(server).submit(url, {
        password: NEW,
        sign_out_others: signOut,
      });
      assert.equal(done.status, 200);
      assert.equal(await isLive(user.id), live);
    }
  });

  it("stops a sign-in that somebody else began with the old password and has not finished (T-30)", async () => {
    const asking = new RelyingParty(server, await aClient(server, { first_party: false }));
    const user = await aUser(server);
    const thief = new Walker(server);
    const login = await thief.open(asking.authorization());
    const password = await thief.submit(login, { username: user.email });
    const consent = await thief.submit(password, { password: PASSWORD });
    assert.equal(consent.page, "consent");
    await asked(user.email);
    const { url } = await mailTo(server, user.email, "reset_password");
    await new Walker(server).submit(url, { password: NEW });
    const answer = await thief.submit(consent, { decision: "allow", scope: "openid" });
    assert.equal(answer.page, "password");
    assert.equal(await isLive(user.id), 0);
  });

  it("lifts what others' guesses put on the account, and tells the person (T-63)", async () => {
    const user = await aUser(server);
    const { knex } = server.database;
    await signIn(user.email, "wrong");
    assert.equal((await LoginThrottle.query(knex).where({ scope: "account" })).length, 1);
    await asked(user.email);
    const { url } = await mailTo(server, user.email, "reset_password");
    await new Walker(server).submit(url, { password: NEW });
    assert.equal((await LoginThrottle.query(knex).where({ scope: "account" })).length, 0);
    await mailTo(server, user.email, "password_changed");
  });

  it("refuses a weak password and keeps the link good for another (NIST SP 800-63B-4 §3.1.1.2)", async () => {
    const user = await aUser(server);
    await asked(user.email);
    const { url } = await mailTo(server, user.email, "reset_password");
    const walker = new Walker(server);
    assert.equal((await walker.submit(url, { password: "short" })).status, 422);
    assert.equal((await walker.submit(url, { password: "" })).status, 422);
    assert.equal((await walker.submit(url, { password: NEW })).status, 200);
  });

  it("shows no page for a new password before the code was right", async () => {
    const user = await aUser(server);
    const { walker, sent } = await asked(user.email);
    const form = sent.url.href.replace("/code", "/password");
    const answer = await walker.submit(form, { password: NEW });
    assert.equal(answer.page, "forgot");
    assert.equal((await signIn(user.email, NEW)).answer.page, "password");
  });

  it("takes five wrong codes and no more, also at once (T-63)", async () => {
    const user = await aUser(server);
    const { walker, sent } = await asked(user.email);
    const { code } = await mailTo(server, user.email, "reset_password");
    const wrong = code === "00000000" ? "11111111" : "00000000";
    await Promise.all(
      Array.from({ length: 12 }, () => walker.browser.copy().submit(sent.url.href, { otp: wrong })),
    );
    const answer = await walker.submit(sent, { otp: code });
    assert.equal(answer.page, "forgot-sent");
    const [row] = await OneTimeToken.query(server.database.knex)
      .where({ userId: user.id })
      .orderBy("id", "desc");
    assert.equal(row?.attempts, 5);
  });

  it("takes a code only where it was asked for", async () => {
    const user = await aUser(server);
    const first = await asked(user.email);
    const { code } = await mailTo(server, user.email, "reset_password");
    const other = await asked("somebody-else@example.com");
    assert.equal((await other.walker.submit(other.sent, { otp: code })).status, 401);
    assert.equal((await first.walker.submit(first.sent, { otp: code })).page, "new-password");
  });

  it("takes one name and no list of them (T-65)", async () => {
    const [user, eve] = [await aUser(server), await aUser(server)];
    const walker = new Walker(server);
    const { sent } = await asked(user.email, walker);
    const form = sent.url.href.replace("/code", "");
    for (const fields of [
      { username: [user.email, eve.email] },
      { "username[]": [user.email, eve.email] },
    ])
      assert.equal((await walker.submit(form, fields)).status, 400);
    await walker.submit(form, { username: `${user.email},${eve.email}` });
    await allWritten(server);
    assert.deepEqual(await mailsTo(server, eve.email), []);
  });

  it("finds a person by username, and writes to the primary address", async () => {
    const username = "hopper";
    const email = "grace.h@example.com";
    await createUser(
      server.database.knex,
      { email, verified: true, username, via: "admin", passwordHash: "$x" },
      new Date(),
    );
    await asked(username);
    await mailTo(server, email, "reset_password");
  });

  it("is the way to a first password for who was added without one, and proves the address", async () => {
    const email = "added@example.com";
    const user = await createUser(
      server.database.knex,
      { email, verified: false, via: "admin" },
      new Date(),
    );
    await asked(email);
    const mail = await mailTo(server, email, "reset_password");
    assert.equal(mail.hasPassword, false);
    assert.equal((await new Walker(server).submit(mail.url, { password: NEW })).status, 200);
    const address = await UserEmail.query(server.database.knex).findOne({ userId: user.id });
    assert.ok(address?.verifiedAt);
    assert.ok(hasCode((await signIn(email, NEW)).answer));
  });

  it("writes to no address that is not proven beside the primary one (T-67)", async () => {
    const user = await aUser(server);
    const typed = "pending@example.com";
    const by = { actor: { type: "user", id: user.id } } as const;
    await addEmail(server.database.knex, { userId: user.id, typed, by }, new Date());
    await asked(typed);
    await allWritten(server);
    assert.deepEqual(await mailsTo(server, typed), []);
    assert.deepEqual(await mailsTo(server, user.email), []);
  });

  it("writes to nobody whose account is turned off, and a link of before sets nothing", async () => {
    const user = await aUser(server);
    await asked(user.email);
    const { url } = await mailTo(server, user.email, "reset_password");
    await server.database.knex.transaction((trx) => disableUser(trx, user.id, {}, new Date()));
    const answer = await new Walker(server).submit(url, { password: NEW });
    assert.equal(answer.status, 403);
    await asked(user.email);
    await allWritten(server);
    assert.equal((await mailsTo(server, user.email)).length, 1);
  });

  describe("says nothing of whether somebody exists (T-62, ASVS 6.3.8)", () => {
    const normal = (answer: Answer, username: string) =>
      answer.text
        .replaceAll(username, "NAME")
        .replaceAll(/interaction\/[\w-]+/g, "interaction/UID")
        .replaceAll(/[0-9A-HJKMNP-TV-Z]{10}/g, "REF");

    const lastToken = async (): Promise<{ email_id: string | null } | undefined> => {
      const { rows } = await server.database.knex.raw(
        "SELECT purpose, attempts, email_id, used_at FROM one_time_tokens ORDER BY id DESC LIMIT 1",
      );
      return rows[0];
    };

    it("byte by byte, in cookies, in headers and in what is stored", async () => {
      const user = await aUser(server);
      const seen = [];
      for (const username of [user.email, "nobody@example.com", "no.such.name"]) {
        // What the request itself stores, seen before the letter is written, which may be soon.
        let { walker, sent } = await asked(username);
        let stored = await lastToken();
        for (let tries = 0; stored?.email_id !== null && tries < 3; tries += 1) {
          await allWritten(server);
          ({ walker, sent } = await asked(username));
          stored = await lastToken();
        }
        await allWritten(server);
        const wrong = [];
        for (let n = 0; n < 6; n += 1) {
          const answer = await walker.submit(sent, { otp: "00000000" });
          wrong.push([answer.status, normal(answer, username)]);
        }
        seen.push({
          status: sent.status,
          text: normal(sent, username),
          headers: Object.keys(sent.headers).sort(),
          cookies: [...walker.browser.jar.values()].map(({ name }) => name).sort(),
          stored,
          wrong,
        });
      }
      assert.deepEqual(seen[0], seen[1]);
      assert.deepEqual(seen[0], seen[2]);
    });

    it("in the throttling of names that nobody has", async () => {
      const user = await aUser(server);
      const statuses = [];
      for (const username of [user.email, "nobody-at-all@example.com"]) {
        const seen = [];
        for (let n = 0; n < 7; n += 1) seen.push((await asked(username)).sent.status);
        statuses.push(seen);
        await LoginThrottle.query(server.database.knex).delete();
      }
      assert.deepEqual(statuses[0], statuses[1]);
      assert.deepEqual(statuses[0]?.slice(4, 7), [200, 429, 429]);
      await allWritten(server);
    });

    it("in time, name by name", async () => {
      const user = await aUser(server);
      const names = [user.email, "nobody@example.com"];
      const times: number[][] = [[], []];
      for (let round = 0; round < 8; round += 1)
        for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
          await LoginThrottle.query(server.database.knex).delete();
          const walker = new Walker(server);
          const username = names[index] ?? "";
          const login = await walker.open(app.authorization());
          const password = await walker.submit(login, { username });
          const form = addressOf(password, "forgot-link");
          const startedAt = performance.now();
          await walker.browser.submit(form, { username });
          times[index]?.push(performance.now() - startedAt);
          await allWritten(server);
        }
      const [a = 0, b = 0] = times.map((list) => list.sort((x, y) => x - y)[4] ?? 0);
      // Coarse, so that a busy machine does not fail it.
      assert.ok(Math.max(a, b) < Math.min(a, b) * 1.8 + 5, `medians in ms: ${a}, ${b}`);
    });
  });

  it("keeps no secret of a mail in the clear (T-64)", async () => {
    const user = await aUser(server);
    await asked(user.email);
    const { code, url } = await mailTo(server, user.email, "reset_password");
    const secret = url.slice(url.lastIndexOf("/") + 1);
    for (const table of ["one_time_tokens", "outbox_messages", "audit_events"]) {
      const rows = JSON.stringify(await server.database.knex(table).select());
      assert.ok(!rows.includes(secret) && !rows.includes(code), table);
    }
    assert.ok(!server.logged().includes(secret));
    const stored = await UserPassword.query(server.database.knex).findById(user.id);
    assert.ok(stored?.hash.startsWith("$argon2id$"));
  });
});
