import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { addEmailFactor } from "../../src/authn/factors.ts";
import { RecoveryCode } from "../../src/models/recovery-code.ts";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { MfaFactor } from "../../src/models/mfa-factor.ts";
import { Session } from "../../src/models/session.ts";
import { TrustedBrowser } from "../../src/models/trusted-browser.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import {
  anApp,
  codeAt,
  mailedCode,
  mailsTo,
  seedOn,
  someRecoveryCodes,
} from "../support/factors.ts";
import { allWritten } from "../support/mailbox.ts";
import { aPasskey, questionOf } from "../support/passkeys.ts";
import {
  aProductionServer,
  errorOf,
  json,
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aClient, aUser, PASSWORD, type TestServer } from "../support/server.ts";

let networks = 0;
/** Another network (/24), as the trusted proxy names it. */
function newNetwork(): string {
  networks += 1;
  return `198.${18 + Math.floor(networks / 250)}.${networks % 250}.7`;
}

/** A person's browser in the middle of one sign-in. */
class SignIn {
  readonly browser: WebBrowser;
  path = "";
  answer: Answer | undefined;

  constructor(browser: WebBrowser) {
    this.browser = browser;
  }

  async begin(app: RelyingParty, changes: Fields = {}): Promise<this> {
    const { location = "" } = await this.browser.open(app.authorization(changes));
    this.path = new URL(location).pathname;
    return this;
  }

  /** Goes on from an answer until there is a page, or the browser leaves. */
  async follow(first: Answer): Promise<Answer> {
    let answer = first;
    while (answer.location?.startsWith("https://id.example") === true)
      answer = await this.browser.open(answer.location);
    this.answer = answer;
    return answer;
  }

  async post(step: string, fields: Fields): Promise<Answer> {
    return this.follow(await this.browser.submit(this.path + step, fields));
  }

  async open(step: string): Promise<Answer> {
    return this.follow(await this.browser.open(this.path + step));
  }

  async password(email: string, password = PASSWORD): Promise<Answer> {
    await this.post("", { username: email });
    return this.post("/password", { password });
  }
}

