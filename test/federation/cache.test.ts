import assert from "node:assert/strict";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import { runInUnitOfWork, writer } from "../../src/database/transaction.ts";
import { ConnectionCache } from "../../src/federation/cache.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

describe("the cache of connections", () => {
  let database: TestDatabase;
  /** A pool in which a second connection would never come. */
  let knex: Knex;
  let cache: ConnectionCache;

  before(async () => {
    database = await testDatabase();
    knex = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    cache = new ConnectionCache(knex);
  });
  after(async () => {
    await knex.destroy();
    await database.drop();
  });
  beforeEach(async () => {
    await IdentityProvider.query(database.knex).delete();
    cache.clear();
  });

  const aProvider = (slug: string, more: Partial<IdentityProvider> = {}) =>
    IdentityProvider.query(database.knex).insertAndFetch({
      slug,
      kind: "oidc",
      name: slug,
      clientId: "lintel",
      issuer: `https://${slug}.example`,
      ...more,
    });
  const slugs = async (issuer: string) => (await cache.connections(issuer)).map(({ slug }) => slug);

  it("lists those of an issuer as its pages show them, without those that are disabled", async () => {
    await aProvider("zeta", { displayOrder: 1 });
    await aProvider("beta");
    await aProvider("alpha");
    await aProvider("off", { enabled: false });
    await aProvider("theirs", { atIssuer: "partner" });
    assert.deepEqual(await slugs(""), ["zeta", "alpha", "beta"]);
    assert.deepEqual(await slugs("partner"), ["theirs"]);
  });

  it("does not know a connection of another issuer, nor one that is disabled", async () => {
    await aProvider("acme", { atIssuer: "partner" });
    await aProvider("off", { enabled: false });
    assert.equal((await cache.find("acme", "partner"))?.slug, "acme");
    assert.equal(await cache.find("acme", ""), undefined);
    assert.equal(await cache.find("off", ""), undefined);
  });

  it("asks within the transaction of whoever asks, and keeps nothing of it", async () => {
    const undone = new Error("undone");
    await assert.rejects(
      runInUnitOfWork(knex, async () => {
        const db = await writer(knex);
        await IdentityProvider.query(db).insert({
          slug: "never",
          kind: "oauth2",
          name: "Never",
          clientId: "lintel",
        });
        assert.deepEqual(await slugs(""), ["never"]);
        throw undone;
      }),
      undone,
    );
    assert.deepEqual(await slugs(""), []);
  });

  it("does not keep what was being read when it changed", async () => {
    const before = cache.connections("");
    cache.clear();
    await before;
    await aProvider("acme");
    assert.deepEqual(await slugs(""), ["acme"]);
  });
});
