import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { UpstreamIdentity } from "../../src/federation/connector.ts";
import { linkIdentity } from "../../src/federation/link.ts";
import { recognise, type Recognised } from "../../src/federation/people.ts";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { createMailer, type Mailer } from "../../src/mail/mailer.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityToken } from "../../src/models/identity-token.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Organization } from "../../src/models/organization.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { Role } from "../../src/models/role.ts";
import { SystemRole } from "../../src/models/system-role.ts";
import { SsoDomain } from "../../src/models/sso-domain.ts";
import { User } from "../../src/models/user.ts";
import { findUserWithClaims } from "../../src/users/claims.ts";
import { addEmail, verifyEmail } from "../../src/users/emails.ts";
import { addMember, createGroup } from "../../src/users/groups.ts";
import {
  addToOrganization,
  createOrganization,
  removeFromOrganization,
} from "../../src/users/organizations.ts";
import { assignRole, createRole } from "../../src/users/roles.ts";
import { createUser, disableUser } from "../../src/users/users.ts";
import { testDatabase, testLog, type TestDatabase } from "../support/database.ts";

describe("people from identity providers", () => {
  let database: TestDatabase;
  let seal: Seal;
  let mailer: Mailer;
  let serial = 0;

  before(async () => {
    database = await testDatabase();
    await migrateJobs(database.url, testLog);
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
    mailer = createMailer({ seal, locales: ["en"] });
  });
  after(() => database.drop());

  const named = (name: string) => `${name}-${(serial += 1)}`;
  const address = (name = "ada") => `${named(name)}@example.com`;
  const aProvider = (changes: Partial<IdentityProvider> = {}) =>
    IdentityProvider.query(database.knex).insertAndFetch({
      slug: named("upstream"),
      kind: "oidc",
      name: "Upstream",
      clientId: "lintel",
      issuer: "https://upstream.example",
      ...changes,
    });
  const prove = (provider: IdentityProvider, domain: string, changes: Partial<SsoDomain> = {}) =>
    SsoDomain.query(database.knex).insert({
      domain,
      providerId: provider.id,
      dnsChallenge: "x",
      verifiedAt: new Date(),
      ...changes,
    });
  const somebody = (changes: Partial<UpstreamIdentity> = {}): UpstreamIdentity => ({
    issuer: "https://upstream.example",
    subject: named("subject"),
    emailVerified: false,
    claims: {},
    ...changes,
  });
  const aPerson = (email: string, verified = true) =>
    createUser(
      database.knex,
      { email, verified, via: "admin", passwordHash: "$x$" },
      new Date(Date.now() - 86_400_000),
    );
  const arrive = (provider: IdentityProvider, identity: UpstreamIdentity) =>
    recognise(database.knex, arrival(provider, identity));
  const arrival = (provider: IdentityProvider, identity: UpstreamIdentity) => ({
    provider,
    identity,
    now: new Date(),
    seal,
    mailer,
    issuer: "https://id.example",
  });
  const link = (userId: string, provider: IdentityProvider, identity: UpstreamIdentity) =>
    linkIdentity(database.knex, { ...arrival(provider, identity), userId });
  const userOf = (recognised: Recognised) => {
    assert.ok("user" in recognised, JSON.stringify(recognised));
    return recognised.user;
  };
  const emailsOf = async ({ id }: User) =>
    ((await findUserWithClaims(database.knex, id))?.emails ?? []).map(
      ({ email, verifiedAt }) => `${email}${verifiedAt === null ? "" : " verified"}`,
    );
  const eventsOf = async (userId: string) =>
    (await AuditEvent.query(database.knex).where({ userId }).orderBy("id")).map(({ type }) => type);
  const mailsTo = async (userId: string) =>
    (await OutboxMessage.query(database.knex).where({ userId })).map(({ template }) => template);

  describe("who is known", () => {
    it("is the same person each time, by provider, issuer and subject", async () => {
      const provider = await aProvider();
      const identity = somebody();
      const first = await arrive(provider, identity);
      const second = await arrive(provider, identity);
      assert.equal(first.outcome, "made");
      assert.equal(second.outcome, "known");
      assert.equal(userOf(first).id, userOf(second).id);
    });

    it("is somebody else under another issuer or at another provider (T-90)", async () => {
      const provider = await aProvider();
      const identity = somebody();
      const ids = [
        userOf(await arrive(provider, identity)).id,
        userOf(await arrive(provider, { ...identity, issuer: "https://tenant.example" })).id,
        userOf(await arrive(await aProvider(), identity)).id,
      ];
      assert.equal(new Set(ids).size, 3);
    });

    it("is refused while the account is disabled", async () => {
      const provider = await aProvider();
      const identity = somebody();
      const { id } = userOf(await arrive(provider, identity));
      await disableUser(database.knex, id, {}, new Date());
      assert.deepEqual(await arrive(provider, identity), {
        outcome: "refused",
        reason: "disabled",
      });
    });

    it("is refused where the connection was switched off since the sign-in began (T-93)", async () => {
      const provider = await aProvider();
      const identity = somebody();
      await arrive(provider, identity);
      await IdentityProvider.query(database.knex).findById(provider.id).patch({ enabled: false });
      const refused = { outcome: "refused", reason: "unavailable" };
      assert.deepEqual(await arrive(provider, identity), refused);
    });

    it("has the address that the provider states now on the identity, and keeps their own", async () => {
      const provider = await aProvider({ syncProfile: true });
      const before = address();
      const identity = somebody({ email: before });
      const user = userOf(await arrive(provider, identity));
      const after = address("changed");
      await arrive(provider, { ...identity, email: after, emailVerified: true });
      const row = await Identity.query(database.knex).findOne({ userId: user.id });
      assert.equal(row?.email, after);
      assert.deepEqual(await emailsOf(user), [before]);
    });
  });

  describe("a new account", () => {
    it("is made once by two who arrive at the same time", async () => {
      const provider = await aProvider();
      const identity = somebody({ email: address() });
      const all = await Promise.all([1, 2, 3, 4].map(() => arrive(provider, identity)));
      assert.equal(new Set(all.map((one) => userOf(one).id)).size, 1);
      assert.equal(all.filter(({ outcome }) => outcome === "made").length, 1);
      const rows = await Identity.query(database.knex).where({ providerId: provider.id });
      assert.equal(rows.length, 1);
    });

    it("is made once where the provider vouches for the address, too", async () => {
      const provider = await aProvider({ trustEmailVerified: true });
      const domain = `${named("raced")}.example`;
      await prove(provider, domain);
      const identity = somebody({ email: `ada@${domain}`, emailVerified: true });
      const all = await Promise.all([1, 2, 3, 4].map(() => arrive(provider, identity)));
      assert.equal(new Set(all.map((one) => userOf(one).id)).size, 1);
    });

    it("says in the audit where it comes from, and mails nobody", async () => {
      const user = userOf(await arrive(await aProvider(), somebody({ email: address() })));
      assert.equal(user.createdVia, "federation");
      assert.deepEqual(await eventsOf(user.id), [
        "user.created",
        "email.added",
        "identity.provisioned",
      ]);
      assert.deepEqual(await mailsTo(user.id), []);
    });

    it("is not made where the connection makes none", async () => {
      const provider = await aProvider({ jitProvisioning: false });
      const refused = { outcome: "refused", reason: "unknown" };
      assert.deepEqual(await arrive(provider, somebody()), refused);
      assert.equal(
        (await Identity.query(database.knex).where({ providerId: provider.id })).length,
        0,
      );
    });

    it("has a verified address only from who is trusted, says so, and has proven the domain (T-91)", async () => {
      const domain = `${named("corp")}.example`;
      const trusted = await aProvider({ trustEmailVerified: true });
      const untrusted = await aProvider();
      const pending = await aProvider({ trustEmailVerified: true });
      await prove(trusted, domain);
      await prove(pending, domain, { verifiedAt: null });
      const at = (name: string, emailVerified: boolean) =>
        somebody({ email: `${name}@${domain}`, emailVerified });
      const outcomes = [
        await emailsOf(userOf(await arrive(trusted, at("a", true)))),
        await emailsOf(userOf(await arrive(trusted, at("b", false)))),
        await emailsOf(userOf(await arrive(untrusted, at("c", true)))),
        await emailsOf(userOf(await arrive(pending, at("d", true)))),
        await emailsOf(
          userOf(
            await arrive(trusted, somebody({ email: `e@sub.${domain}`, emailVerified: true })),
          ),
        ),
      ];
      assert.deepEqual(outcomes.flat(), [
        `a@${domain} verified`,
        `b@${domain}`,
        `c@${domain}`,
        `d@${domain}`,
        `e@sub.${domain}`,
      ]);
    });

    it("has what the provider says under the names of the mapping, and nothing that cannot be", async () => {
      const provider = await aProvider({
        attributeMapping: { given_name: "urn:oid:2.5.4.42", family_name: "sn" },
      });
      const claims = {
        "urn:oid:2.5.4.42": ["Ada", "Augusta"],
        sn: "Lovelace",
        given_name: "not this",
        nickname: "x".repeat(101),
        zoneinfo: "Europe/\u0000London",
        picture: "javascript:alert(1)",
        website: "https://ada.example",
        locale: { a: 1 },
        username: "root",
        roles: ["superadmin"],
      };
      const { id } = userOf(await arrive(provider, somebody({ claims })));
      const user = await findUserWithClaims(database.knex, id);
      const { userId: _id, updatedAt: _at, ...profile } = user?.profile ?? {};
      assert.deepEqual(
        Object.fromEntries(Object.entries(profile).filter(([, value]) => value !== null)),
        { givenName: "Ada", familyName: "Lovelace", website: "https://ada.example" },
      );
      assert.equal(user?.username, null);
    });
  });

  it("are called what the provider calls them, beside their account", async () => {
    const called = async (claims: Record<string, unknown>) => {
      const made = await arrive(await aProvider(), somebody({ claims }));
      return "identity" in made ? made.identity.name : undefined;
    };
    assert.equal(await called({ name: "Ada", preferred_username: "ada42" }), "Ada");
    assert.equal(await called({ given_name: "Ada", family_name: "Lovelace" }), "Ada Lovelace");
    assert.equal(await called({ preferred_username: "ada42" }), "ada42");
    assert.equal(await called({}), null);
  });

  describe("the profile", () => {
    for (const syncProfile of [true, false])
      it(`${syncProfile ? "follows" : "does not follow"} the provider where sync_profile is ${syncProfile}`, async () => {
        const provider = await aProvider({ syncProfile });
        const identity = somebody({ claims: { name: "Ada", nickname: "Countess" } });
        const { id } = userOf(await arrive(provider, identity));
        await arrive(provider, { ...identity, claims: { name: "Ada L." } });
        const profile = (await findUserWithClaims(database.knex, id))?.profile;
        assert.equal(profile?.displayName, syncProfile ? "Ada L." : "Ada");
        assert.equal(profile?.nickname, "Countess");
      });
  });

  describe("an address that somebody has here", () => {
    it("never says who somebody is: another subject with it is asked to sign in (T-90, nOAuth)", async () => {
      const email = address("victim");
      const victim = await aPerson(email);
      for (const emailVerified of [true, false])
        assert.deepEqual(await arrive(await aProvider(), somebody({ email, emailVerified })), {
          outcome: "to_link",
          userId: victim.id,
        });
      assert.equal((await Identity.query(database.knex).where({ userId: victim.id })).length, 0);
    });

    it("of somebody else at the same provider signs nobody in, either (T-90)", async () => {
      const provider = await aProvider({ trustEmailVerified: true });
      const domain = `${named("corp")}.example`;
      await prove(provider, domain);
      const email = `victim@${domain}`;
      const victim = userOf(await arrive(provider, somebody({ email, emailVerified: true })));
      const other = await arrive(provider, somebody({ email, emailVerified: true }));
      assert.deepEqual(other, { outcome: "to_link", userId: victim.id });
    });

    it("is matched whatever its case and the form of its domain", async () => {
      const email = address("case");
      const victim = await aPerson(email);
      const shouted = somebody({ email: email.toUpperCase() });
      assert.deepEqual(await arrive(await aProvider(), shouted), {
        outcome: "to_link",
        userId: victim.id,
      });
    });

    it("is left to them where accounts are never matched: the new account has none", async () => {
      for (const linkingPolicy of ["never", "isolated"] as const) {
        const email = address("owner");
        await aPerson(email);
        const provider = await aProvider({ linkingPolicy, trustEmailVerified: true });
        const made = await arrive(provider, somebody({ email, emailVerified: true }));
        assert.equal(made.outcome, "made");
        assert.deepEqual(await emailsOf(userOf(made)), []);
        const row = await Identity.query(database.knex).findOne({ providerId: provider.id });
        assert.equal(row?.email, email);
      }
    });

    it("of an account that is disabled says nothing of that to who merely states it (T-91)", async () => {
      const email = address("gone");
      const { id } = await aPerson(email);
      await disableUser(database.knex, id, {}, new Date());
      for (const emailVerified of [false, true]) {
        const provider = await aProvider();
        const made = await arrive(provider, somebody({ email, emailVerified }));
        assert.equal(made.outcome, "made");
        assert.notEqual(userOf(made).id, id);
        assert.deepEqual(await emailsOf(userOf(made)), [email]);
      }
      const closed = await aProvider({ jitProvisioning: false });
      const refused = { outcome: "refused", reason: "unknown" };
      assert.deepEqual(await arrive(closed, somebody({ email })), refused);
    });

    it("leads to no account that is disabled where the provider speaks for it", async () => {
      const domain = `${named("corp")}.example`;
      const provider = await aProvider({ trustEmailVerified: true });
      await prove(provider, domain);
      const email = `gone@${domain}`;
      const { id } = await aPerson(email);
      await disableUser(database.knex, id, {}, new Date());
      const refused = { outcome: "refused", reason: "disabled" };
      assert.deepEqual(await arrive(provider, somebody({ email, emailVerified: true })), refused);
    });

    it("is asked about even where the connection makes no accounts", async () => {
      const email = address("invited");
      const { id } = await aPerson(email);
      const provider = await aProvider({ jitProvisioning: false });
      const recognised = await arrive(provider, somebody({ email }));
      assert.deepEqual(recognised, { outcome: "to_link", userId: id });
    });
  });

  describe("an address that is free", () => {
    it("goes to the new account of a connection that is never matched", async () => {
      const email = address();
      const provider = await aProvider({ linkingPolicy: "never" });
      assert.deepEqual(await emailsOf(userOf(await arrive(provider, somebody({ email })))), [
        email,
      ]);
    });

    it("stays out of the accounts of an isolated connection", async () => {
      const provider = await aProvider({ linkingPolicy: "isolated", trustEmailVerified: true });
      const domain = `${named("apart")}.example`;
      await prove(provider, domain);
      const identity = somebody({ email: `ada@${domain}`, emailVerified: true });
      assert.deepEqual(await emailsOf(userOf(await arrive(provider, identity))), []);
      await aPerson(`ada@${domain}`);
    });
  });

  describe("linking by a verified address", () => {
    const aDomain = async (changes: Partial<IdentityProvider> = {}) => {
      const provider = await aProvider({
        linkingPolicy: "verified_email",
        trustEmailVerified: true,
        ...changes,
      });
      const domain = `${named("corp")}.example`;
      return { provider, domain, email: `ada@${domain}` };
    };

    it("joins accounts where the provider speaks for the domain, and tells the person", async () => {
      const { provider, domain, email } = await aDomain();
      await prove(provider, domain);
      const ada = await aPerson(email);
      const identity = somebody({ email, emailVerified: true });
      const linked = await arrive(provider, identity);
      assert.equal(linked.outcome, "linked");
      assert.equal(userOf(linked).id, ada.id);
      assert.equal((await arrive(provider, identity)).outcome, "known");
      assert.deepEqual(await mailsTo(ada.id), ["identity_linked"]);
      assert.ok((await eventsOf(ada.id)).includes("identity.linked"));
    });

    const weaker: readonly [
      string,
      { trust?: boolean; says?: boolean; proof?: "none" | "pending" | "another's" },
    ][] = [
      ["is not trusted for addresses", { trust: false }],
      ["does not say that the address is verified", { says: false }],
      ["has no proof of the domain", { proof: "none" }],
      ["has a proof that is pending", { proof: "pending" }],
      ["names a domain that is another connection's", { proof: "another's" }],
    ];
    for (const [why, { trust = true, says = true, proof }] of weaker)
      it(`asks for the account's own sign-in where the provider ${why} (T-91)`, async () => {
        const { provider, domain, email } = await aDomain({ trustEmailVerified: trust });
        if (proof === "another's") await prove(await aProvider(), domain);
        else if (proof === "pending") await prove(provider, domain, { verifiedAt: null });
        else if (proof === undefined) await prove(provider, domain);
        const { id } = await aPerson(email);
        const recognised = await arrive(provider, somebody({ email, emailVerified: says }));
        assert.deepEqual(recognised, { outcome: "to_link", userId: id });
      });

    it("asks for the account's own sign-in where the address is not the one that names it", async () => {
      const { provider, domain, email } = await aDomain();
      await prove(provider, domain);
      const { id } = await aPerson(address("private"));
      const by = { actor: { type: "user", id } } as const;
      const added = await addEmail(database.knex, { userId: id, typed: email, by }, new Date());
      await verifyEmail(database.knex, { userId: id, emailId: added.id, by }, new Date());
      const recognised = await arrive(provider, somebody({ email, emailVerified: true }));
      assert.deepEqual(recognised, { outcome: "to_link", userId: id });
      assert.equal(await Identity.query(database.knex).where({ userId: id }).resultSize(), 0);
    });

    it("never joins an account that only claims the address (T-91)", async () => {
      const { provider, domain, email } = await aDomain();
      await prove(provider, domain);
      const squatter = await aPerson(email, false);
      const made = await arrive(provider, somebody({ email, emailVerified: true }));
      assert.equal(made.outcome, "made");
      assert.notEqual(userOf(made).id, squatter.id);
      assert.deepEqual(await emailsOf(userOf(made)), [`${email} verified`]);
    });

    it("never joins an account that added the address and has not proven it (T-91)", async () => {
      const { provider, domain, email } = await aDomain();
      await prove(provider, domain);
      const eve = await aPerson(address("eve"));
      const by = { actor: { type: "user", id: eve.id } } as const;
      await addEmail(database.knex, { userId: eve.id, typed: email, by }, new Date());
      const made = await arrive(provider, somebody({ email, emailVerified: true }));
      assert.notEqual(userOf(made).id, eve.id);
    });
  });

  describe("their groups", () => {
    const aGroup = async () =>
      (await createGroup(database.knex, { name: named("g"), requireSecondFactor: false })).name;
    const groupsOf = async (id: string) =>
      ((await findUserWithClaims(database.knex, id))?.groups ?? [])
        .map(({ name }) => name)
        .toSorted();

    it("are those that the mapping has for what the provider says, and no other (T-96)", async () => {
      const [engineering, sales, admin] = [await aGroup(), await aGroup(), "admin"];
      await createGroup(database.knex, { name: admin, requireSecondFactor: false });
      const provider = await aProvider({
        groupMapping: { [engineering]: "eng@corp", [sales]: "sales@corp" },
      });
      const claims = { groups: ["eng@corp", admin, "superadmin", sales], roles: ["superadmin"] };
      const { id } = userOf(await arrive(provider, somebody({ claims })));
      assert.deepEqual(await groupsOf(id), [engineering]);
      assert.equal((await SystemRole.query(database.knex).where({ userId: id })).length, 0);
    });

    it("follow each sign-in; those by hand, and those of other identities, stay", async () => {
      const [one, two, byHand] = [await aGroup(), await aGroup(), await aGroup()];
      const groupMapping = { [one]: "1", [two]: "2" };
      const [first, second] = [
        await aProvider({ groupMapping }),
        await aProvider({ groupMapping }),
      ];
      const identity = somebody({ claims: { groups: ["1", "2"] } });
      const { id } = userOf(await arrive(first, identity));
      await addMember(database.knex, byHand, id);
      await addMember(database.knex, two, id);
      await link(id, second, somebody({ claims: { groups: "1" } }));
      await arrive(first, { ...identity, claims: { groups: [] } });
      assert.deepEqual(await groupsOf(id), [one, two, byHand].toSorted());
      const events = (await eventsOf(id)).filter((type) => type.startsWith("group."));
      assert.deepEqual(events.filter((type) => type === "group.member_removed").length, 2);
    });

    it("of an identity go with it, and where the provider says nothing any more", async () => {
      const name = await aGroup();
      const provider = await aProvider({ groupMapping: { [name]: "1" } });
      const identity = somebody({ claims: { groups: ["1"] } });
      const { id } = userOf(await arrive(provider, identity));
      assert.deepEqual(await groupsOf(id), [name]);
      await arrive(provider, { ...identity, claims: {} });
      assert.deepEqual(await groupsOf(id), []);
      await arrive(provider, identity);
      await Identity.query(database.knex).delete().where({ userId: id });
      assert.deepEqual(await groupsOf(id), []);
    });

    it("that demand a second factor are not left because the provider says nothing", async () => {
      const [mild, strict] = [await aGroup(), named("strict")];
      await createGroup(database.knex, { name: strict, requireSecondFactor: true });
      const provider = await aProvider({ groupMapping: { [mild]: "1", [strict]: "2" } });
      const identity = somebody({ claims: { groups: ["1", "2"] } });
      const { id } = userOf(await arrive(provider, identity));
      for (const claims of [{}, { groups: null }]) {
        await arrive(provider, { ...identity, claims });
        assert.deepEqual(await groupsOf(id), [strict]);
      }
      await arrive(provider, { ...identity, claims: { groups: [] } });
      assert.deepEqual(await groupsOf(id), []);
    });

    it("are read from the claim that the settings name, and never made by a mapping", async () => {
      const provider = await aProvider({
        settings: { groups_claim: "memberOf" },
        groupMapping: { [named("unknown")]: "1", [await aGroup()]: "2" },
      });
      const claims = { memberOf: ["1", "2"], groups: ["1"] };
      const { id } = userOf(await arrive(provider, somebody({ claims })));
      assert.equal((await groupsOf(id)).length, 1);
    });
  });

  describe("their roles", () => {
    const aRole = async () => (await createRole(database.knex, { slug: named("r") })).slug;
    const rolesOf = async (id: string) =>
      (await Role.heldBy(database.knex, id)).map(({ slug }) => slug);

    it("are those that the mapping has for what the provider says, and no other (T-96)", async () => {
      const [approver, other] = [await aRole(), await aRole()];
      await createRole(database.knex, { slug: "superadmin" });
      const provider = await aProvider({ roleMapping: { [approver]: "Approver", [other]: "x" } });
      const claims = { roles: ["Approver", other, "superadmin"], groups: ["x"] };
      const { id } = userOf(await arrive(provider, somebody({ claims })));
      assert.deepEqual(await rolesOf(id), [approver]);
      assert.equal((await SystemRole.query(database.knex).where({ userId: id })).length, 0);
    });

    it("follow each sign-in; those by hand, and those of other identities, stay", async () => {
      const [one, two, three, byHand] = [
        await aRole(),
        await aRole(),
        await aRole(),
        await aRole(),
      ];
      const roleMapping = { [one]: "1", [two]: "2", [three]: "3" };
      const [first, second] = [await aProvider({ roleMapping }), await aProvider({ roleMapping })];
      const identity = somebody({ claims: { roles: ["1", "2", "3"] } });
      const { id: userId } = userOf(await arrive(first, identity));
      for (const slug of [byHand, two]) await assignRole(database.knex, slug, { userId });
      await link(userId, second, somebody({ claims: { roles: "1" } }));
      await arrive(first, { ...identity, claims: { roles: [] } });
      assert.deepEqual(await rolesOf(userId), [one, two, byHand].toSorted());
      const events = (await eventsOf(userId)).filter((type) => type === "role.unassigned");
      assert.equal(events.length, 3);
    });

    it("of an identity go with it, and where the provider says nothing any more", async () => {
      const slug = await aRole();
      const provider = await aProvider({
        settings: { roles_claim: "jobs" },
        roleMapping: { [slug]: "1" },
      });
      const identity = somebody({ claims: { jobs: ["1"] } });
      const { id } = userOf(await arrive(provider, identity));
      assert.deepEqual(await rolesOf(id), [slug]);
      await arrive(provider, { ...identity, claims: { roles: ["1"] } });
      assert.deepEqual(await rolesOf(id), []);
      await arrive(provider, identity);
      await Identity.query(database.knex).delete().where({ userId: id });
      assert.deepEqual(await rolesOf(id), []);
    });
  });

  describe("their organization", () => {
    const anOrganization = () => createOrganization(database.knex, { slug: named("org") });
    const belongsTo = (id: string) => Organization.of(database.knex, id);
    const providerOf = async ({ id }: Organization, changes: Partial<IdentityProvider> = {}) =>
      aProvider({ organizationId: id, ...changes });

    it("is the one whose connection they sign in through, which is noted once", async () => {
      const organization = await anOrganization();
      const { slug: id, name } = organization;
      const provider = await providerOf(organization);
      const identity = somebody();
      const user = userOf(await arrive(provider, identity));
      await arrive(provider, identity);
      assert.deepEqual(await belongsTo(user.id), [{ id, name, roles: [] }]);
      const joined = (await eventsOf(user.id)).filter((type) => type.startsWith("organization."));
      assert.deepEqual(joined, ["organization.member_added"]);
    });

    it("is none by a connection that is nobody's, whatever it says (T-96)", async () => {
      const { slug } = await anOrganization();
      const claims = { organization: slug, organizations: [slug], org_id: slug };
      const user = userOf(await arrive(await aProvider(), somebody({ claims })));
      assert.deepEqual(await belongsTo(user.id), []);
    });

    it("gives the roles that its connection says inside it, and never everywhere (T-96)", async () => {
      const organization = await anOrganization();
      const { slug: role } = await createRole(database.knex, { slug: named("r") });
      const provider = await providerOf(organization, { roleMapping: { [role]: "admin" } });
      const identity = somebody({ claims: { roles: ["admin"] } });
      const user = userOf(await arrive(provider, identity));
      assert.deepEqual((await belongsTo(user.id))[0]?.roles, [role]);
      assert.deepEqual(await Role.heldBy(database.knex, user.id), []);
      await arrive(provider, { ...identity, claims: {} });
      assert.deepEqual((await belongsTo(user.id))[0]?.roles, []);
    });

    it("has what a connection gave before everywhere taken back at the next sign-in", async () => {
      const organization = await anOrganization();
      const { slug: role } = await createRole(database.knex, { slug: named("r") });
      const provider = await aProvider({ roleMapping: { [role]: "admin" } });
      const identity = somebody({ claims: { roles: ["admin"] } });
      const user = userOf(await arrive(provider, identity));
      assert.equal((await Role.heldBy(database.knex, user.id)).length, 1);
      const { id: organizationId } = organization;
      const owned = await provider.$query(database.knex).patchAndFetch({ organizationId });
      await arrive(owned, identity);
      assert.deepEqual(await Role.heldBy(database.knex, user.id), []);
      assert.deepEqual((await belongsTo(user.id))[0]?.roles, [role]);
    });

    it("goes with the identity, where it is not by hand; and stays with another of theirs", async () => {
      const organization = await anOrganization();
      const { knex } = database;
      const [first, second] = [await providerOf(organization), await providerOf(organization)];
      const user = userOf(await arrive(first, somebody()));
      const unlink = async ({ id: providerId }: IdentityProvider) =>
        Identity.query(knex).delete().where({ userId: user.id, providerId });
      await link(user.id, second, somebody());
      await unlink(first);
      assert.equal((await belongsTo(user.id)).length, 1);
      await unlink(second);
      assert.equal((await belongsTo(user.id)).length, 0);
      await link(user.id, first, somebody());
      await addToOrganization(knex, organization.slug, user.id);
      await link(user.id, second, somebody());
      for (const provider of [first, second]) await unlink(provider);
      assert.equal((await belongsTo(user.id)).length, 1);
    });

    it("is not left by hand while a connection says so", async () => {
      const organization = await anOrganization();
      const user = userOf(await arrive(await providerOf(organization), somebody()));
      const { slug } = organization;
      assert.equal(await removeFromOrganization(database.knex, slug, user.id), false);
      assert.equal((await belongsTo(user.id)).length, 1);
    });
  });

  describe("their tokens", () => {
    const tokens = { accessToken: "at-1", refreshToken: "rt-1", scopes: ["mail"] };
    const kept = async (provider: IdentityProvider) =>
      IdentityToken.query(database.knex).whereIn(
        "identityId",
        Identity.query(database.knex).select("id").where({ providerId: provider.id }),
      );

    it("are kept only where the connection keeps access, and sealed", async () => {
      const [off, on] = [await aProvider(), await aProvider({ keepAccess: true })];
      for (const provider of [off, on]) await arrive(provider, somebody({ tokens }));
      assert.deepEqual(await kept(off), []);
      const [row] = await kept(on);
      assert.ok(row !== undefined && !row.accessTokenEnc.includes("at-1"));
      const place = { table: "identity_tokens", column: "access_token_enc", id: row.identityId };
      assert.equal(seal.decrypt(row.accessTokenEnc, place).toString(), "at-1");
    });

    it("go at the next sign-in where it no longer does; without a new refresh token the old one stays", async () => {
      const provider = await aProvider({ keepAccess: true });
      const identity = somebody({ tokens });
      await arrive(provider, identity);
      await arrive(provider, { ...identity, tokens: { accessToken: "at-2", scopes: [] } });
      const [row] = await kept(provider);
      assert.ok(row?.refreshTokenEnc);
      await IdentityProvider.query(database.knex)
        .findById(provider.id)
        .patch({ keepAccess: false });
      await arrive(provider, identity);
      assert.deepEqual(await kept(provider), []);
    });
  });

  describe("linking by hand", () => {
    it("joins what was proven on both sides, tells the person, and is done once", async () => {
      const provider = await aProvider();
      const ada = await aPerson(address());
      const identity = somebody();
      const first = await link(ada.id, provider, identity);
      const second = await link(ada.id, provider, identity);
      assert.equal(first.id, second.id);
      assert.equal(userOf(await arrive(provider, identity)).id, ada.id);
      assert.deepEqual(await mailsTo(ada.id), ["identity_linked"]);
    });

    it("never moves an identity that is somebody else's", async () => {
      const provider = await aProvider();
      const identity = somebody();
      const owner = userOf(await arrive(provider, identity));
      const eve = await aPerson(address("eve"));
      await assert.rejects(link(eve.id, provider, identity), { code: "identity_taken" });
      assert.equal(userOf(await arrive(provider, identity)).id, owner.id);
    });

    it("by two people at once gives it to one of them", async () => {
      const provider = await aProvider();
      const identity = somebody();
      const people = await Promise.all([aPerson(address()), aPerson(address())]);
      const results = await Promise.allSettled(
        people.map(({ id }) => link(id, provider, identity)),
      );
      assert.deepEqual(results.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
    });

    it("is not for connections whose people have accounts of their own, nor for disabled accounts", async () => {
      const ada = await aPerson(address());
      const isolated = await aProvider({ linkingPolicy: "isolated" });
      await assert.rejects(link(ada.id, isolated, somebody()), { code: "bad_request" });
      await disableUser(database.knex, ada.id, {}, new Date());
      await assert.rejects(link(ada.id, await aProvider(), somebody()), { code: "bad_request" });
    });
  });
});
