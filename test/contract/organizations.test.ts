import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { addMember, createGroup, removeMember } from "../../src/users/groups.ts";
import {
  addToOrganization,
  createOrganization,
  deleteOrganization,
  removeFromOrganization,
  updateOrganization,
} from "../../src/users/organizations.ts";
import { assignRole, createRole, unassignRole, updateRole } from "../../src/users/roles.ts";
import { asksFor } from "../support/api.ts";
import { anApp } from "../support/factors.ts";
import { json, RelyingParty, response, walk, WebBrowser, type Fields } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import { Walker } from "../support/walker.ts";

describe("organizations", function () {
  this.timeout(60_000);
  let server: TestServer;
  let lenient: TestServer;
  let app: RelyingParty;
  let serial = 0;
  before(async () => {
    server = await aServer();
    lenient = await aServer({ SECOND_FACTOR_SKIPS: "1" });
    app = new RelyingParty(server, await aClient(server));
  });
  after(() => Promise.all([server.stop(), lenient.stop()]));

  const knex = () => server.database.knex;
  const anOrganization = async (requireSecondFactor = false) => {
    const slug = `org-${(serial += 1)}`;
    await createOrganization(knex(), { slug, name: `Org ${serial}`, requireSecondFactor });
    return slug;
  };
  const aRole = async () => (await createRole(knex(), { slug: `role:${(serial += 1)}` })).slug;
  const somebodyIn = async (...slugs: string[]) => {
    const user = await aUser(server);
    for (const slug of slugs) await addToOrganization(knex(), slug, user.id);
    return user;
  };
  const signIn = (user: { email: string }, asked: Fields, scopes?: string[]) => {
    const person = { email: user.email, ...(scopes === undefined ? {} : { scopes }) };
    return walk(server, new WebBrowser(server), asksFor(app, asked), person);
  };
  const tokensFor = async (
    user: { email: string },
    asked: Fields = { scope: "openid organizations roles" },
    scopes?: string[],
  ) => json(await app.redeem(response(await signIn(user, asked, scopes))["code"] ?? ""));
  const claimsAt = async (tokens: Record<string, unknown>) =>
    json(await app.userinfo(String(tokens["access_token"])));
  const organizationsAt = async (tokens: Record<string, unknown>) =>
    (await claimsAt(tokens))["organizations"];
  const named = (slug: string, ...roles: string[]) => ({
    id: slug,
    name: slug.replace("org-", "Org "),
    roles,
  });

  describe("as a claim", () => {
    it("are at userinfo with the scope organizations, sorted (OIDC Core §5.4)", async () => {
      const [first, second] = [await anOrganization(), await anOrganization()];
      assert.deepEqual(await organizationsAt(await tokensFor(await somebodyIn(second, first))), [
        named(first),
        named(second),
      ]);
    });

    it("are an empty list for who belongs to none (OIDC Core §5.4)", async () => {
      assert.deepEqual(await organizationsAt(await tokensFor(await aUser(server))), []);
    });

    it("are in the ID token where the claims parameter asks for them (OIDC Core §5.5)", async () => {
      const slug = await anOrganization();
      const claims = JSON.stringify({ id_token: { organizations: null } });
      const tokens = await tokensFor(await somebodyIn(slug), { scope: "openid", claims });
      const { organizations } = decodeJwt(String(tokens["id_token"]));
      assert.deepEqual(organizations, [named(slug)]);
    });

    it("are nowhere without the scope (OIDC Core §5.4)", async () => {
      const user = await somebodyIn(await anOrganization());
      const tokens = await tokensFor(user, { scope: "openid profile groups roles" });
      assert.equal(await organizationsAt(tokens), undefined);
    });

    it("are nowhere where the person said no, and the page names them (OIDC Core §3.1.2.4)", async () => {
      const user = await somebodyIn(await anOrganization());
      const asked = asksFor(app, { scope: "openid organizations" });
      const person = { email: user.email, until: "consent" } as const;
      const page = await walk(server, new WebBrowser(server), asked, person);
      assert.match(page.text, /See which organizations you belong to/);
      assert.match(page.text, />Org \d+</);
      const tokens = await tokensFor(user, { scope: "openid organizations" }, ["openid"]);
      assert.equal(await organizationsAt(tokens), undefined);
    });

    it("are those of now, not those of the sign-in", async () => {
      const [left, deleted] = [await anOrganization(), await anOrganization()];
      const user = await somebodyIn(left, deleted);
      const tokens = await tokensFor(user);
      await removeFromOrganization(knex(), left, user.id);
      await deleteOrganization(knex(), deleted);
      assert.deepEqual(await organizationsAt(tokens), []);
    });
  });

  describe("have roles inside", () => {
    it("that count there, in no other organization, and not everywhere", async () => {
      const [acme, other, role] = [await anOrganization(), await anOrganization(), await aRole()];
      const user = await somebodyIn(acme, other);
      await assignRole(knex(), role, { userId: user.id, organization: acme });
      const { organizations, roles } = await claimsAt(await tokensFor(user));
      assert.deepEqual(organizations, [named(acme, role), named(other)]);
      assert.deepEqual(roles, []);
    });

    it("beside those that count everywhere, which are not inside", async () => {
      const [acme, role] = [await anOrganization(), await aRole()];
      const user = await somebodyIn(acme);
      await assignRole(knex(), role, { userId: user.id });
      const { organizations, roles } = await claimsAt(await tokensFor(user));
      assert.deepEqual(organizations, [named(acme)]);
      assert.deepEqual(roles, [role]);
    });

    it("for members only", async () => {
      const [organization, role, { id }] = [
        await anOrganization(),
        await aRole(),
        await aUser(server),
      ];
      await assert.rejects(
        knex().transaction((trx) => assignRole(trx, role, { userId: id, organization })),
        { code: "not_a_member" },
      );
    });

    it("of a group for those of it who are members, each role once", async () => {
      const [organization, role, group] = [await anOrganization(), await aRole(), "sales"];
      await createGroup(knex(), { name: group, requireSecondFactor: false });
      await assignRole(knex(), role, { group, organization });
      const [member, stranger] = [await somebodyIn(organization), await aUser(server)];
      for (const { id } of [member, stranger]) await addMember(knex(), group, id);
      await assignRole(knex(), role, { userId: member.id, organization });
      const [tokens, others] = [await tokensFor(member), await tokensFor(stranger)];
      assert.deepEqual((await claimsAt(tokens))["roles"], []);
      assert.deepEqual(await organizationsAt(tokens), [named(organization, role)]);
      assert.deepEqual(await claimsAt(others), { sub: stranger.id, organizations: [], roles: [] });
      await unassignRole(knex(), role, { userId: member.id, organization });
      assert.deepEqual(await organizationsAt(tokens), [named(organization, role)]);
      await removeMember(knex(), group, member.id);
      assert.deepEqual(await organizationsAt(tokens), [named(organization)]);
    });

    it("that an inactive role does not give", async () => {
      const [organization, role] = [await anOrganization(), await aRole()];
      const user = await somebodyIn(organization);
      await assignRole(knex(), role, { userId: user.id, organization });
      const tokens = await tokensFor(user);
      await updateRole(knex(), role, { isActive: false });
      assert.deepEqual(await organizationsAt(tokens), [named(organization)]);
    });

    it("that who leaves leaves behind, and does not find again", async () => {
      const [organization, role] = [await anOrganization(), await aRole()];
      const user = await somebodyIn(organization);
      await assignRole(knex(), role, { userId: user.id, organization });
      const tokens = await tokensFor(user);
      await removeFromOrganization(knex(), organization, user.id);
      await addToOrganization(knex(), organization, user.id);
      assert.deepEqual(await organizationsAt(tokens), [named(organization)]);
    });
  });

  describe("that require a second step", () => {
    it("have their members set one up at the next sign-in, which cannot be put off", async () => {
      const page = await signIn(await somebodyIn(await anOrganization(true)), { scope: "openid" });
      assert.equal(page.page, "enroll");
      assert.doesNotMatch(page.text, /enroll-skip/);
    });

    it("let it be put off as often as the issuer allows, and then no more", async () => {
      const client = new RelyingParty(lenient, await aClient(lenient));
      const user = await aUser(lenient);
      const { knex: there } = lenient.database;
      await createOrganization(there, { slug: "strict", requireSecondFactor: true });
      await addToOrganization(there, "strict", user.id);
      const person = { email: user.email, until: "enroll" } as const;
      const asked = asksFor(client, { scope: "openid" });
      const browser = new WebBrowser(lenient);
      const first = await walk(lenient, browser, asked, person);
      assert.match(first.text, /enroll-skip/);
      const place = new URL(first.url).pathname.replace(/\/enroll$/, "/enroll/skip");
      await browser.submit(place, {});
      const second = await walk(lenient, new WebBrowser(lenient), asked, person);
      assert.equal(second.page, "enroll");
      assert.doesNotMatch(second.text, /enroll-skip/);
    });

    it("ask nothing of who is not in them, of who left, nor once they ask no more", async () => {
      const [strict, other, lax] = [
        await anOrganization(true),
        await anOrganization(true),
        await anOrganization(),
      ];
      const [member, gone] = [await somebodyIn(strict, lax), await somebodyIn(other)];
      await removeFromOrganization(knex(), other, gone.id);
      await updateOrganization(knex(), strict, { requireSecondFactor: false });
      for (const user of [member, gone, await somebodyIn(lax)])
        assert.ok(response(await signIn(user, { scope: "openid" }))["code"]);
    });

    it("ask for it at every sign-in, and keep the last one from being removed", async () => {
      const user = await somebodyIn(await anOrganization(true));
      const phone = await anApp(server, user.id);
      const walker = new Walker(server);
      let page = await walker.open("/account/authenticators");
      page = await walker.submit(page, { username: user.email });
      page = await walker.submit(page, { password: "correct horse battery staple" });
      assert.equal(page.page, "mfa-totp");
      page = await walker.submit(page, { otp: await phone.code() });
      assert.equal(page.page, "account-authenticators");
      const kept = await walker.submit(`/account/authenticators/${phone.id}/remove`, {});
      assert.equal(kept.status, 409);
    });
  });
});
