import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { UserProfile } from "../../src/models/user-profile.ts";
import { publishTerms, withdrawTerms } from "../../src/terms/terms.ts";
import { createInvitation, revokeInvitation } from "../../src/users/invitations.ts";
import { createUser } from "../../src/users/users.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { mailTo } from "../support/mailbox.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { addressOf, Walker } from "../support/walker.ts";

const NEW = "seven purple umbrellas sing";

/** The server hears of a change by a notification, a moment later. */
async function untilStatus(walker: Walker, path: string, status: number): Promise<Answer> {
  for (let tries = 0; tries < 40; tries += 1) {
    const answer = await walker.open(path);
    if (answer.status === status) return answer;
    await delay(25);
  }
  return walker.open(path);
}

describe("what people must show, say and agree to", function () {
  this.timeout(60_000);
  let server: TestServer;
  let serial = 0;
  before(async () => {
    server = await aServer({ SIGN_UP: "invitation" });
  });
  after(() => server.stop());

  const anApp = async (metadata: Record<string, unknown> = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));
  const signIn = async (
    app: RelyingParty,
    email: string,
    { walker = new Walker(server), ...changes }: Fields & { walker?: Walker } = {},
  ) => {
    const login = await walker.open(app.authorization(changes));
    if (login.page !== "login") return { walker, answer: login };
    const password = await walker.submit(login, { username: email });
    return { walker, answer: await walker.submit(password, { password: PASSWORD }) };
  };
  /** Somebody whose address nobody has proven. */
  const unproven = async () => {
    const email = `unproven-${(serial += 1)}@example.com`;
    const { hash } = await UserPassword.query(server.database.knex).findOne({}).throwIfNotFound();
    await createUser(
      server.database.knex,
      { email, verified: false, passwordHash: hash, via: "admin" },
      new Date(),
    );
    return email;
  };

  describe("a verified address (OIDC Core §5.1)", () => {
    let strict: RelyingParty;
    let easy: RelyingParty;
    before(async () => {
      await aUser(server);
      [strict, easy] = [await anApp({ require_verified_email: true }), await anApp()];
    });

    /** Somebody without any address, as identity providers send them. */
    const addressless = async () => {
      const username = `nobody-${(serial += 1)}`;
      const { hash } = await UserPassword.query(server.database.knex).findOne({}).throwIfNotFound();
      const user = { email: undefined, verified: false, username, passwordHash: hash } as const;
      await createUser(server.database.knex, { ...user, via: "federation" }, new Date());
      return username;
    };

    it("is asked for of whoever has none, who names one and proves it", async () => {
      const { walker, answer } = await signIn(strict, await addressless());
      assert.equal(answer.page, "verify");
      assert.match(answer.text, /id="none"/);
      assert.doesNotMatch(answer.text, /send-form/);
      const wrong = await walker.submit(addressOf(answer, "address-form"), { email: "nonsense" });
      assert.equal(wrong.status, 422);
      const email = `named-${(serial += 1)}@example.com`;
      const sent = await walker.submit(addressOf(answer, "address-form"), { email });
      const { code } = await mailTo(server, email, "verify_email");
      const done = await walker.submit(addressOf(sent, "code-form"), { otp: code });
      assert.ok(response(done)["code"], done.text);
    });

    it("is not asked for of them where nobody demands it", async () => {
      assert.ok(response((await signIn(easy, await addressless())).answer)["code"]);
    });

    it("can be another one than was said before, as long as none is proven", async () => {
      const { walker, answer } = await signIn(strict, await unproven());
      const email = `instead-${(serial += 1)}@example.com`;
      const sent = await walker.submit(addressOf(answer, "address-form"), { email });
      assert.match(sent.text, new RegExp(email));
      const { code } = await mailTo(server, email, "verify_email");
      assert.ok(response(await walker.submit(addressOf(sent, "code-form"), { otp: code }))["code"]);
    });

    it("is the one that the code was sent to, whatever was named since in another tab (T-67)", async () => {
      const who = await addressless();
      const [one, two] = [await signIn(strict, who), await signIn(strict, who)];
      const own = `own-${(serial += 1)}@example.com`;
      const sent = await one.walker.submit(addressOf(one.answer, "address-form"), { email: own });
      const { code } = await mailTo(server, own, "verify_email");
      const victim = `victim-${(serial += 1)}@example.com`;
      await two.walker.submit(addressOf(two.answer, "address-form"), { email: victim });
      const refused = await one.walker.submit(addressOf(sent, "code-form"), { otp: code });
      assert.equal(refused.page, "verify");
      assert.equal(refused.status, 401);
      const rows = await server.database.knex("user_emails").where({ emailNorm: victim });
      assert.deepEqual(
        rows.map(({ verifiedAt }) => verifiedAt),
        [null],
      );
    });

    it("is asked for where the client demands it, by a code that is sent when wanted", async () => {
      const email = await unproven();
      const { walker, answer } = await signIn(strict, email);
      assert.equal(answer.page, "verify");
      assert.doesNotMatch(answer.text, /id="otp"/);
      const sent = await walker.submit(addressOf(answer, "send-form"), {});
      const { code } = await mailTo(server, email, "verify_email");
      const done = await walker.submit(sent, { otp: code });
      assert.ok(response(done)["code"]);
    });

    it("is shown by the link, too, and the sign-in goes on", async () => {
      const email = await unproven();
      const { walker, answer } = await signIn(strict, email);
      await walker.submit(addressOf(answer, "send-form"), {});
      const { url } = await mailTo(server, email, "verify_email");
      const done = await walker.submit(url, {});
      assert.ok(response(done)["code"]);
    });

    it("is asked of somebody who is signed in already, and nothing else is", async () => {
      const email = await unproven();
      const { walker, answer } = await signIn(easy, email);
      assert.ok(response(answer)["code"]);
      const asked = await walker.open(strict.authorization());
      assert.equal(asked.page, "verify");
    });

    it("fails a silent request (interaction_required, OIDC Core §3.1.2.6)", async () => {
      const { walker } = await signIn(easy, await unproven());
      const answer = await walker.open(strict.authorization({ prompt: "none" }));
      assert.equal(errorOf(answer), "interaction_required");
    });

    it("cannot be walked around: no step behind it opens", async () => {
      const { walker, answer } = await signIn(strict, await unproven());
      const here = answer.url.href.replace("/verify", "");
      for (const step of ["consent", "terms", "profile", "own"])
        assert.notEqual((await walker.open(`${here}/${step}`)).location, "code", step);
      const posted = await walker.submit(`${here}/consent`, { decision: "allow" });
      assert.equal(posted.page, "verify");
    });
  });

  describe("claims that a client requires", () => {
    it("are asked for, with why and for whom, and nothing more; then kept", async () => {
      const app = await anApp({ required_claims: ["given_name", "birthdate"] });
      const user = await aUser(server);
      const { walker, answer } = await signIn(app, user.email, { scope: "openid profile" });
      assert.equal(answer.page, "profile");
      assert.match(answer.text, /Acme Photos needs it/);
      assert.match(answer.text, /name="given_name"/);
      assert.doesNotMatch(answer.text, /name="family_name"|id="profile-skip"/);
      const fields = { decision: "save", given_name: "Ada", birthdate: "1815-12-10" };
      for (const wrong of [
        { given_name: "" },
        { birthdate: "1815-02-31" },
        { birthdate: "yesterday" },
        { birthdate: "2999-01-01" },
      ])
        assert.equal((await walker.submit(answer, { ...fields, ...wrong })).status, 422);
      const done = await walker.submit(answer, fields);
      const tokens = json(await app.redeem(response(done)["code"] ?? ""));
      const claims = json(await app.userinfo(String(tokens["access_token"])));
      assert.deepEqual([claims["given_name"], claims["birthdate"]], ["Ada", "1815-12-10"]);
      const again = await walker.open(app.authorization());
      assert.ok(response(again)["code"]);
    });

    it("cannot be skipped, and are asked of somebody who is signed in already", async () => {
      const user = await aUser(server);
      const { walker } = await signIn(await anApp(), user.email);
      const app = await anApp({ required_claims: ["nickname"] });
      const asked = await walker.open(app.authorization());
      assert.equal(asked.page, "profile");
      const skipped = await walker.submit(asked, { decision: "skip" });
      assert.equal(skipped.status, 422);
    });

    it("take no field that was not asked for", async () => {
      const app = await anApp({ required_claims: ["given_name"] });
      const user = await aUser(server);
      const { walker, answer } = await signIn(app, user.email);
      await walker.submit(answer, { given_name: "Ada", family_name: "Sneaked" });
      const profile = await UserProfile.query(server.database.knex).findById(user.id);
      assert.deepEqual([profile?.givenName, profile?.familyName], ["Ada", null]);
    });
  });

  describe("essential claims (OIDC Core §5.5.1)", () => {
    const claims = JSON.stringify({
      userinfo: { given_name: { essential: true }, nickname: null },
      id_token: { birthdate: { essential: true } },
    });

    it("are asked for where they are missing, and voluntary ones are not", async () => {
      const user = await aUser(server);
      const { answer } = await signIn(await anApp(), user.email, { claims });
      assert.equal(answer.page, "profile");
      assert.match(answer.text, /name="given_name"[\s\S]*name="birthdate"/);
      assert.doesNotMatch(answer.text, /name="nickname"/);
    });

    it("may be kept: no error is generated where they are not returned", async () => {
      const user = await aUser(server);
      const app = await anApp();
      const { walker, answer } = await signIn(app, user.email, { claims });
      const done = await walker.submit(answer, { decision: "skip" });
      const tokens = await app.redeem(response(done)["code"] ?? "");
      assert.equal(tokens.status, 200);
    });
  });

  describe("terms", () => {
    const publish = async (document = "terms", isMandatory = true) => {
      const number = `Version ${(serial += 1)}.`;
      const published = await publishTerms(
        server.database.knex,
        {
          document,
          isMandatory,
          texts: [
            { locale: "en", title: "Terms of use", body: `Be kind. ${number}` },
            { locale: "de", title: "Nutzungsbedingungen", body: `Sei nett. ${number}` },
          ],
        },
        new Date(),
      );
      // The server hears of it a moment later.
      for (;;) {
        const page = await fetch(`${server.issuer}/terms/${document}`);
        if ((await page.text()).includes(number)) return published;
        await delay(10);
      }
    };
    afterEach(async () => {
      for (const document of ["terms", "newsletter"])
        await withdrawTerms(server.database.knex, document, new Date()).catch(() => {});
    });

    it("are asked for once a version, and the sign-in goes on", async () => {
      const [app, user] = [await anApp(), await aUser(server)];
      const { id } = await publish();
      const { walker, answer } = await signIn(app, user.email);
      assert.equal(answer.page, "terms");
      assert.match(answer.text, /Be kind/);
      const done = await walker.submit(answer, { decision: "accept", terms: id });
      assert.ok(response(done)["code"]);
      assert.ok(response((await signIn(app, user.email)).answer)["code"]);
      await publish();
      assert.equal((await signIn(app, user.email)).answer.page, "terms");
    });

    it("can be read by everybody at an address of their own, in their language, as long as they count (ux.md P18)", async () => {
      const [app, user] = [new RelyingParty(server, await aClient(server)), await aUser(server)];
      const { id } = await publish();
      const walker = new Walker(server);
      const english = await walker.open("/terms/terms");
      assert.match(english.text, /<h1><bdi>Terms of use<[^]*Be kind\./);
      assert.match((await walker.open("/terms/terms?ui_lang=de")).text, /lang="de">Sei nett\./);
      const { walker: reader, answer } = await signIn(app, user.email);
      assert.match(answer.text, /id="page-terms" href="\/terms\/terms"/);
      const consent = await reader.submit(answer, { decision: "accept", terms: id });
      assert.equal(consent.page, "consent");
      assert.match(consent.text, /id="terms-links">[^]*href="\/terms\/terms"/);
      await withdrawTerms(server.database.knex, "terms", new Date());
      for (const gone of ["/terms/terms", "/terms/none", "/terms/..%2Fadmin"]) {
        const shown = await untilStatus(walker, gone, 404);
        assert.equal(shown.status, 404, gone);
      }
    });

    it("let nobody past who does not agree, and end with access_denied where declined (RFC 6749 §4.1.2.1)", async () => {
      const [app, user] = [await anApp(), await aUser(server)];
      await publish();
      const { walker, answer } = await signIn(app, user.email);
      const refused = await walker.submit(answer, { decision: "accept" });
      assert.equal(refused.status, 422);
      const declined = await walker.submit(answer, { decision: "decline" });
      assert.equal(errorOf(declined), "access_denied");
      assert.equal(walker.browser.cookie("lintel_session"), undefined);
    });

    it("may be refused where they are not mandatory", async () => {
      const [app, user] = [await anApp(), await aUser(server)];
      await publish("newsletter", false);
      const { walker, answer } = await signIn(app, user.email);
      assert.ok(response(await walker.submit(answer, { decision: "accept" }))["code"]);
      assert.ok(response((await signIn(app, user.email)).answer)["code"]);
    });

    it("are read in the person's language", async () => {
      const [app, user] = [await anApp(), await aUser(server)];
      await publish();
      const { answer } = await signIn(app, user.email, { ui_locales: "de" });
      assert.match(answer.text, /Sei nett/);
    });
  });

  describe("an invitation (T-62, T-66)", () => {
    const invite = async (clientId?: string) => {
      const email = `guest-${(serial += 1)}@example.com`;
      const made = await createInvitation(
        server.database.knex,
        server.deps.seal,
        { email, clientId, context: { locale: "en", issuer: server.issuer } },
        new Date(),
      );
      return { email, ...made, url: `${server.issuer}/invite/${made.secret}` };
    };
    const accept = async (walker: Walker, url: string) => {
      const password = await walker.submit(url, {});
      assert.equal(password.page, "register", password.text);
      const details = await walker.submit(password, { password: NEW });
      return walker.submit(details, {});
    };

    it("leads to an account, whose address it proves, where nobody else may make one", async () => {
      const { email, url } = await invite();
      const walker = new Walker(server);
      assert.equal((await walker.open(url)).page, "letter");
      const account = await accept(walker, url);
      assert.equal(account.page, "account");
      assert.ok(account.text.includes(email));
      const login = await new Walker(server).open((await anApp()).authorization());
      assert.doesNotMatch(login.text, /register-link/);
    });

    it("is not used up by looking, nor by an account that is not finished; then it is", async () => {
      const { url } = await invite();
      for (let n = 0; n < 4; n += 1)
        await send(server, { path: url, method: n % 2 === 0 ? "GET" : "HEAD" });
      await new Walker(server).submit(url, {});
      await accept(new Walker(server), url);
      const used = await new Walker(server).submit(url, {});
      assert.equal(used.status, 410);
    });

    it("makes one account of two who follow it at the same time", async () => {
      const { url } = await invite();
      const walkers = [new Walker(server), new Walker(server)];
      const forms: Answer[] = [];
      for (const walker of walkers) {
        const password = await walker.submit(url, {});
        forms.push(await walker.submit(password, { password: NEW }));
      }
      const ends = await Promise.all(
        walkers.map((walker, index) => walker.submit(forms[index]?.url.href ?? "", {})),
      );
      assert.equal(ends.filter(({ page }) => page === "account").length, 1);
    });

    it("ends when it is taken back, also for who has begun", async () => {
      const { url, invitation } = await invite();
      const walker = new Walker(server);
      const password = await walker.submit(url, {});
      const details = await walker.submit(password, { password: NEW });
      await server.database.knex.transaction((trx) =>
        revokeInvitation(trx, invitation.id, new Date()),
      );
      assert.equal((await walker.submit(details, {})).status, 400);
      assert.equal((await walker.open(url)).status, 410);
    });

    it("leads to the app that it is for", async () => {
      const { clientId } = await aClient(server, { initiate_login_uri: "https://app.example/go" });
      const client = await OAuthClient.query(server.database.knex)
        .findOne({ clientId })
        .throwIfNotFound();
      const { url } = await invite(client.id);
      const end = await accept(new Walker(server), url);
      assert.equal(end.location, "https://app.example/go");
    });
  });
});
