import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { decodeJwt } from "jose";
import type { UpstreamIdentity } from "../../src/federation/connector.ts";
import {
  createConnection,
  deleteConnection,
  updateConnection,
} from "../../src/federation/connections.ts";
import { linkIdentity } from "../../src/federation/link.ts";
import { recognise } from "../../src/federation/people.ts";
import { unlinkIdentity } from "../../src/federation/unlink.ts";
import { createMailer } from "../../src/mail/mailer.ts";
import type { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Organization } from "../../src/models/organization.ts";
import { Role } from "../../src/models/role.ts";
import {
  addToOrganization,
  createOrganization,
  updateOrganization,
} from "../../src/users/organizations.ts";
import { createRole } from "../../src/users/roles.ts";
import { asksFor } from "../support/api.ts";
import { anApp } from "../support/factors.ts";
import { json, RelyingParty, response, walk, WebBrowser, type Fields } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

/** Attacks on organizations: who may learn of them, and who keeps what they gave. */
describe("organizations under attack", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let serial = 0;
  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server));
  });
  after(() => server.stop());

  const knex = () => server.database.knex;
  const named = (name: string) => `${name}-${(serial += 1)}`;
  const anOrganization = (requireSecondFactor = false) =>
    createOrganization(knex(), { slug: named("org"), requireSecondFactor });
  const signIn = (
    user: { email: string },
    asked: Fields,
    { browser = new WebBrowser(server), by = app } = {},
  ) => walk(server, browser, asksFor(by, { scope: "openid", ...asked }), { email: user.email });

  describe("a client that somebody has never allowed anything", () => {
    it("does not learn without a page whether they belong to an organization", async () => {
      const { slug } = await anOrganization();
      const stranger = new RelyingParty(server, await aClient(server));
      const errors = [];
      for (const isMember of [true, false]) {
        const [user, browser] = [await aUser(server), new WebBrowser(server)];
        if (isMember) await addToOrganization(knex(), slug, user.id);
        await signIn(user, {}, { browser });
        const asked = asksFor(stranger, {
          scope: "openid",
          organization_id: slug,
          prompt: "none",
        });
        errors.push(response(await walk(server, browser, asked))["error"]);
      }
      assert.deepEqual(errors, ["consent_required", "consent_required"]);
    });

    it("does not learn it by an answer that comes at once, and learns it after the person said yes", async () => {
      const { slug } = await anOrganization();
      const stranger = new RelyingParty(server, await aClient(server));
      const [user, browser] = [await aUser(server), new WebBrowser(server)];
      await signIn(user, {}, { browser });
      const asked = asksFor(stranger, { scope: "openid", organization_id: slug });
      const page = await walk(server, browser, asked);
      assert.equal(page.page, "consent");
      const { email } = user;
      assert.equal(
        response(await walk(server, browser, asked, { email }))["error"],
        "access_denied",
      );
      await addToOrganization(knex(), slug, user.id);
      const again = await walk(server, browser, asked);
      assert.match(again.text, /id="scope-organization"/, "nobody was asked about it yet");
    });
  });

  describe("a session that is older than what an organization demands", () => {
    it("gets nothing in its name before the second step", async () => {
      const { slug } = await anOrganization(true);
      const [user, browser] = [await aUser(server), new WebBrowser(server)];
      await signIn(user, {}, { browser });
      await addToOrganization(knex(), slug, user.id);
      const page = await signIn(user, { organization_id: slug }, { browser });
      assert.equal(page.page, "enroll");
      const silent = asksFor(app, { scope: "openid", organization_id: slug, prompt: "none" });
      assert.equal(response(await walk(server, browser, silent))["error"], "login_required");
    });

    it("is asked for the step that they have", async () => {
      const { slug } = await anOrganization();
      const [user, browser] = [await aUser(server), new WebBrowser(server)];
      await addToOrganization(knex(), slug, user.id);
      await signIn(user, { organization_id: slug }, { browser });
      const phone = await anApp(server, user.id);
      await updateOrganization(knex(), slug, { requireSecondFactor: true });
      const page = await signIn(user, { organization_id: slug }, { browser });
      assert.equal(page.page, "mfa-totp");
      const done = await browser.submit(page.url.href, { otp: await phone.code() });
      const back = await walk(server, browser, done.location ?? "", { email: user.email });
      const { id_token: token } = json(await app.redeem(response(back)["code"] ?? ""));
      const { org_id: id, acr } = decodeJwt(String(token));
      assert.deepEqual([id, acr], [slug, "2"]);
    });
  });

  describe("a connection that is an organization's no more", () => {
    const needs = () => ({
      knex: knex(),
      seal: server.deps.seal,
      fetch,
      issuers: server.deps.config.issuers,
    });
    const aConnection = async (organization: Organization) => {
      const { slug: role } = await createRole(knex(), { slug: named("role") });
      const definition = {
        slug: named("idp"),
        kind: "oidc",
        name: "Upstream",
        issuer: "https://upstream.example",
        client_id: "lintel",
        client_secret: "s3cret-of-upstream",
        organization: organization.slug,
        role_mapping: { [role]: "admin" },
      };
      return { role, provider: await createConnection(needs(), definition, new Date()) };
    };
    const arrival = (provider: IdentityProvider) => {
      const identity: UpstreamIdentity = {
        issuer: "https://upstream.example",
        subject: named("subject"),
        emailVerified: false,
        claims: { roles: ["admin"] },
      };
      const { seal } = server.deps;
      const mailer = createMailer({ seal, locales: ["en"] });
      return { provider, identity, seal, mailer, now: new Date(), issuer: server.issuer };
    };
    const move = ({ slug }: IdentityProvider, organization: string | null) =>
      updateConnection(needs(), slug, { given: { organization } }, new Date());

    it("takes the roles along that it gave inside, also from who is a member by hand", async () => {
      const organization = await anOrganization();
      const { role, provider } = await aConnection(organization);
      const user = await aUser(server);
      await addToOrganization(knex(), organization.slug, user.id);
      await linkIdentity(knex(), { ...arrival(provider), userId: user.id });
      const { slug: id, name } = organization;
      assert.deepEqual(await Organization.of(knex(), user.id), [{ id, name, roles: [role] }]);
      await move(provider, null);
      assert.deepEqual(await Organization.of(knex(), user.id), [{ id, name, roles: [] }]);
      assert.deepEqual(await Role.heldBy(knex(), user.id), []);
    });

    it("leaves nobody a role whose mapping an operator has taken away, though they never come back", async () => {
      const { role, provider } = await aConnection(await anOrganization());
      const { slug: other } = await createRole(knex(), { slug: named("role") });
      const { id: userId } = await aUser(server);
      const map = (mapping: Record<string, string | null>) =>
        updateConnection(needs(), provider.slug, { given: { role_mapping: mapping } }, new Date());
      const mapped = await map({ [other]: "admin" });
      await linkIdentity(knex(), { ...arrival(mapped), userId });
      const held = async () => (await Organization.of(knex(), userId))[0]?.roles;
      assert.deepEqual(await held(), [role, other].toSorted());
      await map({ [role]: null });
      assert.deepEqual(await held(), [other]);
      await map({ [other]: "owner" });
      assert.deepEqual(await held(), []);
    });

    it("leaves nobody outside of a strict one who has another of its identities", async () => {
      const organization = await anOrganization(true);
      const [kept, gone] = [await aConnection(organization), await aConnection(organization)];
      const ways = {
        unlinked: async (userId: string, id: string) => {
          const { mailer, now } = arrival(gone.provider);
          const sessionUid = named("session");
          const about = { userId, id, mailer, issuer: server.issuer, origin: {}, sessionUid, now };
          await knex().transaction((trx) => unlinkIdentity(trx, about));
        },
        moved: () => move(gone.provider, null),
        deleted: () =>
          knex().transaction((trx) =>
            deleteConnection(trx, gone.provider.slug, { force: true }, new Date()),
          ),
      };
      for (const [how, leave] of Object.entries(ways)) {
        if (how === "deleted") await move(gone.provider, organization.slug);
        const { id: userId } = await aUser(server);
        await linkIdentity(knex(), { ...arrival(kept.provider), userId });
        const latest = await linkIdentity(knex(), { ...arrival(gone.provider), userId });
        await leave(userId, latest.id);
        const { slug: id, name } = organization;
        const still = [{ id, name, roles: [kept.role] }];
        assert.deepEqual(await Organization.of(knex(), userId), still, how);
      }
    });

    it("leaves nobody inside who signs in at that moment", async () => {
      const organization = await anOrganization();
      const { provider } = await aConnection(organization);
      const signingIn = await knex().transaction();
      const recognised = await recognise(signingIn, arrival(provider));
      assert.ok("user" in recognised);
      const moving = move(provider, null);
      await setTimeout(300);
      await signingIn.commit();
      await moving;
      assert.deepEqual(await Organization.of(knex(), recognised.user.id), []);
    });
  });
});