describe("second factors", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let strict: RelyingParty;

  before(async () => {
    server = await aProductionServer({ SECOND_FACTOR_BY_EMAIL: "on" });
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
    strict = new RelyingParty(
      server,
      await aClient(server, { first_party: true, require_second_factor: true }),
    );
  });
  after(() => server?.stop());

  const aBrowser = (headers: Record<string, string> = {}) =>
    new WebBrowser(server, { "x-forwarded-for": newNetwork(), ...headers });
  const begin = (client = app, browser = aBrowser(), changes: Fields = {}) =>
    new SignIn(browser).begin(client, changes);
  const claimsOf = async (answer: Answer, client = app) =>
    decodeJwt(String(json(await client.redeem(response(answer)["code"] ?? ""))["id_token"]));
  const hasSession = async (userId: string) =>
    (await Session.query(server.database.knex).where({ userId }).resultSize()) > 0;

  /** Somebody with an app, whose password was just shown. */
  async function atSecondStep(client = app, browser = aBrowser()) {
    const user = await aUser(server);
    const phone = await anApp(server, user.id);
    const signIn = await begin(client, browser);
    const answer = await signIn.password(user.email);
    return { user, phone, signIn, answer };
  }

  describe("T-70: a factor is asked for because it exists", () => {
    it("the password alone leads to the second step, and to no session", async () => {
      const { user, answer } = await atSecondStep();
      assert.equal(answer.page, "mfa-totp");
      assert.equal(await hasSession(user.id), false);
    });

    it("with it the sign-in is at level 2, with both methods in amr (RFC 8176 §2)", async () => {
      const { phone, signIn } = await atSecondStep();
      const claims = await claimsOf(await signIn.post("/mfa/totp", { otp: await phone.code() }));
      assert.equal(claims["acr"], "2");
      assert.deepEqual(claims["amr"], ["pwd", "otp", "mfa"]);
    });

    it("nothing that is posted past it helps: consent, skip, enrolment, an own end", async () => {
      const { user, signIn } = await atSecondStep();
      const forms: [string, Fields][] = [
        ["/consent", { decision: "allow", scope: "openid" }],
        ["/enroll/skip", {}],
        ["/enroll", { factor: "totp" }],
        ["/enroll", { factor: "email" }],
        ["/enroll/totp", { otp: "123456" }],
        ["/enroll/codes", { saved: "1" }],
        ["/accounts", { account: "current" }],
        ["/password", { password: PASSWORD }],
        ["/mfa", { factor: "totp" }],
        ["/mfa/totp", { otp: "" }],
      ];
      for (const [step, fields] of forms) {
        const answer = await signIn.post(step, fields);
        assert.match(answer.page ?? "", /^mfa/, step);
      }
      for (const step of ["/own", "/mfa/skip"]) {
        const answer = await signIn.open(step);
        assert.equal(answer.location, undefined, step);
      }
      assert.equal(await hasSession(user.id), false);
    });

    it("parameters do not take it away: what a request may say about it is not listened to", async () => {
      const user = await aUser(server);
      await anApp(server, user.id);
      for (const changes of [
        { acr_values: "1" },
        { acr_values: "0" },
        { amr_values: "pwd" },
        { kc_action: "skip" },
        { prompt: "consent" },
        { claims: '{"id_token":{"acr":{"essential":true,"value":"1"}}}' },
      ]) {
        const signIn = await begin(app, aBrowser(), changes);
        assert.equal((await signIn.password(user.email)).page, "mfa-totp", JSON.stringify(changes));
      }
    });

    it("naming somebody else on the way begins anew: what one has shown is not the other’s", async () => {
      const { signIn } = await atSecondStep();
      const other = await aUser(server);
      await anApp(server, other.id);
      const answer = await signIn.post("", { username: other.email, password: PASSWORD });
      assert.match(answer.page ?? "", /^mfa/);
      assert.equal(await hasSession(other.id), false);
    });

    it("whoever is turned off, or whose sessions end, meanwhile does not go on", async () => {
      const { user, phone, signIn } = await atSecondStep();
      await server.database
        .knex("users")
        .where({ id: user.id })
        .update({ sessions_valid_after: new Date() });
      const answer = await signIn.post("/mfa/totp", { otp: await phone.code() });
      assert.equal(answer.page, "password");
      assert.equal(await hasSession(user.id), false);
    });

    it("an app that was turned off by wrong codes still guards (T-72)", async () => {
      const user = await aUser(server);
      const phone = await anApp(server, user.id);
      await MfaFactor.query(server.database.knex)
        .patch({ disabledAt: new Date() })
        .where({ userId: user.id });
      const signIn = await begin();
      assert.equal((await signIn.password(user.email)).page, "mfa-totp");
      const answer = await signIn.post("/mfa/totp", { otp: await phone.code() });
      assert.equal(answer.status, 401);
      assert.equal(await hasSession(user.id), false);
    });

    it("the mailbox begins a sign-in and does not spare the second step (Kratos GHSA-wc43-73w7-x2f5)", async () => {
      const user = await aUser(server);
      const phone = await anApp(server, user.id);
      const signIn = await begin();
      await signIn.post("", { username: user.email });
      await signIn.post("/methods", { method: "email-code" });
      const answer = await signIn.post("/code", { otp: await mailedCode(server, user.id) });
      assert.equal(answer.page, "mfa-totp");
      const claims = await claimsOf(await signIn.post("/mfa/totp", { otp: await phone.code() }));
      assert.equal(claims["acr"], "1");
      assert.deepEqual(claims["amr"], ["otp", "email"]);
    });
  });

  describe("T-72: guessing codes of an app", () => {
    it("five are looked at in a sign-in; then not even the right one", async () => {
      const { phone, signIn } = await atSecondStep();
      for (let tries = 0; tries < 5; tries += 1)
        assert.equal((await signIn.post("/mfa/totp", { otp: phone.wrong() })).status, 401);
      const answer = await signIn.post("/mfa/totp", { otp: await phone.code() });
      assert.equal(answer.status, 429);
      assert.match(answer.text, /Too many wrong codes/);
    });

    it("of fifty at once five are looked at, and the right one among the rest is not", async () => {
      const { user, phone, signIn } = await atSecondStep();
      const answers = await Promise.all(
        Array.from({ length: 50 }, () =>
          signIn.browser.submit(`${signIn.path}/mfa/totp`, { otp: phone.wrong() }),
        ),
      );
      assert.equal(answers.filter(({ status }) => status === 401).length, 5);
      assert.equal(answers.filter(({ status }) => status === 429).length, 45);
      const factor = await MfaFactor.query(server.database.knex).findOne({ userId: user.id });
      assert.equal(factor?.failures, 5);
    });

    it("ten in an hour for one person, over any number of sign-ins and on two nodes", async () => {
      const { user, phone } = await atSecondStep();
      const other = await server.another();
      const statuses: number[] = [];
      for (let signIns = 0; signIns < 3; signIns += 1) {
        const node = { issuer: server.issuer, port: Number(new URL(other.origin).port) };
        const browser = new WebBrowser(signIns % 2 === 0 ? server : node, {
          "x-forwarded-for": newNetwork(),
        });
        const signIn = await begin(app, browser);
        await signIn.password(user.email);
        for (let tries = 0; tries < 5; tries += 1)
          statuses.push((await signIn.post("/mfa/totp", { otp: phone.wrong() })).status);
      }
      assert.equal(statuses.filter((status) => status === 401).length, 10, statuses.join(" "));
    });

    it("the hundredth in a row turns the app off, and its owner is told once", async () => {
      const { user, phone, signIn } = await atSecondStep();
      await MfaFactor.query(server.database.knex)
        .patch({ failures: 99 })
        .where({ userId: user.id });
      assert.equal((await signIn.post("/mfa/totp", { otp: phone.wrong() })).status, 401);
      assert.equal((await signIn.post("/mfa/totp", { otp: await phone.code() })).status, 401);
      const told = (await mailsTo(server, user.id)).filter(
        ({ props }) => props["change"] === "totp_disabled",
      );
      assert.equal(told.length, 1);
    });
  });

  describe("T-73: showing a code twice", () => {
    it("lets one of two sign-ins in, one after the other", async () => {
      const { user, phone, signIn } = await atSecondStep();
      const second = await begin();
      await second.password(user.email);
      const otp = await phone.code();
      assert.ok(response(await signIn.post("/mfa/totp", { otp }))["code"]);
      const answer = await second.post("/mfa/totp", { otp });
      assert.equal(answer.status, 401);
      assert.match(answer.text, /already used/);
    });

    it("lets one of four in that show it at once on two nodes", async () => {
      const { user, phone } = await atSecondStep();
      const other = await server.another();
      const node = { issuer: server.issuer, port: Number(new URL(other.origin).port) };
      const signIns = await Promise.all(
        [0, 1, 2, 3].map(async (index) => {
          const headers = { "x-forwarded-for": newNetwork() };
          const signIn = await begin(app, new WebBrowser(index % 2 === 0 ? server : node, headers));
          await signIn.password(user.email);
          return signIn;
        }),
      );
      const otp = await phone.code();
      const answers = await Promise.all(
        signIns.map(({ browser, path }) => browser.submit(`${path}/mfa/totp`, { otp })),
      );
      assert.deepEqual(answers.map(({ status }) => status).toSorted(), [303, 401, 401, 401]);
    });

    it("refuses the code of more than forty seconds ago", async () => {
      const { phone, signIn } = await atSecondStep();
      const otp = codeAt(phone.seed, new Date(Date.now() - 61_000));
      assert.equal((await signIn.post("/mfa/totp", { otp })).status, 401);
    });
  });

  it("T-74: what is no code is 422 and costs no try", async () => {
    const { phone, signIn } = await atSecondStep();
    for (const otp of ["１２３４５６", "123456\n", "12345", "1234567", "", "12 34 5", "abcdef"])
      assert.equal((await signIn.post("/mfa/totp", { otp })).status, 422, JSON.stringify(otp));
    assert.ok(response(await signIn.post("/mfa/totp", { otp: await phone.code() }))["code"]);
  });

  describe("T-75: codes by e-mail", () => {
    async function atCode(browser = aBrowser(), known?: { id: string; email: string }) {
      const user = known ?? (await aUser(server));
      const signIn = await begin(app, browser);
      await signIn.post("", { username: user.email });
      const answer = await signIn.post("/methods", { method: "email-code" });
      assert.equal(answer.page, "email-code");
      return { user, signIn, code: await mailedCode(server, user.id) };
    }
    const not = (code: string) => (code === "00000000" ? "00000001" : "00000000");

    it("sign in at level 1, with otp and email in amr", async () => {
      const { signIn, code } = await atCode();
      const claims = await claimsOf(await signIn.post("/code", { otp: code }));
      assert.equal(claims["acr"], "1");
      assert.deepEqual(claims["amr"], ["otp", "email"]);
    });

    it("five wrong ones void the right one", async () => {
      const { user, signIn, code } = await atCode();
      for (let tries = 0; tries < 5; tries += 1)
        assert.equal((await signIn.post("/code", { otp: not(code) })).status, 401);
      assert.equal((await signIn.post("/code", { otp: code })).status, 429);
      assert.equal(await hasSession(user.id), false);
    });

    it("that of one sign-in is worth nothing in another", async () => {
      const first = await atCode();
      const second = await atCode(aBrowser(), first.user);
      assert.equal((await second.signIn.post("/code", { otp: first.code })).status, 401);
      assert.ok(response(await second.signIn.post("/code", { otp: second.code }))["code"]);
    });

    it("another one within a minute is refused with the time to wait; after it the first is void", async () => {
      const { user, signIn, code } = await atCode();
      const hasty = await signIn.post("/code/resend", {});
      assert.equal(hasty.status, 429);
      assert.match(hasty.text, /another code in \d+ seconds/);
      await server.database.knex.raw(
        "UPDATE email_codes SET created_at = created_at - interval '61 seconds' WHERE user_id = ?",
        [user.id],
      );
      assert.equal((await signIn.post("/code/resend", {})).page, "email-code");
      const second = await mailedCode(server, user.id);
      if (second !== code) assert.equal((await signIn.post("/code", { otp: code })).status, 401);
      assert.ok(response(await signIn.post("/code", { otp: second }))["code"]);
    });

    it("the sixth mail in an hour is not sent", async () => {
      const user = await aUser(server);
      for (let sends = 0; sends < 5; sends += 1) await atCode(aBrowser(), user);
      const signIn = await begin();
      await signIn.post("", { username: user.email });
      const answer = await signIn.post("/methods", { method: "email-code" });
      assert.equal(answer.status, 429);
      assert.ok(Number(answer.headers["retry-after"]) > 0);
      const sent = (await mailsTo(server, user.id)).filter(
        ({ template }) => template === "sign_in_code",
      );
      assert.equal(sent.length, 5);
    });

    it("somebody who does not exist gets the same answers, in the same time, and the same limits (T-62)", async () => {
      const user = await aUser(server);
      const run = async (email: string) => {
        const signIn = await begin();
        await signIn.post("", { username: email });
        const from = performance.now();
        const asked = await signIn.post("/methods", { method: "email-code" });
        const took = performance.now() - from;
        const wrong = await signIn.post("/code", { otp: "00000000" });
        const again = await signIn.post("/code/resend", {});
        const plain = ({ text, status }: Answer) =>
          `${status} ${text
            .replaceAll(email, "EMAIL")
            .replaceAll(/\/interaction\/[\w-]+/g, "")
            .replaceAll(/in \d+ seconds/g, "soon")}`;
        return { pages: [asked, wrong, again].map(plain), took };
      };
      const known = await run(user.email);
      const unknown = await run("nobody-at-all@example.com");
      assert.deepEqual(unknown.pages, known.pages);
      for (const { took } of [known, unknown]) assert.ok(took >= 250, String(took));
    });

    it("nobody whose address is not proven gets one", async () => {
      const user = await aUser(server);
      await server.database
        .knex("user_emails")
        .where({ user_id: user.id })
        .update({ verified_at: null });
      const signIn = await begin();
      await signIn.post("", { username: user.email });
      assert.equal((await signIn.post("/methods", { method: "email-code" })).page, "email-code");
      assert.deepEqual(await mailsTo(server, user.id), []);
    });

    it("as second step they let in and reach no level", async () => {
      const user = await aUser(server);
      await addEmailFactor(server.database.knex, user.id, new Date());
      const signIn = await begin();
      const asked = await signIn.password(user.email);
      assert.equal(asked.page, "mfa-email");
      assert.ok(
        !asked.text.includes(user.email),
        "the address is not shown to who knows the password",
      );
      assert.equal((await mailsTo(server, user.id)).length, 0, "opening a page sends nothing");
      await signIn.post("/mfa/email/send", {});
      const otp = await mailedCode(server, user.id);
      const claims = await claimsOf(await signIn.post("/mfa/email", { otp }));
      assert.equal(claims["acr"], "1");
      assert.deepEqual(claims["amr"], ["pwd", "otp", "email"]);
    });

    it("are no second step beside themselves: who began with one shows the password", async () => {
      const user = await aUser(server);
      await addEmailFactor(server.database.knex, user.id, new Date());
      const { signIn, code } = await atCode(aBrowser(), user);
      assert.equal((await signIn.post("/code", { otp: code })).page, "password");
      assert.equal(await hasSession(user.id), false);
    });
  });

  describe("T-75: a mailbox is no authenticator (NIST SP 800-63B-4 §3.1.3.1)", () => {
    /** Somebody who has shown a code from their mailbox, and what came of it. */
    async function byMailbox(user: { id: string; email: string }, changes: Fields = {}, of = app) {
      const signIn = await begin(of, aBrowser(), changes);
      await signIn.post("", { username: user.email });
      await signIn.post("/methods", { method: "email-code" });
      const otp = await mailedCode(server, user.id);
      return { signIn, answer: await signIn.post("/code", { otp }) };
    }
    async function withApp() {
      const user = await aUser(server);
      return { user, phone: await anApp(server, user.id) };
    }

    for (const [what, changes] of [
      ["by acr_values", { acr_values: "2" }],
      ["by its registration", {}],
    ] as const)
      it(`with an app beside it is level 1: a client that asks for 2 ${what} gets the password too, and the app is asked once`, async () => {
        const { user, phone } = await withApp();
        const of = what === "by acr_values" ? app : strict;
        const { signIn, answer } = await byMailbox(user, changes, of);
        assert.equal(answer.page, "mfa-totp");
        const more = await signIn.post("/mfa/totp", { otp: await phone.code() });
        assert.equal(more.page, "password");
        assert.match(more.text, /id="more">A code from your email is not enough here/);
        assert.doesNotMatch(more.text, /id="other-methods"/);
        assert.equal(await hasSession(user.id), false);
        const claims = await claimsOf(await signIn.post("/password", { password: PASSWORD }), of);
        assert.equal(claims["acr"], "2");
        assert.deepEqual((claims["amr"] as string[]).toSorted(), ["email", "mfa", "otp", "pwd"]);
      });

    it("who has neither password nor passkey sets a password on the way, and arrives", async () => {
      const { user, phone } = await withApp();
      await UserPassword.query(server.database.knex).deleteById(user.id);
      const { signIn } = await byMailbox(user, { acr_values: "2" });
      const more = await signIn.post("/mfa/totp", { otp: await phone.code() });
      assert.equal(more.page, "password");
      assert.match(more.text, /id="forgot-link"/);
      await signIn.post("/forgot", { username: user.email });
      await allWritten(server);
      await signIn.post("/forgot/code", {
        otp: await mailedCode(server, user.id, "reset_password"),
      });
      const chosen = await signIn.post("/forgot/password", { password: "seven purple umbrellas" });
      assert.equal(chosen.page, "mfa-totp");
      const claims = await claimsOf(await signIn.post("/mfa/totp", { otp: await phone.code() }));
      assert.equal(claims["acr"], "2");
    });

    it("a passkey beside it is enough by itself", async () => {
      const { user } = await withApp();
      const device = await aPasskey(server, user.id);
      const { signIn, answer } = await byMailbox(user, { acr_values: "2" });
      assert.equal(answer.page, "mfa-webauthn");
      const passkey_response = device.get(questionOf(answer.text));
      const done = await signIn.post("/mfa/webauthn", { passkey_response });
      const claims = await claimsOf(done);
      assert.equal(claims["acr"], "2");
      assert.ok((claims["amr"] as string[]).includes("mfa"));
    });

    it("the password of somebody else beside it begins anew", async () => {
      const { user, phone } = await withApp();
      const other = await withApp();
      const { signIn } = await byMailbox(user, { acr_values: "2" });
      await signIn.post("/mfa/totp", { otp: await phone.code() });
      await signIn.post("", { username: other.user.email });
      const answer = await signIn.post("/password", { password: PASSWORD });
      assert.equal(answer.page, "mfa-totp");
      assert.equal(await hasSession(other.user.id), false);
    });

    it("the password beside it does not spare the app (T-70)", async () => {
      const { user } = await withApp();
      const { signIn } = await byMailbox(user);
      await signIn.post("", { username: user.email });
      assert.equal((await signIn.post("/password", { password: PASSWORD })).page, "mfa-totp");
      assert.equal(await hasSession(user.id), false);
    });

    it("where it is the second step, the password completes it, and no further code is asked for", async () => {
      const user = await aUser(server);
      await addEmailFactor(server.database.knex, user.id, new Date());
      const { signIn, answer } = await byMailbox(user);
      assert.equal(answer.page, "password");
      const claims = await claimsOf(await signIn.post("/password", { password: PASSWORD }));
      assert.equal(claims["acr"], "1");
      assert.deepEqual(claims["amr"], ["otp", "email", "pwd"]);
    });

    it("who has a session by it is asked for the password where more is wanted", async () => {
      const { user, phone } = await withApp();
      const { signIn } = await byMailbox(user);
      const { code = "" } = response(await signIn.post("/mfa/totp", { otp: await phone.code() }));
      await app.redeem(code);
      const again = await begin(app, signIn.browser, { acr_values: "2" });
      const more = await again.open("");
      assert.equal(more.page, "password");
      assert.match(more.text, /id="more"/);
      assert.equal((await again.post("/password", { password: PASSWORD })).page, "mfa-totp");
      const claims = await claimsOf(await again.post("/mfa/totp", { otp: await phone.code() }));
      assert.equal(claims["acr"], "2");
    });
  });

  describe("T-76: less than is asked for", () => {
    it("what is not offered is 403, whoever posts it", async () => {
      const { signIn } = await atSecondStep();
      for (const [step, fields] of [
        ["/mfa", { factor: "email" }],
        ["/mfa", { factor: "recovery" }],
        ["/mfa/email", { otp: "12345678" }],
        ["/mfa/email/send", {}],
        ["/mfa/recovery", { recovery_code: "x" }],
      ] as const) {
        const answer = await signIn.post(step, fields);
        assert.equal(answer.status, 403, step);
        assert.equal(errorOf(answer), "factor_not_offered");
      }
    });

    it("where two factors are required a mailbox is neither offered nor enough", async () => {
      const user = await aUser(server);
      await anApp(server, user.id);
      await addEmailFactor(server.database.knex, user.id, new Date());
      const signIn = await begin(strict);
      await signIn.password(user.email);
      assert.equal((await signIn.post("/mfa/email/send", {})).status, 403);
      const choice = await signIn.open("/mfa?choose=1");
      assert.doesNotMatch(choice.text, /factor-email/);
    });

    it("a level that a client names is asked for of who is signed in with less, and nothing else is (RFC 9470 §5)", async () => {
      const user = await aUser(server);
      const browser = aBrowser();
      assert.ok(
        response(await walk(server, browser, app.authorization(), { email: user.email }))["code"],
      );
      const phone = await anApp(server, user.id);
      const signIn = await begin(app, browser, { acr_values: "2" });
      assert.equal((await signIn.open("")).page, "mfa-totp");
      const claims = await claimsOf(await signIn.post("/mfa/totp", { otp: await phone.code() }));
      assert.equal(claims["acr"], "2");
    });
  });

  it("T-77: stepping up gives the session another cookie, and the old one is worth nothing", async () => {
    const user = await aUser(server);
    const browser = aBrowser();
    response(await walk(server, browser, app.authorization(), { email: user.email }));
    const phone = await anApp(server, user.id);
    const before = browser.copy();
    const name = [...browser.jar.values()].find((cookie) => cookie.name.endsWith("session"))?.name;
    const signIn = await begin(app, browser, { acr_values: "2" });
    await signIn.open("");
    response(await signIn.post("/mfa/totp", { otp: await phone.code() }));
    assert.notEqual(browser.cookie(name ?? ""), before.cookie(name ?? ""));
    // For some seconds a tab that still sends the old one is answered with the new one (T-29).
    await server.database.knex.raw("UPDATE sessions SET previous_valid_until = now()");
    const answer = await before.open(app.authorization({ prompt: "none" }));
    assert.equal(errorOf(answer), "login_required");
  });

  describe("T-78: setting up, when it is asked for", () => {
    it("a client that requires two factors has one set up, with codes to recover, before there is a session", async () => {
      const user = await aUser(server);
      const signIn = await begin(strict);
      const asked = await signIn.password(user.email);
      assert.equal(asked.page, "enroll");
      assert.doesNotMatch(asked.text, /enroll-skip/);
      const page = await signIn.post("/enroll", { factor: "totp" });
      assert.equal(page.page, "enroll-totp");
      const wrong = await signIn.post("/enroll/totp", { otp: "000000" });
      assert.equal(wrong.status, 401);
      assert.deepEqual(seedOn(wrong.text), seedOn(page.text), "the seed stays");
      assert.deepEqual(seedOn((await signIn.open("/enroll/totp")).text), seedOn(page.text));
      const otp = codeAt(seedOn(page.text), new Date());
      const codes = await signIn.post("/enroll/totp", { otp, label: "Phone" });
      assert.equal(codes.page, "enroll-codes");
      assert.equal(await hasSession(user.id), false);
      assert.equal((await signIn.post("/enroll/codes", {})).status, 422);
      const file = await signIn.browser.submit(`${signIn.path}/enroll/codes/download`, {});
      assert.equal(file.headers["content-type"], "text/plain; charset=utf-8");
      assert.match(file.headers["content-disposition"] ?? "", /^attachment/);
      assert.equal(file.headers["cache-control"], "no-store");
      assert.equal(file.text.trim().split("\r\n").length, 10);
      for (const code of file.text.trim().split("\r\n")) assert.ok(codes.text.includes(code));
      const claims = await claimsOf(await signIn.post("/enroll/codes", { saved: "1" }), strict);
      assert.equal(claims["acr"], "2");
      assert.deepEqual(claims["amr"], ["pwd", "otp", "mfa"]);
      const changes = (await mailsTo(server, user.id)).flatMap(
        ({ props }) => props["change"] ?? [],
      );
      assert.deepEqual(changes, ["totp_added"]);
    });

    it("it cannot be skipped, nor replaced by what the policy would allow elsewhere", async () => {
      const user = await aUser(server);
      const signIn = await begin(strict);
      await signIn.password(user.email);
      const skipped = await signIn.post("/enroll/skip", {});
      assert.equal(errorOf(skipped), "enrolment_required");
      assert.equal(
        errorOf(await signIn.post("/enroll", { factor: "email" })),
        "factor_not_offered",
      );
      assert.equal(await hasSession(user.id), false);
    });

    it("with a session alone nothing is set up: the password comes first", async () => {
      const user = await aUser(server);
      const browser = aBrowser();
      response(await walk(server, browser, app.authorization(), { email: user.email }));
      const signIn = await begin(strict, browser);
      assert.equal((await signIn.open("/enroll/totp")).page, "password");
      assert.equal((await signIn.post("/enroll/totp", { otp: "123456" })).page, "password");
      assert.equal((await signIn.post("/password", { password: PASSWORD })).page, "enroll");
    });

    it("two that set one up for the same account see different seeds", async () => {
      const user = await aUser(server);
      const seeds = await Promise.all(
        [0, 1].map(async () => {
          const signIn = await begin(strict);
          await signIn.password(user.email);
          return seedOn((await signIn.open("/enroll/totp")).text).toString("hex");
        }),
      );
      assert.notEqual(seeds[0], seeds[1]);
      assert.equal(seeds[0]?.length, 40);
    });

    it("somebody signed in with one factor is asked for more by such a client, and prompt=none says so", async () => {
      const user = await aUser(server);
      const browser = aBrowser();
      response(await walk(server, browser, app.authorization(), { email: user.email }));
      const answer = await browser.open(strict.authorization({ prompt: "none" }));
      assert.equal(errorOf(answer), "login_required");
    });
  });

  describe("T-79: recovery codes", () => {
    async function withCodes(client = app) {
      const user = await aUser(server);
      const phone = await anApp(server, user.id);
      const codes = await someRecoveryCodes(server, user.id);
      const signIn = await begin(client);
      await signIn.password(user.email);
      return { user, phone, codes, signIn };
    }

    it("let in once, at level 1; the owner is told and asked to set something up", async () => {
      const { user, codes, signIn } = await withCodes();
      const [code = ""] = codes;
      const asked = await signIn.post("/mfa/recovery", { recovery_code: code.toUpperCase() });
      assert.equal(asked.page, "enroll");
      const claims = await claimsOf(await signIn.post("/enroll/skip", {}));
      assert.equal(claims["acr"], "1");
      const told = (await mailsTo(server, user.id)).flatMap(({ props }) =>
        props["change"] === undefined ? [] : [[props["change"], props["left"]]],
      );
      assert.deepEqual(told, [["code_used", 9]]);
      const second = await begin();
      await second.password(user.email);
      assert.equal((await second.post("/mfa/recovery", { recovery_code: code })).status, 401);
    });

    it("one of two that show the same code at once is let in", async () => {
      const { user, codes, signIn } = await withCodes();
      const second = await begin();
      await second.password(user.email);
      const answers = await Promise.all(
        [signIn, second].map(({ browser, path }) =>
          browser.submit(`${path}/mfa/recovery`, { recovery_code: codes[0] ?? "" }),
        ),
      );
      assert.deepEqual(answers.map(({ status }) => status).toSorted(), [303, 401]);
    });

    it("five tries an hour", async () => {
      const { codes, user } = await withCodes();
      const wrong = (codes[0] ?? "").replace(/.{4}$/, "zzzz");
      const statuses: number[] = [];
      for (let tries = 0; tries < 6; tries += 1) {
        const signIn = await begin();
        await signIn.password(user.email);
        statuses.push((await signIn.post("/mfa/recovery", { recovery_code: wrong })).status);
      }
      assert.deepEqual(statuses, [401, 401, 401, 401, 401, 429]);
    });

    it("are not enough where two factors are required: something is set up, or the app is shown", async () => {
      const { codes, phone, signIn } = await withCodes(strict);
      assert.equal(
        (await signIn.post("/mfa/recovery", { recovery_code: codes[0] ?? "" })).page,
        "enroll",
      );
      assert.equal((await signIn.post("/enroll/skip", {})).page, "mfa-totp");
      const answer = await signIn.post("/mfa/totp", { otp: await phone.code() });
      assert.equal((await claimsOf(answer, strict))["acr"], "2");
    });

    it("few that are left are replaced when something is set up", async () => {
      const { user, codes, signIn } = await withCodes();
      const db = server.database.knex;
      const kept = await RecoveryCode.query(db).where({
        userId: user.id,
        selector: codes[0]?.slice(0, 4),
      });
      await RecoveryCode.query(db)
        .delete()
        .where({ userId: user.id })
        .whereNot({ id: kept[0]?.id });
      await signIn.post("/mfa/recovery", { recovery_code: codes[0] ?? "" });
      const page = await signIn.open("/enroll/totp");
      const otp = codeAt(seedOn(page.text), new Date());
      assert.equal((await signIn.post("/enroll/totp", { otp })).page, "enroll-codes");
      assert.equal(await RecoveryCode.countLeft(db, user.id), 10);
    });
  });

  describe("T-86: a browser that is not asked again", () => {
    const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    /** Somebody who signed in and said so, and then signed out: the session’s cookie is gone. */
    async function trusting() {
      const browser = aBrowser({ "user-agent": FIREFOX });
      const { user, phone, signIn } = await atSecondStep(app, browser);
      response(await signIn.post("/mfa/totp", { otp: await phone.code(), trust_device: "1" }));
      for (const [key, cookie] of browser.jar)
        if (!/trust|browser/.test(cookie.name)) browser.jar.delete(key);
      return { user, phone, browser };
    }

    it("spares the second step of the next sign-in, at level 1, and its owner was told", async () => {
      const { user, browser } = await trusting();
      const signIn = await begin(app, browser);
      assert.equal((await claimsOf(await signIn.password(user.email)))["acr"], "1");
      const told = (await mailsTo(server, user.id)).flatMap(({ props }) => props["change"] ?? []);
      assert.deepEqual(told, ["browser_trusted"]);
    });

    it("its cookie is for this host alone, unreadable by scripts, and hashed in the database (T-64)", async () => {
      const { user, browser } = await trusting();
      const cookie = [...browser.jar.values()].find(({ name }) => name.includes("trust"));
      assert.match(cookie?.name ?? "", /^__Host-/);
      const rows = await TrustedBrowser.query(server.database.knex).where({ userId: user.id });
      assert.ok(!JSON.stringify(rows).includes(cookie?.value ?? "-"));
      assert.equal(rows[0]?.name, "Firefox, Linux");
    });

    it("elsewhere it is worth nothing: another browser, another person, after it was revoked, after its time", async () => {
      const { user, browser } = await trusting();
      const cookie = [...browser.jar.values()].find(({ name }) => name.includes("trust"));
      const elsewhere = aBrowser({ "user-agent": "curl/8.17" });
      elsewhere.put(cookie?.name ?? "", cookie?.value ?? "");
      assert.equal((await (await begin(app, elsewhere)).password(user.email)).page, "mfa-totp");
      const other = await aUser(server);
      await anApp(server, other.id);
      const stolen = aBrowser({ "user-agent": FIREFOX });
      stolen.put(cookie?.name ?? "", cookie?.value ?? "");
      assert.equal((await (await begin(app, stolen)).password(other.email)).page, "mfa-totp");
      await TrustedBrowser.query(server.database.knex).delete().where({ userId: user.id });
      assert.equal((await (await begin(app, browser)).password(user.email)).page, "mfa-totp");
    });

    it("never counts where more is asked for: a level, a client, a person who signs in again", async () => {
      const { user, phone, browser } = await trusting();
      for (const [client, changes] of [
        [app, { acr_values: "2" }],
        [strict, {}],
      ] as const) {
        const signIn = await begin(client, browser.copy(), changes);
        const answer = await signIn.password(user.email);
        assert.equal(answer.page, "mfa-totp");
        assert.doesNotMatch(answer.text, /trust_device/);
      }
      const plain = await begin(app, browser);
      response(await plain.password(user.email));
      const again = await begin(app, browser, { prompt: "login" });
      assert.equal((await again.post("/password", { password: PASSWORD })).page, "mfa-totp");
      response(await again.post("/mfa/totp", { otp: await phone.code() }));
    });

    it("is trusted by who shows a passkey as the second step, too", async () => {
      const user = await aUser(server);
      await anApp(server, user.id);
      const device = await aPasskey(server, user.id);
      const browser = aBrowser({ "user-agent": FIREFOX });
      const signIn = await begin(app, browser);
      const page = await signIn.password(user.email);
      assert.equal(page.page, "mfa-webauthn");
      assert.match(page.text, /name="trust_device"/);
      const passkey_response = device.get(questionOf(page.text));
      response(await signIn.post("/mfa/webauthn", { passkey_response, trust_device: "1" }));
      for (const [key, cookie] of browser.jar)
        if (!/trust|browser/.test(cookie.name)) browser.jar.delete(key);
      const again = await begin(app, browser);
      assert.equal((await claimsOf(await again.password(user.email)))["acr"], "1");
    });

    it("is not trusted where it may not be, whatever is posted", async () => {
      const { user, phone, signIn } = await atSecondStep(strict);
      await signIn.post("/mfa/totp", { otp: await phone.code(), trust_device: "1" });
      const rows = await TrustedBrowser.query(server.database.knex).where({ userId: user.id });
      assert.deepEqual(rows, []);
    });

    it("nor by a passkey there, whatever is posted", async () => {
      const user = await aUser(server);
      const device = await aPasskey(server, user.id);
      const signIn = await begin(strict);
      const page = await signIn.password(user.email);
      assert.doesNotMatch(page.text, /trust_device/);
      const passkey_response = device.get(questionOf(page.text));
      await signIn.post("/mfa/webauthn", { passkey_response, trust_device: "1" });
      const rows = await TrustedBrowser.query(server.database.knex).where({ userId: user.id });
      assert.deepEqual(rows, []);
    });
  });

  it("counters hold no name and no code (T-64)", async () => {
    const [row] = await LoginThrottle.query(server.database.knex).where({ scope: "factor" });
    assert.equal(row?.keyHash.length, 32);
  });
});
