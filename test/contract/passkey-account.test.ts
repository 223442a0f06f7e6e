import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { Session } from "../../src/models/session.ts";
import { User } from "../../src/models/user.ts";
import { WebauthnCredential } from "../../src/models/webauthn-credential.ts";
import { SoftwareAuthenticator, type Twist } from "../support/authenticator.ts";
import { aPasskey, questionOf } from "../support/passkeys.ts";
import { json, RelyingParty, response, walk, WebBrowser, type Answer } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

describe("a person’s own passkeys", () => {
  let server: TestServer;
  let ada: { id: string; email: string };
  let visitor: Visitor;
  let list: string;

  before(async () => {
    server = await aServer();
    list = `${server.issuer}/account/passkeys`;
  });
  after(() => server?.stop());
  beforeEach(async () => {
    ada = await aUser(server);
    visitor = await signedIn(ada);
  });

  async function signedIn(person: { email: string }): Promise<Visitor> {
    const made = new Visitor();
    await made.open(list);
    await made.submit({ username: person.email });
    await made.submit({ password: PASSWORD });
    assert.equal(made.page, "account-passkeys");
    return made;
  }

  const passkeysOf = (userId = ada.id) =>
    WebauthnCredential.query(server.database.knex).where({ userId }).orderBy("createdAt");
  const events = (type: string) =>
    AuditEvent.query(server.database.knex).where({ type, userId: ada.id });
  const mails = (template: string) =>
    OutboxMessage.query(server.database.knex).where({ template, userId: ada.id }).resultSize();
  /** As if the person had shown long ago who they are. */
  const forget = () =>
    Session.query(server.database.knex)
      .patch({ loggedInAt: new Date(Date.now() - 3_600_000), confirmedAt: null })
      .where({ userId: ada.id });

  async function add(device = new SoftwareAuthenticator(server.issuer)) {
    await visitor.open(`${list}/new`);
    assert.equal(visitor.page, "account-passkey-new");
    const question = questionOf(visitor.html) as unknown as Parameters<typeof device.create>[0];
    await visitor.submit({ passkey_response: device.create(question), passkey_via: "button" });
    return device;
  }

  it("begin with none, and a word on what one is (ux.md §2, Passkeys)", () => {
    assert.match(visitor.html, /No passkeys yet/);
  });

  it("grow by one under the name of its authenticator, with a mail and a record (T-78)", async () => {
    const aaguid = "fbfc3007-154e-4ecc-8c0b-6e020557d7bd";
    await add(new SoftwareAuthenticator(server.issuer, { aaguid }));
    assert.equal(visitor.page, "account-passkey");
    assert.match(visitor.html, /Your passkey is ready/);
    assert.match(visitor.html, /value="Apple Passwords"/);
    const [event] = await events("passkey.created");
    assert.deepEqual(event?.details, { via: "account", aaguid });
    assert.ok(event.sessionUid);
    assert.equal(await mails("passkey_added"), 1);
    await visitor.open(list);
    assert.match(visitor.html, /Apple Passwords/);
    assert.match(visitor.html, /On all your devices/);
  });

  it("are not made twice by one answer (WebAuthn §13.4.3)", async () => {
    const device = new SoftwareAuthenticator(server.issuer);
    await visitor.open(`${list}/new`);
    const question = questionOf(visitor.html) as unknown as Parameters<typeof device.create>[0];
    const fields = { passkey_response: device.create(question), passkey_via: "button" };
    await visitor.submit(fields);
    await visitor.submit(fields, `${list}/new`);
    assert.equal(visitor.status, 422);
    assert.match(visitor.html, /We could not save that passkey/);
    assert.equal(await passkeysOf().resultSize(), 1);
  });

  it("are not made in one session for the question of another (T-80)", async () => {
    const device = new SoftwareAuthenticator(server.issuer);
    await visitor.open(`${list}/new`);
    const question = questionOf(visitor.html) as unknown as Parameters<typeof device.create>[0];
    const mallory = await signedIn(await aUser(server));
    await mallory.open(`${list}/new`);
    await mallory.submit({ passkey_response: device.create(question), passkey_via: "button" });
    assert.equal(mallory.status, 422);
  });

  it("say when and with which browser they were last used, and which is on this device (ux.md §2, Passkeys)", async () => {
    const device = await aPasskey(server, ada.id);
    const onList = async (seen: Visitor) => {
      await seen.open(list);
      return [...seen.html.matchAll(/<li class="detail">[^]*?<\/li>/g)].map(([card]) => card);
    };
    const [unused = ""] = await onList(visitor);
    assert.doesNotMatch(unused, /Last used|On this device/);
    const here = new Visitor();
    await here.open(list);
    await here.submit({
      passkey_response: device.get(questionOf(here.html)),
      passkey_via: "button",
    });
    const [used = ""] = await onList(here);
    assert.match(used, /On this device/);
    assert.match(used, /Last used <time datetime="\d{4}-/);
    const [elsewhere = ""] = await onList(visitor);
    assert.match(elsewhere, /Last used/);
    assert.doesNotMatch(elsewhere, /On this device/);
    const across = new Visitor();
    await across.open(list);
    const passkey_response = device.get(questionOf(across.html), { attachment: "cross-platform" });
    await across.submit({ passkey_response, passkey_via: "button" });
    const [phone = ""] = await onList(across);
    assert.doesNotMatch(phone, /On this device/, "it is in another one");
  });

  it("are forgotten together with the browser that they were used with, as far as it goes", async () => {
    const device = await aPasskey(server, ada.id);
    const here = new Visitor();
    await here.open(list);
    await here.submit({ passkey_response: device.get(questionOf(here.html)) });
    const { knex } = server.database;
    await knex("user_devices").where({ user_id: ada.id }).delete();
    const [passkey] = await passkeysOf();
    assert.equal(passkey?.lastDeviceId, null);
  });

  it("have the name that their owner gives them, and no empty one (ux.md §2, Passkeys)", async () => {
    await aPasskey(server, ada.id);
    const [passkey] = await passkeysOf();
    await visitor.open(`${list}/${passkey?.id}`);
    await visitor.submit({ name: "  " });
    assert.equal(visitor.status, 422);
    await visitor.submit({ name: "Ada’s <b>phone</b>" });
    assert.equal(visitor.page, "account-passkeys");
    assert.match(visitor.html, /Ada’s &lt;b&gt;phone/);
    assert.equal((await events("passkey.renamed")).length, 1);
  });

  it("go when their owner says so, with a mail and a record (T-78)", async () => {
    const device = await aPasskey(server, ada.id);
    const [passkey] = await passkeysOf();
    await visitor.open(`${list}/${passkey?.id}`);
    await visitor.submit({}, `${list}/${passkey?.id}/remove`);
    assert.equal(visitor.page, "account-passkeys");
    assert.match(visitor.html, /No passkeys yet/);
    assert.equal((await events("passkey.removed")).length, 1);
    assert.equal(await mails("passkey_removed"), 1);
    assert.ok(!visitor.html.includes(device.id));
  });

  it("stay where one is the last way in, and the page says so (T-78)", async () => {
    await aPasskey(server, ada.id);
    await server.database.knex("user_passwords").where({ userId: ada.id }).delete();
    const [passkey] = await passkeysOf();
    await visitor.open(`${list}/${passkey?.id}`);
    await visitor.submit({}, `${list}/${passkey?.id}/remove`);
    assert.equal(visitor.status, 409);
    assert.match(visitor.html, /only way to sign in/);
    assert.equal(await passkeysOf().resultSize(), 1);
  });

  it("are nobody else’s to see, name or remove (T-78)", async () => {
    const other = await aUser(server);
    await aPasskey(server, other.id);
    const [passkey] = await passkeysOf(other.id);
    await visitor.open(`${list}/${passkey?.id}`);
    assert.equal(visitor.status, 404);
    for (const [path, fields] of [
      ["", { name: "mine" }],
      ["/remove", {}],
    ] as const) {
      await visitor.submit(fields, `${list}/${passkey?.id}${path}`);
      assert.equal(visitor.status, 404);
    }
    const [after] = await passkeysOf(other.id);
    assert.equal(after?.name, passkey?.name);
    await visitor.open(`${list}/not-an-id`);
    assert.equal(visitor.status, 404);
  });

  it("are shown in any session, and changed only by who has just shown who they are (T-78)", async () => {
    await aPasskey(server, ada.id);
    const [passkey] = await passkeysOf();
    await forget();
    await visitor.open(list);
    assert.equal(visitor.page, "account-passkeys");
    const once = async (go: () => Promise<unknown>) => {
      await forget();
      await go();
      assert.equal(visitor.page, "password", "the person is asked first");
    };
    await once(() => visitor.open(`${list}/new`));
    await once(() => visitor.submit({ passkey_response: "x" }, `${list}/new`));
    await once(() => visitor.submit({ name: "x" }, `${list}/${passkey?.id}`));
    await once(() => visitor.submit({}, `${list}/${passkey?.id}/remove`));
    await once(() => visitor.submit({ always: "yes" }, `${list}/second-step`));
    assert.deepEqual(await passkeysOf(), [passkey]);
    await visitor.submit({ password: PASSWORD });
    assert.equal(visitor.page, "account-passkeys", "and comes back");
  });

  it("tell password managers at each visit what works and under which name (WebAuthn §5.1.10.2, §5.1.10.3)", async () => {
    const device = await aPasskey(server, ada.id);
    await visitor.open(list);
    const [, json = ""] = /data-signal="([^"]*)"/.exec(visitor.html) ?? [];
    const user = await User.query(server.database.knex).findById(ada.id);
    const about = {
      rpId: "localhost",
      userId: user?.webauthnUserHandle.toString("base64url"),
    };
    assert.deepEqual(JSON.parse(json.replaceAll("&#34;", '"')), {
      signalAllAcceptedCredentials: { ...about, allAcceptedCredentialIds: [device.id] },
      signalCurrentUserDetails: { ...about, name: ada.email, displayName: "Ada Lovelace" },
    });
  });

  it("warn where somebody may have a copy (WebAuthn §6.1.1)", async () => {
    await aPasskey(server, ada.id);
    await passkeysOf().patch({ cloneWarningAt: new Date() });
    await visitor.open(list);
    assert.match(visitor.html, /Somebody may have a copy/);
  });

  describe("as a second step", () => {
    let app: RelyingParty;
    let browser: WebBrowser;
    before(async () => {
      app = new RelyingParty(server, await aClient(server, { first_party: true }));
    });
    beforeEach(() => {
      browser = new WebBrowser(server);
    });

    const asksAlways = () => visitor.submit({ always: "yes" }, `${list}/second-step`);

    /** The page of the second step, after the password. */
    async function atSecondStep(changes = {}): Promise<Answer> {
      const person = { email: ada.email, until: "mfa-webauthn" };
      return walk(server, browser, app.authorization(changes), person);
    }
    const answer = (page: Answer, device: SoftwareAuthenticator, twist = {}) =>
      browser.submit(page.url.href, {
        passkey_response: device.get(questionOf(page.text), twist),
        passkey_via: "button",
      });

    it("are not asked for after a password unless their owner wants that", async () => {
      await aPasskey(server, ada.id);
      const back = await walk(server, browser, app.authorization(), { email: ada.email });
      assert.ok(response(back)["code"]);
    });

    it("are asked for once the owner wants that: no password alone gets in any more (T-70)", async () => {
      const device = await aPasskey(server, ada.id);
      await asksAlways();
      assert.equal((await events("passkey.second_step_set")).length, 1);
      const page = await atSecondStep();
      assert.equal(page.page, "mfa-webauthn");
      assert.deepEqual(
        (questionOf(page.text)["allowCredentials"] as { id: string }[]).map(({ id }) => id),
        [device.id],
      );
      const back = await walk(server, browser, (await answer(page, device)).location ?? "");
      assert.ok(response(back)["code"]);
    });

    it("do not let anybody in with a passkey of somebody else, nor without verification (T-82, T-80)", async () => {
      const device = await aPasskey(server, ada.id);
      const mallory = await aPasskey(server, (await aUser(server)).id);
      await asksAlways();
      const page = await atSecondStep();
      const first = await answer(page, mallory);
      assert.equal(first.status, 401);
      const second = await answer(first, device, { isVerified: false });
      assert.equal(second.status, 401);
      assert.equal(second.page, "mfa-webauthn");
    });

    it("do not take the answer that was given in the place of a password (T-80)", async () => {
      const device = await aPasskey(server, ada.id);
      await asksAlways();
      const start = await walk(server, browser, app.authorization());
      const given = device.get(questionOf(start.text));
      await browser.submit(start.url.href, { username: ada.email, password: PASSWORD });
      const uid = start.url.pathname.split("/")[2];
      const path = `/interaction/${uid}/mfa/webauthn`;
      const fields = { passkey_response: given, passkey_via: "button" };
      assert.equal((await browser.submit(path, fields)).status, 401);
    });

    it("say what went wrong where the browser gave no answer, and let the person try again (ux.md P6c)", async () => {
      await aPasskey(server, ada.id);
      await asksAlways();
      const page = await atSecondStep();
      const again = await browser.submit(page.url.href, { passkey_error: "cancelled" });
      assert.equal(again.status, 422);
      assert.match(again.text, /Passkey sign-in was cancelled/);
      assert.match(again.text, /id="cant-use"/);
    });

    it("lift a session to what a client asks for, with nothing asked twice (OIDC Core §3.1.2.1, acr_values)", async () => {
      const device = await aPasskey(server, ada.id);
      response(await walk(server, browser, app.authorization(), { email: ada.email }));
      const page = await atSecondStep({ acr_values: "3" });
      assert.equal(page.page, "mfa-webauthn");
      const back = await walk(server, browser, (await answer(page, device)).location ?? "");
      assert.ok(response(back)["code"]);
    });

    it("are what a rule asks for, made in the sign-in that showed the password (T-78)", async () => {
      const strict = new RelyingParty(
        server,
        await aClient(server, { first_party: true, require_second_factor: true }),
      );
      const person = { email: ada.email, until: "enroll" };
      const choice = await walk(server, browser, strict.authorization(), person);
      assert.equal(choice.page, "enroll");
      const sent = await browser.submit(choice.url.href, { factor: "webauthn" });
      const page = await walk(server, browser, sent.location ?? "");
      assert.equal(page.page, "enroll-passkey");
      const device = new SoftwareAuthenticator(server.issuer);
      const question = questionOf(page.text) as unknown as Parameters<typeof device.create>[0];
      const create = (twist: Twist) =>
        browser.submit(page.url.href, {
          passkey_response: device.create(question, twist),
          passkey_via: "button",
        });
      const refused = await create({ origin: "https://evil.example" });
      assert.equal(refused.status, 422);
      const again = questionOf(refused.text) as unknown as Parameters<typeof device.create>[0];
      const made = await browser.submit(page.url.href, {
        passkey_response: device.create(again),
        passkey_via: "button",
      });
      const codes = await walk(server, browser, made.location ?? "");
      assert.equal(codes.page, "enroll-codes", "with codes for the day when it is lost");
      const saved = await browser.submit(codes.url.href, { saved: "1" });
      const back = await walk(server, browser, saved.location ?? "");
      const tokens = json(await strict.redeem(response(back)["code"] ?? ""));
      const claims = decodeJwt(String(tokens["id_token"]));
      assert.equal(claims["acr"], "3");
      assert.deepEqual(claims["amr"], ["pwd", "pop", "user", "mfa"]);
      assert.deepEqual((await events("passkey.created"))[0]?.details["via"], "enrolment");
      browser = new WebBrowser(server);
      assert.equal((await atSecondStep()).page, "mfa-webauthn", "and it is asked for from now on");
    });

    it("cannot be made there before the password was shown (T-70)", async () => {
      const start = await walk(server, browser, app.authorization());
      const path = `${start.url.pathname}/enroll/passkey`;
      assert.equal((await walk(server, browser, path)).page, "login");
    });

    it("are no longer asked for when the last one is gone (T-70)", async () => {
      await aPasskey(server, ada.id);
      await asksAlways();
      await Session.query(server.database.knex)
        .patch({ confirmedAt: new Date() })
        .where({ userId: ada.id });
      const [passkey] = await passkeysOf();
      await visitor.submit({}, `${list}/${passkey?.id}/remove`);
      const user = await User.query(server.database.knex).findById(ada.id);
      assert.equal(user?.passkeyIsSecondStep, false);
    });
  });
});
