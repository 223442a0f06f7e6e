import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import { runInUnitOfWork, writer } from "../../src/database/transaction.ts";
import { openSeal } from "../../src/keys/seal.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { ClientCache } from "../../src/oidc/client-cache.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aClient } from "../support/server.ts";

describe("the cache of clients", () => {
  let database: TestDatabase;
  /** A pool in which a second connection would never come. */
  let knex: Knex;
  let cache: ClientCache;
  let clientId: string;

  before(async () => {
    database = await testDatabase();
    knex = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    const seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
    cache = new ClientCache(knex, seal);
    ({ clientId } = await aClient({ database }));
  });
  after(async () => {
    await knex.destroy();
    await database.drop();
  });
  beforeEach(() => cache.clear());

  it("asks within the transaction of whoever asks", async () => {
    const found = await runInUnitOfWork(knex, async () => {
      await writer(knex);
      return cache.find("", clientId);
    });
    assert.equal(found?.client_id, clientId);
  });

  it("lets nobody wait for another's look-up, who may be waiting for their connection", async () => {
    const [opened, asked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const within = runInUnitOfWork(knex, async () => {
      await writer(knex);
      opened.resolve();
      await asked.promise;
      return cache.find("", clientId);
    });
    await opened.promise;
    const waiting = cache.find("", clientId);
    asked.resolve();
    assert.equal((await within)?.client_id, clientId);
    assert.equal((await waiting)?.client_id, clientId);
  });

  it("forgets what a transaction saw that never was", async () => {
    const renamed = new Error("undone");
    await assert.rejects(
      runInUnitOfWork(knex, async () => {
        const db = await writer(knex);
        await OAuthClient.query(db).where({ clientId }).patch({ name: "Another" });
        assert.equal((await cache.find("", clientId))?.client_name, "Another");
        throw renamed;
      }),
      renamed,
    );
    assert.equal((await cache.find("", clientId))?.client_name, "Acme Photos");
  });

  it("does not keep what was being read when it changed", async () => {
    const before = cache.find("", clientId);
    cache.clear();
    await before;
    await OAuthClient.query(database.knex).where({ clientId }).patch({ name: "Acme Films" });
    assert.equal((await cache.find("", clientId))?.client_name, "Acme Films");
  });

  it("gives a client that did not change as the same object, and one that did as another", async () => {
    const before = await cache.find("", clientId);
    cache.clear();
    assert.equal(await cache.find("", clientId), before);
    await OAuthClient.query(database.knex).where({ clientId }).patch({ name: "Acme Books" });
    cache.clear();
    assert.notEqual(await cache.find("", clientId), before);
  });
});
