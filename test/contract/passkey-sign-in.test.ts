import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { AuthChallenge } from "../../src/models/auth-challenge.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { OAuthInteraction } from "../../src/models/oauth-interaction.ts";
import { Session } from "../../src/models/session.ts";
import { User } from "../../src/models/user.ts";
import type { Twist } from "../support/authenticator.ts";
import { aPasskey, questionOf } from "../support/passkeys.ts";
import {
  json,
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

describe("signing in with a passkey", () => {
  let server: TestServer;
  let app: RelyingParty;
  let ada: { id: string; email: string };

  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(() => server?.stop());
  beforeEach(async () => {
    ada = await aUser(server);
  });

  /** A browser on the sign-in page. */
  async function arrived(browser = new WebBrowser(server), changes: Fields = {}): Promise<Answer> {
    const page = await walk(server, browser, app.authorization(changes));
    pages.set(page, browser);
    return page;
  }
  const pages = new WeakMap<Answer, WebBrowser>();

  async function post(page: Answer, fields: Fields): Promise<Answer> {
    const browser = pages.get(page);
    assert.ok(browser);
    const answer = await browser.submit(page.url.href, fields);
    pages.set(answer, browser);
    return answer;
  }

  async function goOn(answer: Answer): Promise<Answer> {
    const browser = pages.get(answer);
    assert.ok(browser && answer.location !== undefined, answer.text);
    const page = await walk(server, browser, answer.location);
    pages.set(page, browser);
    return page;
  }

  const answerOf = (device: Awaited<ReturnType<typeof aPasskey>>, page: Answer, twist?: Twist) => ({
    username: "",
    password: "",
    passkey_response: device.get(questionOf(page.text), twist),
    passkey_via: "button",
  });
  const events = (type: string, userId = ada.id) =>
    AuditEvent.query(server.database.knex).where({ type, userId });

  it("is kept signed in by who says so beside the button, and by nobody else (ux.md P1)", async () => {
    const device = await aPasskey(server, ada.id);
    for (const [remember, transient] of [
      ["1", false],
      [undefined, true],
    ] as const) {
      const page = await arrived();
      assert.match(page.text, /<label class="check" for="remember" data-passkey-only hidden>/);
      await goOn(await post(page, { ...answerOf(device, page), remember }));
      const session = await Session.query(server.database.knex)
        .where({ userId: ada.id })
        .orderBy("createdAt", "desc")
        .first();
      assert.equal(session?.transient, transient);
    }
  });

  it("is asked for on the page of the password as on the first: what was ticked there stays ticked", async () => {
    for (const [remember, expected] of [
      ["1", /id="remember"[^>]* checked/],
      [undefined, /id="remember"(?![^>]* checked)/],
    ] as const) {
      const page = await arrived();
      const password = await goOn(await post(page, { username: ada.email, remember }));
      assert.match(password.text, expected);
      const wrong = await post(password, { password: "wrong", remember });
      assert.match(wrong.text, expected);
    }
  });

  it("needs no name, and counts as two factors that cannot be phished (OIDC Core §2, amr and acr; RFC 8176 §2)", async () => {
    const device = await aPasskey(server, ada.id);
    const page = await arrived();
    const back = await goOn(await post(page, answerOf(device, page)));
    const tokens = json(await app.redeem(response(back)["code"] ?? ""));
    const claims = decodeJwt(String(tokens["id_token"]));
    assert.equal(claims.sub, ada.id);
    assert.equal(claims["acr"], "3");
    assert.deepEqual(claims["amr"], ["pop", "user", "mfa"]);
    const [used] = await events("passkey.used");
    assert.equal(used?.targetType, "webauthn_credential");
    assert.deepEqual(used?.details, { via: "button" });
  });

  it("tells nobody who has one: the question is the same for every name (WebAuthn §14.6.2)", async () => {
    await aPasskey(server, ada.id);
    const questions = [];
    for (const username of [ada.email, "nobody@example.com"]) {
      const page = await arrived();
      const { challenge, ...rest } = questionOf((await goOn(await post(page, { username }))).text);
      assert.ok(challenge);
      questions.push(rest);
    }
    assert.deepEqual(questions[0], questions[1]);
    assert.deepEqual(questions[0]?.["allowCredentials"], []);
  });

  it("stays possible as long as the page: to the end of the interaction (ux.md P1)", async () => {
    await arrived();
    const { knex } = server.database;
    const challenge = await AuthChallenge.query(knex).orderBy("createdAt", "desc").first();
    const interaction = await OAuthInteraction.query(knex).orderBy("createdAt", "desc").first();
    assert.ok(challenge && interaction);
    assert.ok(Math.abs(challenge.expiresAt.getTime() - interaction.expiresAt.getTime()) < 2000);
  });

  it("may be done in the place of the password by whoever was named (T-82)", async () => {
    const device = await aPasskey(server, ada.id);
    const page = await goOn(await post(await arrived(), { username: ada.email }));
    assert.equal(page.page, "password");
    const back = await goOn(await post(page, { ...answerOf(device, page), password: "" }));
    assert.ok(response(back)["code"]);
  });

  it("is refused there to anybody else, however good their passkey is (T-82; WebAuthn §7.2, step 6)", async () => {
    const mallory = await aUser(server);
    const device = await aPasskey(server, mallory.id);
    for (const username of [ada.email, "nobody@example.com"]) {
      const page = await goOn(await post(await arrived(), { username }));
      const answer = await post(page, { ...answerOf(device, page), password: "" });
      assert.equal(answer.status, 401);
      assert.equal(answer.page, "password");
      assert.match(answer.text, /We could not use that passkey/);
    }
  });

  it("asks whoever has a session by their own passkeys, and nobody else’s will do (WebAuthn §7.2)", async () => {
    const device = await aPasskey(server, ada.id);
    const browser = new WebBrowser(server);
    const page = await arrived(browser);
    response(await goOn(await post(page, answerOf(device, page))));
    const again = await arrived(browser, { prompt: "login" });
    assert.equal(again.page, "password");
    assert.deepEqual(
      (questionOf(again.text)["allowCredentials"] as { id: string }[]).map(({ id }) => id),
      [device.id],
    );
    const mallory = await aPasskey(server, (await aUser(server)).id);
    const refused = await post(again, answerOf(mallory, again));
    assert.equal(refused.status, 401);
    const back = await goOn(await post(refused, answerOf(device, refused)));
    assert.ok(response(back)["code"]);
  });

  it("lets people in who have no password (OIDC Core §3.1.2.3)", async () => {
    const device = await aPasskey(server, ada.id);
    await server.database.knex("user_passwords").where({ user_id: ada.id }).delete();
    const page = await arrived();
    assert.ok(response(await goOn(await post(page, answerOf(device, page))))["code"]);
  });

  it("tells a disabled person so, and the client nothing (T-30)", async () => {
    const device = await aPasskey(server, ada.id);
    await User.query(server.database.knex).findById(ada.id).patch({ status: "deactivated" });
    const page = await arrived();
    const answer = await post(page, answerOf(device, page));
    assert.equal(answer.status, 403);
    assert.match(answer.text, /turned off/);
  });

  it("says of a passkey that is gone that it is gone, and lets the browser hide it (WebAuthn §5.1.10.1)", async () => {
    const device = await aPasskey(server, ada.id);
    await server.database.knex("webauthn_credentials").where({ user_id: ada.id }).delete();
    const page = await arrived();
    const answer = await post(page, answerOf(device, page));
    assert.equal(answer.status, 401);
    assert.match(answer.text, /That passkey no longer works here/);
    const [, signal = ""] = /data-signal="([^"]*)"/.exec(answer.text) ?? [];
    assert.deepEqual(JSON.parse(signal.replaceAll("&#34;", '"')), {
      signalUnknownCredential: { rpId: "localhost", credentialId: device.id },
    });
  });

  it("asks anew after a mistake, with another challenge (WebAuthn §13.4.3)", async () => {
    const device = await aPasskey(server, ada.id);
    const page = await arrived();
    const again = await post(page, answerOf(device, page, { isVerified: false }));
    assert.equal(again.status, 401);
    assert.notEqual(questionOf(again.text).challenge, questionOf(page.text).challenge);
    assert.ok(response(await goOn(await post(again, answerOf(device, again))))["code"]);
  });

  const attacks: Readonly<Record<string, Twist>> = {
    "from another origin (WebAuthn §7.2, step 13)": { origin: "https://evil.example" },
    "for another relying party (WebAuthn §7.2, step 15)": { rpId: "evil.example" },
    "without user verification (WebAuthn §7.2, step 17)": { isVerified: false },
    "from a frame of another site (WebAuthn §7.2, step 14)": { clientData: { crossOrigin: true } },
    "of a registration (WebAuthn §7.2, step 11)": { type: "webauthn.create" },
    "for nobody (WebAuthn §7.2, step 6)": { userHandle: undefined },
    "with a challenge of its own (WebAuthn §7.2, step 12)": { challenge: "A".repeat(43) },
  };
  for (const [name, twist] of Object.entries(attacks))
    it(`refuses an answer ${name}, and keeps a record of it`, async () => {
      const device = await aPasskey(server, ada.id);
      const page = await arrived();
      const failed = AuditEvent.query(server.database.knex).where({ type: "login.failed" });
      const before = await failed.clone().resultSize();
      const answer = await post(page, answerOf(device, page, twist));
      assert.equal(answer.status, 401);
      assert.equal(answer.page, "login");
      assert.equal(answer.location, undefined);
      assert.equal(await failed.clone().resultSize(), before + 1);
    });

  it("refuses an answer that was given to another sign-in (T-80)", async () => {
    const device = await aPasskey(server, ada.id);
    const [one, two] = [await arrived(), await arrived()];
    assert.equal((await post(two, answerOf(device, one))).status, 401);
    assert.ok(
      response(await goOn(await post(one, answerOf(device, one))))["code"],
      "it was its own",
    );
  });

  it("accepts one answer once, also where it comes many times at once (T-80)", async () => {
    const device = await aPasskey(server, ada.id);
    const page = await arrived();
    const browser = pages.get(page);
    assert.ok(browser);
    const fields = answerOf(device, page);
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => browser.copy().submit(page.url.href, fields)),
    );
    assert.equal(
      (await events("passkey.used")).length,
      1,
      answers.map(({ status }) => status).join(),
    );
  });

  it("refuses a counter that goes back, and says in the audit that there may be a copy (WebAuthn §6.1.1)", async () => {
    const device = await aPasskey(server, ada.id, { counts: true });
    const first = await arrived();
    response(await goOn(await post(first, answerOf(device, first))));
    const page = await arrived();
    const answer = await post(page, answerOf(device, page, { counter: 1 }));
    assert.equal(answer.status, 401);
    assert.equal((await events("passkey.clone_suspected")).length, 1);
    const [failed] = await events("login.failed");
    assert.deepEqual(failed?.details, { method: "passkey", reason: "cloned" });
  });

  it("goes on with what was asked for: the step after it, such as consent (ux.md P1)", async () => {
    const device = await aPasskey(server, ada.id);
    const other = new RelyingParty(server, await aClient(server));
    const browser = new WebBrowser(server);
    const page = await walk(server, browser, other.authorization());
    const sent = await browser.submit(page.url.href, answerOf(device, page));
    assert.equal((await walk(server, browser, sent.location ?? "")).page, "consent");
  });

  it("leaves the way by name and password as it is (ux.md P1)", async () => {
    const answer = await walk(server, new WebBrowser(server), app.authorization(), {
      ...ada,
      password: PASSWORD,
    });
    assert.ok(response(answer)["code"]);
  });
});
