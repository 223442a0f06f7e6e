import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { UserEmail } from "../../src/models/user-email.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { User } from "../../src/models/user.ts";
import { WebauthnCredential } from "../../src/models/webauthn-credential.ts";
import { SoftwareAuthenticator, type Twist } from "../support/authenticator.ts";
import { mailTo } from "../support/mailbox.ts";
import { aPasskey, questionOf } from "../support/passkeys.ts";
import { json, RelyingParty, response, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import { Walker } from "../support/walker.ts";

const LONG_PASSWORD = "seven purple umbrellas sing";

describe("registration with a passkey alone (ux.md P8)", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let serial = 0;
  before(async () => {
    server = await aServer({ SIGN_UP: "open" });
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(() => server.stop());
  beforeEach(() => server.database.knex.raw("DELETE FROM login_throttles"));

  const someone = () => `key-${(serial += 1)}@example.com`;
  /** As far as the page that asks how the person will sign in. */
  async function proven(email: string, walker = new Walker(server)) {
    const page = await walker.open(app.authorization({ prompt: "create" }));
    const sent = await walker.submit(page, { email });
    const { code } = await mailTo(server, email, "verify_email");
    const choose = await walker.submit(sent, { otp: code });
    assert.equal(choose.page, "register");
    return { walker, choose };
  }
  const made = (device: SoftwareAuthenticator, page: Answer, twist?: Twist) =>
    device.create(questionOf(page.text) as unknown as Parameters<typeof device.create>[0], twist);
  async function registered(email: string, device = new SoftwareAuthenticator(server.issuer)) {
    const { walker, choose } = await proven(email);
    const answer = { passkey_response: made(device, choose), passkey_via: "button" };
    const details = await walker.submit(choose, answer);
    const done = await walker.submit(details, { given_name: "Grace" });
    return { walker, device, done };
  }
  const claimsOf = async (done: Answer) => {
    const tokens = json(await app.redeem(response(done)["code"] ?? ""));
    return decodeJwt(String(tokens["id_token"]));
  };
  const addressOf = (email: string) =>
    UserEmail.query(server.database.knex).findOne({ emailNorm: email });

  it("makes an account that has a passkey and no password", async () => {
    const email = someone();
    await registered(email);
    const { userId = "" } = (await addressOf(email)) ?? {};
    const { knex } = server.database;
    assert.equal(await WebauthnCredential.query(knex).where({ userId }).resultSize(), 1);
    assert.equal(await UserPassword.query(knex).findById(userId), undefined);
    const event = await AuditEvent.query(knex).findOne({ userId, type: "passkey.created" });
    assert.equal(event?.details?.["via"], "registration");
  });

  it("signs its owner in as well as the passkey will later (RFC 8176 §2)", async () => {
    const { done } = await registered(someone());
    const { acr, amr } = await claimsOf(done);
    assert.equal(acr, "3");
    assert.deepEqual((amr as string[]).toSorted(), ["mfa", "pop", "user"]);
  });

  it("knows its owner by that passkey from then on, with nothing typed (WebAuthn §7.2)", async () => {
    const { device, done } = await registered(someone());
    const walker = new Walker(server);
    const login = await walker.open(app.authorization());
    const passkey_response = device.get(questionOf(login.text));
    const again = await walker.submit(login, { passkey_response, passkey_via: "button" });
    assert.equal((await claimsOf(again)).sub, (await claimsOf(done)).sub);
  });

  it("tells authenticators a user handle that says nothing of the person (WebAuthn §14.6.1)", async () => {
    const email = someone();
    const { choose } = await proven(email);
    const { user } = questionOf(choose.text) as unknown as { user: { id: string } };
    const handle = Buffer.from(user.id, "base64url");
    assert.equal(handle.length, 64);
    assert.ok(!handle.includes(email));
    const { choose: other } = await proven(someone());
    assert.notEqual((questionOf(other.text)["user"] as { id: string }).id, user.id);
  });

  it("offers the same question on a page that is opened again, and keeps what was made there", async () => {
    const { walker, choose } = await proven(someone());
    const again = await walker.open(choose.url.href);
    assert.deepEqual(questionOf(again.text), questionOf(choose.text));
  });

  it("works without scripts, by a password", async () => {
    const { walker, choose } = await proven(someone());
    const fields = { passkey_response: "", passkey_via: "", password: LONG_PASSWORD };
    const done = await walker.submit(await walker.submit(choose, fields), {});
    assert.deepEqual((await claimsOf(done))["amr"], ["pwd"]);
  });

  for (const [what, twist] of [
    ["without the user verified", { isVerified: false }],
    ["without the user present", { isPresent: false }],
    ["of another origin", { origin: "https://evil.example" }],
    ["in a frame of another site", { clientData: { crossOrigin: true } }],
    ["of another relying party", { rpId: "evil.example" }],
    ["to another question", { challenge: "AAAA" }],
  ] as const)
    it(`refuses a passkey that was made ${what} (WebAuthn §7.1)`, async () => {
      const email = someone();
      const { walker, choose } = await proven(email);
      const device = new SoftwareAuthenticator(server.issuer);
      const passkey_response = made(device, choose, twist);
      const refused = await walker.submit(choose, { passkey_response });
      assert.equal(refused.status, 422);
      assert.equal(await addressOf(email), undefined);
    });

  it("refuses an answer to the question of another registration (T-80)", async () => {
    const mine = await proven(someone());
    const theirs = await proven(someone());
    const passkey_response = made(new SoftwareAuthenticator(server.issuer), theirs.choose);
    assert.equal((await mine.walker.submit(mine.choose, { passkey_response })).status, 422);
  });

  it("refuses the passkey of somebody else’s account, and makes no account (WebAuthn §7.1)", async () => {
    const victim = await aUser(server);
    const { id } = await aPasskey(server, victim.id);
    const email = someone();
    const { done } = await registered(email, new SoftwareAuthenticator(server.issuer, { id }));
    assert.equal(done.status, 400);
    assert.equal(await addressOf(email), undefined);
  });

  it("takes none before the address is proven (T-65)", async () => {
    const email = someone();
    const walker = new Walker(server);
    const page = await walker.open(app.authorization({ prompt: "create" }));
    assert.doesNotMatch(page.text, /data-passkey=/);
    const sent = await walker.submit(page, { email, passkey_response: "{}" });
    assert.equal(sent.page, "verify");
    assert.equal((await walker.submit(page, { passkey_response: "{}" })).status, 422);
    assert.equal(await addressOf(email), undefined);
  });

  it("leaves a way back by e-mail to who has lost it (NIST SP 800-63B-4 §4.2)", async () => {
    const email = someone();
    await registered(email);
    const walker = new Walker(server);
    const login = await walker.submit(await walker.open(app.authorization()), { username: email });
    const forgot = await walker.open(login.url.pathname.replace("/password", "/forgot"));
    const sent = await walker.submit(forgot, { username: email });
    const { code } = await mailTo(server, email, "no_password");
    const choose = await walker.submit(sent, { otp: code });
    const done = await walker.submit(choose, { password: LONG_PASSWORD });
    const { userId = "" } = (await addressOf(email)) ?? {};
    assert.equal((await claimsOf(done)).sub, userId);
    assert.ok(await User.query(server.database.knex).findById(userId));
  });
});
