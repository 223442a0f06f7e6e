import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { Session } from "../../src/models/session.ts";
import { SsoDomain } from "../../src/models/sso-domain.ts";
import { WebauthnCredential } from "../../src/models/webauthn-credential.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { aPasskey } from "../support/passkeys.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import { Visitor } from "../support/visitor.ts";

/** A person's page of sign-ins elsewhere, with another Lintel as the provider, in a browser without scripts. */
describe("sign-ins elsewhere that a person has connected", function () {
  this.timeout(60_000);
  let server: TestServer;
  let upstream: TestServer;
  let provider: IdentityProvider;
  let list: string;
  let serial = 0;

  before(async () => {
    [server, upstream] = await Promise.all([aServer(), aServer()]);
    list = `${server.issuer}/account/connected`;
    provider = await connection("upstream");
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
  });

  /** A connection to the other Lintel, where this one is a client. */
  async function connection(
    slug: string,
    changes: Partial<IdentityProvider> = {},
  ): Promise<IdentityProvider> {
    const { clientId } = await aClient(upstream, {
      redirect_uris: [`${server.issuer}/federation/${slug}/callback`],
      token_endpoint_auth_method: "none",
      first_party: true,
    });
    return IdentityProvider.query(server.database.knex).insertAndFetch({
      slug,
      kind: "oidc",
      name: `Up & ${slug}`,
      clientId,
      issuer: upstream.issuer,
      settings: { token_endpoint_auth_method: "none", ...changes.settings },
      ...changes,
    });
  }
  const linked = (userId: string, changes: Partial<Identity> = {}) =>
    Identity.query(server.database.knex).insertAndFetch({
      userId,
      providerId: provider.id,
      issuer: "https://upstream.example",
      subject: `subject-${(serial += 1)}`,
      email: "ada@upstream.example",
      linkedVia: "user",
      ...changes,
    });
  const identitiesOf = (userId: string) => Identity.query(server.database.knex).where({ userId });
  async function signedIn(person: { email: string }, at = list): Promise<Visitor> {
    const visitor = new Visitor();
    await visitor.open(at);
    await visitor.submit({ username: person.email });
    await visitor.submit({ password: PASSWORD });
    return visitor;
  }
  const forget = (userId: string) =>
    Session.query(server.database.knex)
      .patch({ loggedInAt: new Date(Date.now() - 3_600_000), confirmedAt: null })
      .where({ userId });
  const mails = (userId: string, template: string) =>
    OutboxMessage.query(server.database.knex).where({ template, userId }).resultSize();
  const events = (userId: string, type: string) =>
    AuditEvent.query(server.database.knex).where({ type, userId }).resultSize();

  describe("the page", () => {
    it("is linked from the account, and shows nothing to who is not signed in", async () => {
      const ada = await aUser(server);
      const visitor = await signedIn(ada, `${server.issuer}/account`);
      assert.match(visitor.html, /id="connected-link" href="\/account\/connected"/);
      assert.equal((await new Visitor().open(list)).page, "login");
    });

    it("lists what is connected, of the person alone, and offers the rest", async () => {
      const [ada, eve] = [await aUser(server), await aUser(server)];
      await linked(eve.id, { email: "eve@upstream.example" });
      const visitor = await signedIn(ada);
      assert.equal(visitor.page, "account-connected");
      assert.match(visitor.html, /id="no-identities"/);
      assert.match(visitor.html, /id="connect-upstream"[^>]*>Connect Up &amp; upstream</);
      await linked(ada.id);
      await visitor.open(list);
      assert.match(visitor.html, /ada@upstream\.example/);
      assert.doesNotMatch(visitor.html, /eve@upstream\.example|connect-upstream/);
    });

    it("names no connection without a button but to people of its domain, and none that keeps its people apart", async () => {
      await connection("quiet", { showButton: false });
      await connection("apart", { linkingPolicy: "isolated" });
      const theirs = await connection("theirs", { showButton: false });
      const ada = await signedIn(await aUser(server, { email: "ada@theirs.example" }));
      await SsoDomain.query(server.database.knex).insert({
        domain: "theirs.example",
        providerId: theirs.id,
        dnsChallenge: "x",
        verifiedAt: new Date(),
      });
      const visitor = await signedIn(await aUser(server));
      for (let tries = 0; tries < 20 && !ada.html.includes("connect-theirs"); tries += 1) {
        await delay(50);
        await ada.open(list);
      }
      assert.match(ada.html, /connect-theirs/);
      await visitor.open(list);
      assert.doesNotMatch(visitor.html, /connect-(quiet|apart|theirs)/);
      await visitor.submit({}, `${list}/quiet`);
      assert.equal(visitor.status, 404);
    });
  });

  describe("connecting", () => {
    /** Goes to the provider and signs in there. */
    async function connect(visitor: Visitor, there: { email: string }): Promise<Visitor> {
      await visitor.submit({}, `${list}/upstream`);
      if (visitor.page === "login") await visitor.submit({ username: there.email });
      return visitor.submit({ password: PASSWORD });
    }

    it("takes the person to the provider and back, tells them, and lets them sign in there from then on", async () => {
      const [ada, there] = [await aUser(server), await aUser(upstream)];
      const visitor = await connect(await signedIn(ada), there);
      assert.equal(visitor.page, "account-connected", visitor.html);
      assert.match(visitor.html, /id="done"/);
      const [identity] = await identitiesOf(ada.id);
      assert.equal(identity?.issuer, upstream.issuer);
      assert.equal(identity?.subject, there.id);
      assert.equal(await mails(ada.id, "identity_linked"), 1);
      assert.equal(await events(ada.id, "identity.linked"), 1);
    });

    it("asks first who they are, where they have not just shown it (T-78)", async () => {
      const ada = await aUser(server);
      const visitor = await signedIn(ada);
      await forget(ada.id);
      await visitor.submit({}, `${list}/upstream`);
      assert.equal(visitor.page, "password");
      assert.ok(visitor.url.startsWith(server.issuer));
    });

    it("refuses one that is connected to somebody else, and leaves it there", async () => {
      const [ada, eve, there] = [await aUser(server), await aUser(server), await aUser(upstream)];
      await connect(await signedIn(ada), there);
      const visitor = await connect(await signedIn(eve), there);
      assert.equal(visitor.status, 409);
      assert.match(visitor.html, /connected to another account/);
      assert.equal((await identitiesOf(eve.id)).length, 0);
      assert.equal((await identitiesOf(ada.id)).length, 1);
    });

    it("does not begin by a link, which another site could open", async () => {
      const visitor = await signedIn(await aUser(server));
      await visitor.open(`${list}/upstream`);
      assert.ok([404, 405].includes(visitor.status), String(visitor.status));
    });

    it("connects nobody to whom a stranger sends the end of their own way (T-92)", async () => {
      const [eve, ada, there] = [await aUser(server), await aUser(server), await aUser(upstream)];
      const attacker = new Visitor({ follows: false });
      await walk(attacker, eve);
      await attacker.submit({}, `${list}/upstream`);
      const back = await signInThere(attacker, there);
      const victim = await signedIn(ada);
      await victim.open(back);
      assert.equal(victim.status, 400);
      assert.equal((await identitiesOf(ada.id)).length, 0);
      assert.equal((await identitiesOf(eve.id)).length, 0);
    });

    it("connects nobody who came to be signed in meanwhile (T-92)", async () => {
      const [eve, ada, there] = [await aUser(server), await aUser(server), await aUser(upstream)];
      const browser = new Visitor({ follows: false });
      await walk(browser, eve);
      await browser.submit({}, `${list}/upstream`);
      const back = await signInThere(browser, there);
      await Session.query(server.database.knex).patch({ userId: ada.id }).where({ userId: eve.id });
      await browser.open(back);
      await follow(browser);
      assert.equal((await identitiesOf(ada.id)).length, 0);
    });

    it("uses an outcome once (T-94)", async () => {
      const [ada, there] = [await aUser(server), await aUser(upstream)];
      const browser = new Visitor({ follows: false });
      await walk(browser, ada);
      await browser.submit({}, `${list}/upstream`);
      await browser.open(await signInThere(browser, there));
      const outcome = browser.location ?? "";
      assert.match(outcome, /\/account\/connected\/arrived\?outcome=fo_/);
      await browser.open(outcome);
      assert.match(browser.location ?? "", /done=connected/);
      await browser.open(outcome);
      assert.equal(browser.status, 410);
      assert.equal((await identitiesOf(ada.id)).length, 1);
    });

    /** Goes where redirects lead until there is a page. */
    async function follow(visitor: Visitor): Promise<Visitor> {
      while (visitor.location?.includes("localhost") === true) await visitor.open(visitor.location);
      return visitor;
    }
    async function walk(visitor: Visitor, person: { email: string }): Promise<void> {
      await follow(await visitor.open(list));
      await follow(await visitor.submit({ username: person.email }));
      await follow(await visitor.submit({ password: PASSWORD }));
      assert.equal(visitor.page, "account-connected");
    }
    /** Signs in at the provider, and stops at the door of ours. */
    async function signInThere(visitor: Visitor, person: { email: string }): Promise<string> {
      const until = async () => {
        while (visitor.location !== undefined && !visitor.location.includes("/callback?"))
          await visitor.open(visitor.location);
      };
      await until();
      await visitor.submit({ username: person.email });
      await until();
      await visitor.submit({ password: PASSWORD });
      await until();
      return visitor.location ?? "";
    }
  });

  describe("disconnecting", () => {
    const disconnect = (visitor: Visitor, id: string) =>
      visitor.submit({}, `${list}/${id}/disconnect`);

    it("removes it, tells the person, and ends what it signed in elsewhere", async () => {
      const ada = await aUser(server);
      const { id } = await linked(ada.id);
      await signedIn(ada);
      await Session.query(server.database.knex)
        .patch({ identityId: id } as Partial<Session>)
        .where({ userId: ada.id });
      const visitor = await signedIn(ada);
      await disconnect(visitor, id);
      assert.equal(visitor.page, "account-connected");
      assert.match(visitor.html, /id="done"/);
      assert.equal((await identitiesOf(ada.id)).length, 0);
      assert.equal(await mails(ada.id, "identity_unlinked"), 1);
      assert.equal(await events(ada.id, "identity.unlinked"), 1);
      const sessions = await Session.query(server.database.knex).where({ userId: ada.id });
      assert.deepEqual(
        sessions.map(({ endReason }) => endReason).toSorted(),
        ["user_revoked", null].toSorted(),
      );
      await visitor.open(list);
      assert.equal(visitor.page, "account-connected");
    });

    it("leaves the last way to sign in", async () => {
      const ada = await aUser(server);
      const { id } = await linked(ada.id);
      const visitor = await signedIn(ada);
      await UserPassword.query(server.database.knex).deleteById(ada.id);
      await disconnect(visitor, id);
      assert.equal(visitor.status, 409);
      assert.match(visitor.html, /your only way to sign in/);
      assert.equal((await identitiesOf(ada.id)).length, 1);
    });

    it("does not count an identity of a connection that is switched off as a way to sign in", async () => {
      const ada = await aUser(server);
      const off = await connection(`off-${(serial += 1)}`, { enabled: false });
      const { id } = await linked(ada.id);
      await linked(ada.id, { providerId: off.id });
      const visitor = await signedIn(ada);
      await UserPassword.query(server.database.knex).deleteById(ada.id);
      await disconnect(visitor, id);
      assert.equal(visitor.status, 409);
    });

    it("leaves one of the last two, whoever removes them at once", async () => {
      const ada = await aUser(server);
      const ids = [(await linked(ada.id)).id, (await linked(ada.id)).id];
      const visitors = await Promise.all(ids.map(() => signedIn(ada)));
      await UserPassword.query(server.database.knex).deleteById(ada.id);
      await Promise.all(visitors.map((visitor, index) => disconnect(visitor, ids[index] ?? "")));
      assert.deepEqual(visitors.map(({ status }) => status).toSorted(), [200, 409]);
      assert.equal((await identitiesOf(ada.id)).length, 1);
    });

    it("does not remove what their organization signs them in with", async () => {
      const enforcing = await connection(`enforcing-${(serial += 1)}`);
      await SsoDomain.query(server.database.knex).insert({
        domain: "enforced.example",
        providerId: enforcing.id,
        dnsChallenge: "x",
        verifiedAt: new Date(),
        enforceSso: true,
      });
      const ada = await aUser(server);
      const { id } = await linked(ada.id, {
        providerId: enforcing.id,
        email: "ada@enforced.example",
      });
      const visitor = await signedIn(ada);
      assert.match(visitor.html, /id="enforced-1"/);
      assert.doesNotMatch(visitor.html, /disconnect-1/);
      await disconnect(visitor, id);
      assert.equal(visitor.status, 409);
      assert.equal((await identitiesOf(ada.id)).length, 1);
    });

    it("lets a passkey go where it is left, and not where its connection is switched off", async () => {
      const off = await connection(`off-${(serial += 1)}`, { enabled: false });
      for (const [providerId, status] of [
        [off.id, 409],
        [provider.id, 200],
      ] as const) {
        const ada = await aUser(server);
        await linked(ada.id, { providerId });
        const visitor = await signedIn(ada);
        await aPasskey(server, ada.id);
        await UserPassword.query(server.database.knex).deleteById(ada.id);
        const passkey = await WebauthnCredential.query(server.database.knex)
          .findOne({ userId: ada.id })
          .throwIfNotFound();
        await visitor.submit({}, `${server.issuer}/account/passkeys/${passkey.id}/remove`);
        assert.equal(visitor.status, status);
      }
    });

    it("removes nobody else’s, and asks first who they are", async () => {
      const [ada, eve] = [await aUser(server), await aUser(server)];
      const { id } = await linked(ada.id);
      const visitor = await signedIn(eve);
      await disconnect(visitor, id);
      assert.equal(visitor.status, 404);
      await forget(eve.id);
      await disconnect(visitor, id);
      assert.equal(visitor.page, "password");
      assert.equal((await identitiesOf(ada.id)).length, 1);
    });
  });
});
