import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { findByIdentifier, readIdentifier } from "../../src/authn/identifier.ts";
import { makeLetter, openLink } from "../../src/authn/letters.ts";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Session } from "../../src/models/session.ts";
import { SsoDomain } from "../../src/models/sso-domain.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { findUserWithClaims } from "../../src/users/claims.ts";
import {
  addEmail,
  emailsOf,
  makePrimary,
  removeEmail,
  restoreEmail,
  verifyEmail,
} from "../../src/users/emails.ts";
import {
  acceptInvitation,
  createInvitation,
  findInvitation,
  listInvitations,
  revokeInvitation,
} from "../../src/users/invitations.ts";
import { setPassword } from "../../src/users/passwords.ts";
import { createUser } from "../../src/users/users.ts";
import { testDatabase, testLog, type TestDatabase } from "../support/database.ts";

const HOUR = 60 * 60_000;

describe("addresses and passwords that people change", () => {
  let database: TestDatabase;
  let seal: Seal;
  let serial = 0;

  before(async () => {
    database = await testDatabase();
    await migrateJobs(database.url, testLog);
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  after(() => database.drop());

  const named = (name: string) => `${name}-${(serial += 1)}@example.com`;
  const aPerson = async (changes: { email?: string; verified?: boolean } = {}) => {
    const email = changes.email ?? named("ada");
    const user = await createUser(
      database.knex,
      { email, verified: changes.verified ?? true, via: "admin", passwordHash: "$x$" },
      new Date(Date.now() - 30 * 24 * HOUR),
    );
    return { id: user.id, email, by: { actor: { type: "user", id: user.id } as const } };
  };
  type Person = Awaited<ReturnType<typeof aPerson>>;
  const add = (person: Person, typed: string, now = new Date()) =>
    addEmail(database.knex, { userId: person.id, typed, by: person.by }, now);
  const verify = (person: Person, emailId: string) =>
    verifyEmail(database.knex, { userId: person.id, emailId, by: person.by }, new Date());
  const promote = (person: Person, emailId: string) =>
    makePrimary(database.knex, { userId: person.id, emailId, by: person.by }, new Date());
  const shown = async ({ id }: Person) =>
    (await emailsOf(database.knex, id)).map(
      ({ email, isPrimary, verifiedAt }) =>
        `${email}${isPrimary ? " primary" : ""}${verifiedAt === null ? "" : " verified"}`,
    );
  const whoIs = async (email: string) =>
    (await findByIdentifier(database.knex, readIdentifier(email)))?.user.id;
  const aSession = async (userId: string) => {
    const uid = randomBytes(16).toString("hex");
    await Session.query(database.knex).insert({
      uid,
      cookieHash: randomBytes(32),
      userId,
      expiresAt: new Date(Date.now() + HOUR),
      gcOn: "2030-01-01",
    });
    return uid;
  };
  const isLive = async (uid: string) =>
    (await Session.query(database.knex).findById(uid).throwIfNotFound()).endedAt === null;

  it("name nobody before they are proven (T-67)", async () => {
    const ada = await aPerson();
    const pending = named("pending");
    const { id } = await add(ada, pending);
    assert.equal(await whoIs(pending), undefined);
    await assert.rejects(promote(ada, id), { code: "bad_request" });
    assert.equal(await verify(ada, id), true);
    assert.equal(await whoIs(pending), ada.id);
  });

  it("are all there where claims are made of them, the primary one first among them", async () => {
    const ada = await aPerson();
    const { id } = await add(ada, named("second"));
    await verify(ada, id);
    await promote(ada, id);
    const user = await findUserWithClaims(database.knex, ada.id);
    assert.equal(user?.emails?.length, 2);
    assert.equal(user?.primaryEmail?.id, id);
  });

  it("belong to the first who proves them, whoever claimed them first", async () => {
    const [squatter, owner] = [await aPerson(), await aPerson()];
    const wanted = named("wanted");
    const claimed = await add(squatter, wanted);
    const own = await add(owner, wanted.toUpperCase());
    assert.equal(await verify(owner, own.id), true);
    await assert.rejects(verify(squatter, claimed.id), { code: "email_taken" });
    assert.equal(await whoIs(wanted), owner.id);
  });

  it("are proven once by two who do so at the same time", async () => {
    const people = await Promise.all([aPerson(), aPerson()]);
    const wanted = named("raced");
    const rows = await Promise.all(people.map((person) => add(person, wanted)));
    const results = await Promise.allSettled(
      people.map((person, index) => verify(person, rows[index]?.id ?? "")),
    );
    assert.deepEqual(results.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  });

  it("are one's own: nobody verifies, promotes or removes another person's", async () => {
    const [ada, eve] = [await aPerson(), await aPerson()];
    const { id } = await add(ada, named("own"));
    assert.equal(await verify(eve, id), false);
    await assert.rejects(promote(eve, id));
    const removed = await removeEmail(
      database.knex,
      { userId: eve.id, emailId: id, by: eve.by },
      new Date(),
    );
    assert.equal(removed, undefined);
    assert.equal((await shown(ada)).length, 2);
  });

  it("stay ten at most, and the primary one stays", async () => {
    const ada = await aPerson();
    for (let n = 0; n < 9; n += 1) await add(ada, named("more"));
    await assert.rejects(add(ada, named("one-too-many")), { code: "bad_request" });
    const [primary] = await emailsOf(database.knex, ada.id);
    const change = { userId: ada.id, emailId: primary?.id ?? "", by: ada.by };
    await assert.rejects(removeEmail(database.knex, change, new Date()), { code: "bad_request" });
  });

  it("stay, and stay primary, where an organization signs its people in by them", async () => {
    const domain = `corp-${(serial += 1)}.example`;
    const { knex } = database;
    const { id: providerId } = await IdentityProvider.query(knex).insertAndFetch({
      slug: "corp",
      kind: "oidc",
      name: "Corp",
      clientId: "lintel",
      issuer: "https://idp.example",
      atIssuer: "elsewhere",
    });
    await SsoDomain.query(knex).insert({
      domain,
      providerId,
      dnsChallenge: "x",
      verifiedAt: new Date(),
      enforceSso: true,
    });
    const ada = await aPerson({ email: `ada@${domain}` });
    const [own, other, unproven] = [
      (await emailsOf(knex, ada.id))[0]?.id ?? "",
      await add(ada, named("private")),
      await add(ada, `unproven@${domain}`),
    ];
    await verify(ada, other.id);
    const remove = (emailId: string) =>
      removeEmail(knex, { userId: ada.id, emailId, by: ada.by }, new Date());
    await assert.rejects(promote(ada, other.id), { code: "email_enforced" });
    const eve = await aPerson();
    const second = await add(eve, `eve@${domain}`);
    await verify(eve, second.id);
    await assert.rejects(
      removeEmail(knex, { userId: eve.id, emailId: second.id, by: eve.by }, new Date()),
      { code: "email_enforced" },
    );
    assert.equal((await remove(unproven.id))?.id, unproven.id);
    await IdentityProvider.query(knex).findById(providerId).patch({ enabled: false });
    assert.equal((await promote(ada, other.id))?.id, own);
    assert.equal((await remove(own))?.id, own);
  });

  it("void links to reset the password when the primary one changes or one goes (T-65)", async () => {
    const ada = await aPerson();
    const { id } = await add(ada, named("new"));
    await verify(ada, id);
    const context = { to: ada.email, locale: "en", issuer: "https://idp.example" };
    const aLink = async () => {
      const made = await makeLetter(
        database.knex,
        seal,
        { purpose: "reset_password", userId: ada.id, context },
        new Date(),
      );
      return made.secrets.secret;
    };
    const stateOf = async (secret: string) =>
      (await openLink(database.knex, "reset_password", secret, new Date()))?.state;
    let link = await aLink();
    const before = await promote(ada, id);
    assert.equal(before?.email, ada.email);
    assert.equal(await stateOf(link), "over");
    link = await aLink();
    await setPassword(
      database.knex,
      { userId: ada.id, hash: "$y$", via: "change", signOutOthers: false },
      new Date(),
    );
    assert.equal(await stateOf(link), "over");
    link = await aLink();
    await removeEmail(
      database.knex,
      { userId: ada.id, emailId: before?.id ?? "", by: ada.by },
      new Date(),
    );
    assert.equal(await stateOf(link), "over");
  });

  it("come back by an undo, with sessions ended, later addresses gone and the password void (T-67)", async () => {
    const ada = await aPerson();
    const since = new Date(Date.now() - HOUR);
    const thief = await add(ada, named("thief"), new Date());
    const second = await add(ada, named("back-door"), new Date());
    await verify(ada, thief.id);
    await verify(ada, second.id);
    const old = await promote(ada, thief.id);
    // The thief also takes the old address away.
    await removeEmail(
      database.knex,
      { userId: ada.id, emailId: old?.id ?? "", by: ada.by },
      new Date(),
    );
    const { id: providerId } = await IdentityProvider.query(database.knex).insertAndFetch({
      slug: "upstream",
      kind: "oidc",
      name: "Upstream",
      clientId: "x",
      issuer: "https://upstream.example",
    });
    const identity = { userId: ada.id, providerId, issuer: "x", linkedVia: "user" } as const;
    const before = new Date(since.getTime() - HOUR);
    await Identity.query(database.knex).insert({ ...identity, subject: "hers", createdAt: before });
    await Identity.query(database.knex).insert({ ...identity, subject: "the thief's" });
    const session = await aSession(ada.id);
    const restore = { userId: ada.id, email: ada.email, since, by: ada.by };
    assert.equal(await restoreEmail(database.knex, restore, new Date()), true);
    assert.deepEqual(await shown(ada), [`${ada.email} primary verified`]);
    assert.equal(await isLive(session), false);
    assert.equal(await UserPassword.query(database.knex).findById(ada.id), undefined);
    assert.equal(await whoIs(second.email), undefined);
    const left = await Identity.query(database.knex).where({ userId: ada.id });
    assert.deepEqual(
      left.map(({ subject }) => subject),
      ["hers"],
    );
  });

  it("do not come back to one who gave them up where somebody else has proven them", async () => {
    const [ada, bob] = [await aPerson(), await aPerson()];
    const next = await add(ada, named("next"));
    await verify(ada, next.id);
    const old = await promote(ada, next.id);
    await removeEmail(
      database.knex,
      { userId: ada.id, emailId: old?.id ?? "", by: ada.by },
      new Date(),
    );
    await verify(bob, (await add(bob, ada.email)).id);
    const restore = { userId: ada.id, email: ada.email, since: new Date(0), by: ada.by };
    assert.equal(await restoreEmail(database.knex, restore, new Date()), false);
    assert.equal(await whoIs(ada.email), bob.id);
  });

  it("leave one session when a password changes and everything else is to end", async () => {
    const ada = await aPerson();
    const [here, elsewhere] = [await aSession(ada.id), await aSession(ada.id)];
    await setPassword(
      database.knex,
      { userId: ada.id, hash: "$z$", via: "change", signOutOthers: true, keepSession: here },
      new Date(),
    );
    assert.deepEqual([await isLive(here), await isLive(elsewhere)], [true, false]);
    const events = await AuditEvent.query(database.knex).where({ userId: ada.id });
    assert.ok(events.some(({ type }) => type === "password.changed"));
    await setPassword(
      database.knex,
      { userId: ada.id, hash: "$w$", via: "reset", signOutOthers: true },
      new Date(),
    );
    assert.equal(await isLive(here), false);
  });

  it("are invited once at a time, and an invitation is accepted once", async () => {
    const email = named("guest");
    const invite = () =>
      createInvitation(
        database.knex,
        seal,
        { email, context: { locale: "en", issuer: "https://idp.example" } },
        new Date(),
      );
    const first = await invite();
    const { invitation, secret } = await invite();
    assert.equal(
      await findInvitation(database.knex, first.invitation.letterId, new Date()),
      undefined,
    );
    const opened = await openLink(database.knex, "invitation", secret, new Date());
    assert.equal(opened?.letter.id, invitation.letterId);
    const guest = await aPerson({ email });
    const accepted = await Promise.all(
      [1, 2, 3].map(() => acceptInvitation(database.knex, invitation, guest.id, new Date())),
    );
    assert.equal(accepted.filter(Boolean).length, 1);
    await assert.rejects(invite(), { code: "email_taken" });
    await assert.rejects(revokeInvitation(database.knex, invitation.id, new Date()), {
      code: "unknown_invitation",
    });
    assert.equal((await listInvitations(database.knex)).length, 2);
  });
});
