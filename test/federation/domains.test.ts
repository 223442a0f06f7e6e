import type { Client } from "oidc-provider";
import assert from "node:assert/strict";
import { ConnectionCache } from "../../src/federation/cache.ts";
import {
  addDomain,
  enforceDomain,
  listDomains,
  peopleOf,
  proofOf,
  removeDomain,
  verifyDomain,
} from "../../src/federation/domains.ts";
import { txtRecords } from "../../src/federation/txt-records.ts";
import { homeRealm } from "../../src/interaction/home-realm.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { createUser } from "../../src/users/users.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aNameServer, type NameServer } from "../support/dns.ts";

const now = new Date();

describe("domains of connections", () => {
  let database: TestDatabase;
  let dns: NameServer;
  before(async () => {
    database = await testDatabase();
    dns = await aNameServer();
  });
  after(async () => {
    await dns.close();
    await database.drop();
  });
  beforeEach(async () => {
    dns.records.clear();
    dns.onQuestion = () => {};
    await IdentityProvider.query(database.knex).delete();
    for (const slug of ["acme", "other"])
      await IdentityProvider.query(database.knex).insert({
        slug,
        kind: "oauth2",
        name: slug,
        clientId: "lintel",
      });
  });

  const write = <T>(fn: (trx: Parameters<typeof addDomain>[0]) => Promise<T>) =>
    database.knex.transaction(fn);
  const add = (domain: string, slug = "acme") =>
    write((trx) => addDomain(trx, { slug, domain }, now));
  const verify = (domain: string, slug = "acme") =>
    verifyDomain(database.knex, { slug, domain }, txtRecords(dns.address), () => now);
  const enforce = (domain: string, enforced = true) =>
    write((trx) => enforceDomain(trx, { slug: "acme", domain, enforced }));
  const remove = (domain: string) => write((trx) => removeDomain(trx, { slug: "acme", domain }));
  const publish = (proof: { name: string; value: string }) =>
    dns.records.set(proof.name, [[proof.value]]);
  const realm = async (domain: string) =>
    homeRealm(
      await new ConnectionCache(database.knex).connections(""),
      {},
      { identifier: `ann@${domain}` },
      { client: {} as Client, user: undefined },
    );
  const routed = async (domain: string) => (await realm(domain))?.slug;
  const fails = (work: Promise<unknown>, code: string, message: RegExp) =>
    assert.rejects(work, { code, message });

  it("asks for a TXT record below the domain, with a random value", async () => {
    const [one, two] = [proofOf(await add("acme.example")), proofOf(await add("acme.test"))];
    assert.equal(one.name, "_lintel-challenge.acme.example");
    assert.match(one.value, /^lintel-domain-verification=[\w-]{43}$/);
    assert.notEqual(one.value, two.value);
  });

  it("believes a domain once DNS has the record, beside others, and however it is cut", async () => {
    const { name, value } = proofOf(await add("acme.example"));
    assert.equal(await routed("acme.example"), undefined);
    dns.records.set(name, [["v=spf1 -all"], [value.slice(0, 10), value.slice(10)]]);
    const verified = await verify("ACME.example");
    assert.deepEqual(verified.verifiedAt, now);
    assert.equal(await routed("acme.example"), "acme");
    assert.equal((await verify("acme.example")).id, verified.id, "once is enough");
  });

  it("says what DNS has instead, and believes nothing", async () => {
    const { name } = proofOf(await add("acme.example"));
    await fails(
      verify("acme.example"),
      "domain_not_proven",
      /no TXT record at _lintel-challenge\.acme\.example\. Publish .* lintel-domain-verification=/,
    );
    dns.records.set(name, [["lintel-domain-verification=x"]]);
    await fails(verify("acme.example"), "domain_not_proven", /other TXT records: lintel-domain/);
    dns.records.set(name, "broken");
    await fails(verify("acme.example"), "domain_not_proven", /No name server answered/);
    assert.equal(await routed("acme.example"), undefined);
  });

  it("takes no proof for another domain, a part of one, or another connection (T-93)", async () => {
    const { value } = proofOf(await add("acme.example"));
    await add("sub.acme.example");
    await add("acme.example", "other");
    publish({ name: "_lintel-challenge.sub.acme.example", value });
    publish({ name: "_lintel-challenge.acme.example", value: `${value}x` });
    await fails(verify("sub.acme.example"), "domain_not_proven", /other TXT records/);
    await fails(verify("acme.example"), "domain_not_proven", /other TXT records/);
    publish({ name: "_lintel-challenge.acme.example", value });
    await fails(verify("acme.example", "other"), "domain_not_proven", /other TXT records/);
    await verify("acme.example");
    assert.equal(await routed("sub.acme.example"), undefined, "a sub-domain is its own");
  });

  it("takes no proof of what was removed, or made again, while DNS was asked (T-93)", async () => {
    for (const again of [false, true]) {
      publish(proofOf(await add("acme.example")));
      dns.onQuestion = async () => {
        await remove("acme.example");
        if (again) await add("acme.example");
      };
      await fails(verify("acme.example"), "domain_not_proven", /was removed meanwhile/);
    }
    assert.equal((await listDomains(database.knex, "acme"))[0]?.verifiedAt, null);
  });

  it("gives a domain to one connection, whoever proves it first", async () => {
    const proofs = [
      proofOf(await add("acme.example")),
      proofOf(await add("acme.example", "other")),
    ];
    dns.records.set(
      "_lintel-challenge.acme.example",
      proofs.map(({ value }) => [value]),
    );
    await verify("acme.example");
    await fails(
      verify("acme.example", "other"),
      "domain_not_proven",
      /proven for another connection; remove it there first/,
    );
    assert.equal(await routed("acme.example"), "acme");
  });

  it("refuses domains whose addresses anybody can have, and says why", async () => {
    for (const domain of ["gmail.com", "Outlook.com", "web.de", "qq.com", "proton.me"])
      await fails(add(domain), "invalid_domain", /anybody can have an address at/);
  });

  it("refuses what is no domain", async () => {
    for (const domain of [
      "",
      "acme",
      "localhost",
      "192.0.2.1",
      "[::1]",
      "acme.example.",
      "acme..example",
      "https://acme.example",
      "ann@acme.example",
      "acme.example/x",
      "acme_.example",
      "-acme.example",
      "acme.e",
      "ａcme.example",
      `${"a".repeat(64)}.example`,
      `${"abc.".repeat(64)}example`,
    ])
      await fails(add(domain), "invalid_domain", /is no domain of e-mail addresses/);
  });

  it("has one form of a domain in any script", async () => {
    assert.equal((await add("MÜNCHEN.example")).domain, "xn--mnchen-3ya.example");
    await fails(add("xn--mnchen-3ya.example"), "invalid_domain", /is there already/);
    await fails(add("München.example"), "invalid_domain", /is there already/);
  });

  it("enforces only what is proven, and lets go again", async () => {
    publish(proofOf(await add("acme.example")));
    await fails(enforce("acme.example"), "domain_not_proven", /connection domain verify acme/);
    await verify("acme.example");
    assert.equal((await enforce("acme.example")).enforceSso, true);
    assert.equal((await realm("acme.example"))?.how, "forced");
    assert.equal((await enforce("acme.example", false)).enforceSso, false);
    assert.equal((await realm("acme.example"))?.how, "offered");
  });

  it("lets everybody in otherwise while its connection is disabled, which is a break-glass", async () => {
    publish(proofOf(await add("acme.example")));
    await verify("acme.example");
    await enforce("acme.example");
    await IdentityProvider.query(database.knex).where({ slug: "acme" }).patch({ enabled: false });
    assert.equal(await realm("acme.example"), undefined);
  });

  it("leads nobody anywhere once it is removed", async () => {
    publish(proofOf(await add("acme.example")));
    await verify("acme.example");
    await remove("acme.example");
    assert.equal(await routed("acme.example"), undefined);
    assert.deepEqual(await listDomains(database.knex, "acme"), []);
  });

  it("counts the people of a domain, and those whom its connection has not seen", async () => {
    const row = await add("acme.example");
    const person = (email: string) =>
      write((trx) => createUser(trx, { email, verified: true, via: "admin" }, now));
    const { id: userId } = await person("ann@acme.example");
    await person("bob@acme.example");
    await person("eve@sub.acme.example");
    const { id: providerId } = await IdentityProvider.query(database.knex)
      .findOne({ slug: "acme" })
      .throwIfNotFound();
    const identity = { userId, providerId, issuer: "x", linkedVia: "user" } as const;
    await Identity.query(database.knex).insert({ ...identity, subject: "1" });
    await Identity.query(database.knex).insert({ ...identity, subject: "2" });
    assert.deepEqual(await peopleOf(database.knex, row), { all: 2, strangers: 1 });
    await Identity.query(database.knex).delete();
  });

  it("knows no domain of a connection that is not there, nor one that was not added", async () => {
    await fails(add("acme.example", "nowhere"), "unknown_connection", /connection list/);
    await fails(verify("acme.example"), "unknown_domain", /connection domain list acme/);
    await fails(remove("acme.example"), "unknown_domain", /acme has no domain acme\.example/);
  });

  it("asks only name servers that have an address", () => {
    for (const server of ["dns.example", "300.1.1.1", "192.0.2.53:99999", ""])
      assert.throws(() => txtRecords(server), { code: "invalid_domain", message: /--dns-server/ });
  });

  it("records what happened to a domain", async () => {
    await AuditEvent.query(database.knex).delete();
    publish(proofOf(await add("acme.example")));
    await verify("acme.example");
    await enforce("acme.example");
    await remove("acme.example");
    const events = await AuditEvent.query(database.knex).orderBy("occurredAt");
    assert.deepEqual(
      events.map(({ type, details }) => [type, details]),
      [
        ["connection.domain_added", { slug: "acme", domain: "acme.example" }],
        ["connection.domain_verified", { slug: "acme", domain: "acme.example" }],
        ["connection.domain_enforced", { slug: "acme", domain: "acme.example", enforced: true }],
        ["connection.domain_removed", { slug: "acme", domain: "acme.example" }],
      ],
    );
  });
});
