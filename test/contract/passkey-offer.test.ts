import assert from "node:assert/strict";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { PasskeyOffer } from "../../src/models/passkey-offer.ts";
import { WebauthnCredential } from "../../src/models/webauthn-credential.ts";
import { SoftwareAuthenticator, type Twist } from "../support/authenticator.ts";
import { aPasskey, questionOf } from "../support/passkeys.ts";
import {
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

describe("the offer of a passkey", () => {
  let server: TestServer;
  let app: RelyingParty;
  let ada: { id: string; email: string };
  let browser: WebBrowser;

  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(() => server?.stop());
  beforeEach(async () => {
    ada = await aUser(server);
    browser = new WebBrowser(server);
  });

  /** Signs in by password from a device that can make passkeys, as far as there is no question left but the offer. */
  async function signIn(
    changes: Fields = {},
    capable: Fields = { passkey_can: "1" },
  ): Promise<Answer> {
    const page = await walk(server, browser, app.authorization(changes));
    const fields =
      page.page === "password"
        ? { password: PASSWORD, ...capable }
        : { username: ada.email, password: PASSWORD, ...capable };
    const sent = await browser.submit(page.url.href, fields);
    assert.ok(sent.location, sent.text);
    return walk(server, browser, sent.location);
  }
  const goOn = async (sent: Answer) => walk(server, browser, sent.location ?? "");
  const passkeys = () =>
    WebauthnCredential.query(server.database.knex).where({ userId: ada.id }).resultSize();
  const create = (page: Answer, via: string, twist: Twist = {}) => {
    const device = new SoftwareAuthenticator(server.issuer);
    const question = questionOf(page.text) as unknown as Parameters<typeof device.create>[0];
    return browser.submit(page.url.href, {
      passkey_response: device.create(question, twist),
      passkey_via: via,
    });
  };

  it("comes after a password, before the answer goes to the app (ux.md P19)", async () => {
    const page = await signIn();
    assert.equal(page.page, "offer");
    assert.ok(
      response(await goOn(await browser.submit(page.url.href, { decision: "later" })))["code"],
    );
  });

  it("is counted before it is answered, so that closing the window counts too (ux.md P19)", async () => {
    await signIn();
    const offer = await PasskeyOffer.query(server.database.knex).findById(ada.id);
    assert.equal(offer?.times, 1);
    browser = new WebBrowser(server);
    assert.ok(response(await signIn())["code"], "and the next sign-in does not ask");
  });

  it("stays while its page is reloaded, and counts once (ux.md P19)", async () => {
    const page = await signIn();
    const again = await browser.open(page.url.href);
    assert.equal(again.page, "offer");
    const offer = await PasskeyOffer.query(server.database.knex).findById(ada.id);
    assert.equal(offer?.times, 1);
    assert.ok(response(await goOn(await create(again, "button")))["code"]);
  });

  it("keeps the passkey that was made, with a mail and a record (T-78)", async () => {
    const page = await signIn();
    assert.ok(response(await goOn(await create(page, "button")))["code"]);
    assert.equal(await passkeys(), 1);
    const { knex } = server.database;
    const event = await AuditEvent.query(knex).findOne({ type: "passkey.created", userId: ada.id });
    assert.equal(event?.details["via"], "offer");
    const mail = { template: "passkey_added", userId: ada.id };
    assert.equal(await OutboxMessage.query(knex).where(mail).resultSize(), 1);
  });

  it("takes what the browser made by itself, with nobody there (WebAuthn §5.1.3)", async () => {
    const page = await signIn();
    const alone = { isPresent: false, isVerified: false };
    assert.equal((await create(page, "button", alone)).status, 422);
    const again = await browser.open(page.url.href);
    assert.ok(response(await goOn(await create(again, "upgrade", alone)))["code"]);
  });

  it("takes no answer of another origin, nor one twice (WebAuthn §7.1)", async () => {
    const page = await signIn();
    const refused = await create(page, "button", { origin: "https://evil.example" });
    assert.equal(refused.status, 422);
    assert.equal(refused.page, "offer");
    assert.equal(await passkeys(), 0);
    const stale = await create(page, "button");
    assert.equal(stale.status, 422, "the challenge of the first page is spent");
  });

  it("never comes again to whoever said so, kept before the answer (ux.md P19)", async () => {
    const page = await signIn();
    const sent = await browser.submit(page.url.href, { decision: "never" });
    const offer = await PasskeyOffer.query(server.database.knex).findById(ada.id);
    assert.ok(offer?.declinedAt);
    assert.ok(response(await goOn(sent))["code"]);
  });

  it("does not come without a device that can make one, as without scripts (ux.md P19)", async () => {
    assert.ok(response(await signIn({}, {}))["code"]);
  });

  it("does not come to whoever has one (ux.md P19)", async () => {
    await aPasskey(server, ada.id);
    assert.ok(response(await signIn())["code"]);
  });

  describe("after a passkey of another device (ux.md P19)", () => {
    const ACROSS = { attachment: "cross-platform" } as const;

    /** Signs in with a passkey as the browser says that it is. */
    async function signInBy(device: SoftwareAuthenticator, twist: Twist): Promise<Answer> {
      const page = await walk(server, browser, app.authorization({ prompt: "login" }));
      const sent = await browser.submit(page.url.href, {
        passkey_response: device.get(questionOf(page.text), twist),
        passkey_via: "button",
        passkey_can: "1",
      });
      return goOn(sent);
    }

    it("comes, and makes one for this device", async () => {
      const page = await signInBy(await aPasskey(server, ada.id), ACROSS);
      assert.equal(page.page, "offer");
      assert.ok(response(await goOn(await create(page, "button")))["code"]);
      const made = await WebauthnCredential.query(server.database.knex)
        .where({ userId: ada.id, isBuiltIn: true })
        .whereNotNull("lastDeviceId");
      assert.equal(made.length, 1);
    });

    it("does not come after one of this device", async () => {
      const done = await signInBy(await aPasskey(server, ada.id), {});
      assert.ok(response(done)["code"]);
    });

    it("does not come after a security key, which is no other device", async () => {
      const device = await aPasskey(server, ada.id);
      await WebauthnCredential.query(server.database.knex)
        .where({ userId: ada.id })
        .patch({ transports: ["usb", "nfc"] });
      assert.ok(response(await signInBy(device, ACROSS))["code"]);
    });

    it("does not come where this device has one", async () => {
      const [here, phone] = [await aPasskey(server, ada.id), await aPasskey(server, ada.id)];
      response(await signInBy(here, {}));
      for (const [key, { name }] of browser.jar)
        if (!name.includes("device")) browser.jar.delete(key);
      assert.ok(response(await signInBy(phone, ACROSS))["code"]);
    });

    it("is capped as the other is", async () => {
      const device = await aPasskey(server, ada.id);
      await PasskeyOffer.query(server.database.knex).insert({
        userId: ada.id,
        times: 1,
        lastAt: new Date(),
      });
      assert.ok(response(await signInBy(device, ACROSS))["code"]);
    });
  });

  it("does not come in a pop-up (OIDC Core §3.1.2.1, display)", async () => {
    assert.ok(response(await signIn({ display: "popup" }))["code"]);
  });

  it("does not come where somebody only confirms who they are (OIDC Core §3.1.2.1, prompt)", async () => {
    response(await signIn({}, {}));
    assert.ok(response(await signIn({ prompt: "login" }))["code"]);
  });

  it("is no way around the sign-in: its page leads back to where the person is (T-70)", async () => {
    const page = await walk(server, browser, app.authorization());
    const path = `${page.url.pathname}/offer`;
    assert.equal((await walk(server, browser, path)).page, "login");
    const posted = await browser.submit(path, { decision: "later" });
    assert.equal((await goOn(posted)).page, "login");
  });
});
