import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Knex } from "knex";
import { compactVerify, CompactSign, importJWK } from "jose";
import { connect } from "../../src/database/connect.ts";
import { ensureKeys, loadKeys } from "../../src/keys/keystore.ts";
import {
  advance,
  DEFAULT_LEAD,
  DEFAULT_RETIRE,
  keepKeysFresh,
  rotate,
} from "../../src/keys/rotation.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { SigningKey } from "../../src/models/signing-key.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const START = new Date("2026-03-01T12:00:00Z");
const DAY = 86_400_000;
const later = (ms: number): Date => new Date(START.getTime() + ms);

describe("signing keys", function () {
  this.timeout(20_000);
  let database: TestDatabase;
  let other: Knex;
  let seal: Seal;

  beforeEach(async () => {
    database = await testDatabase();
    other = connect({ url: database.url, applicationName: "lintel-test" });
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  afterEach(async () => {
    await other.destroy();
    await database.drop();
  });

  /** How many keys of each algorithm are in a state. */
  async function states(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const key of await SigningKey.query(database.knex)) {
      const name = `${key.alg} ${key.state}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  }

  /** The key ids in the order the engine sees them, the signing one first. */
  async function order(alg: string): Promise<(string | undefined)[]> {
    const { signing } = await loadKeys(database.knex, seal);
    return signing.filter((key) => key.alg === alg).map((key) => key.kid);
  }

  it("are one ES256 and one RS256 key after any number of first starts at once (OIDC Core §15.1)", async () => {
    const made = await Promise.all(
      [database.knex, other, database.knex, other].map((db) => ensureKeys(db, seal, START)),
    );
    assert.equal(made.flat().length, 2);
    assert.deepEqual(await states(), { "ES256 active": 1, "RS256 active": 1 });
    const sets = await Promise.all([database.knex, other].map((db) => loadKeys(db, seal)));
    assert.deepEqual(sets[0], sets[1]);
  });

  it("sign what their published half verifies, and keep the private half sealed (T-32)", async () => {
    await ensureKeys(database.knex, seal, START);
    for (const jwk of (await loadKeys(database.knex, seal)).signing) {
      const alg = jwk.alg ?? "";
      const row = await SigningKey.query(database.knex)
        .findById(jwk.kid ?? "")
        .throwIfNotFound();
      const signed = await new CompactSign(Buffer.from("hello"))
        .setProtectedHeader({ alg })
        .sign(await importJWK(jwk));
      await compactVerify(signed, await importJWK(row.publicJwk));
      assert.equal(row.publicJwk.use, "sig");
      assert.ok(!("d" in row.publicJwk));
      assert.ok(jwk.d !== undefined && !row.privateEnc.includes(jwk.d));
    }
  });

  it("do not load when a private half was copied to another row (T-32)", async () => {
    await ensureKeys(database.knex, seal, START);
    const [one, two] = await SigningKey.query(database.knex);
    assert.ok(one && two);
    await one.$query(database.knex).patch({ privateEnc: two.privateEnc });
    await assert.rejects(loadKeys(database.knex, seal));
  });

  it("are published before they sign, and after they signed (T-31)", async () => {
    await ensureKeys(database.knex, seal, START);
    const [first] = await order("ES256");
    const { created } = await rotate(database.knex, seal, START);
    assert.equal(created.length, 2);
    const [, second] = await order("ES256");
    assert.deepEqual(await order("ES256"), [first, second]);
    assert.ok(created.includes(second ?? ""));

    const before = await loadKeys(database.knex, seal);
    assert.deepEqual(await advance(database.knex, later(DEFAULT_LEAD - 1)), {
      created: [],
      activated: [],
      retired: [],
    });
    assert.equal((await loadKeys(database.knex, seal)).version, before.version);

    assert.equal((await advance(database.knex, later(DEFAULT_LEAD))).activated.length, 2);
    assert.deepEqual(await order("ES256"), [second, first]);
    assert.notEqual((await loadKeys(database.knex, seal)).version, before.version);

    await advance(database.knex, later(DEFAULT_LEAD + DEFAULT_RETIRE - 1));
    assert.deepEqual(await order("ES256"), [second, first]);
    const { retired } = await advance(database.knex, later(DEFAULT_LEAD + DEFAULT_RETIRE));
    assert.equal(retired.length, 2);
    assert.deepEqual(await order("ES256"), [second]);
    const gone = await SigningKey.query(database.knex)
      .findById(first ?? "")
      .throwIfNotFound();
    assert.equal(gone.privateEnc.length, 0);
  });

  it("get one successor each when rotated on every node at once, which takes over once", async () => {
    await ensureKeys(database.knex, seal, START);
    const nodes = [database.knex, other, database.knex, other];
    const rotations = await Promise.all(nodes.map((db) => rotate(db, seal, later(DAY))));
    assert.equal(rotations.flatMap((changes) => changes.created).length, 2);
    assert.deepEqual(await states(), {
      "ES256 active": 1,
      "ES256 pending": 1,
      "RS256 active": 1,
      "RS256 pending": 1,
    });

    const advances = await Promise.all(nodes.map((db) => advance(db, later(2 * DAY))));
    assert.equal(advances.flatMap((changes) => changes.activated).length, 2);
    assert.deepEqual(await states(), {
      "ES256 active": 1,
      "ES256 retiring": 1,
      "RS256 active": 1,
      "RS256 retiring": 1,
    });
  });

  it("that leaked are replaced and withdrawn at once", async () => {
    await ensureKeys(database.knex, seal, START);
    const [leaked] = await order("RS256");
    const changes = await rotate(database.knex, seal, later(1000), { lead: 0, retire: 0 });
    assert.deepEqual([...changes.created].sort(), [...changes.activated].sort());
    assert.ok(changes.retired.includes(leaked ?? ""));
    assert.deepEqual(await states(), {
      "ES256 active": 1,
      "ES256 retired": 1,
      "RS256 active": 1,
      "RS256 retired": 1,
    });
  });

  it("bring a waiting successor forward instead of making a second one", async () => {
    await ensureKeys(database.knex, seal, START);
    const { created } = await rotate(database.knex, seal, START);
    const { created: more, activated } = await rotate(database.knex, seal, later(1000), {
      lead: 0,
    });
    assert.deepEqual(more, []);
    assert.deepEqual([...activated].sort(), [...created].sort());
  });

  it("stay published as long as planned when the change was carried out late", async () => {
    await ensureKeys(database.knex, seal, START);
    await rotate(database.knex, seal, START, { retire: 2 * DAY });
    await advance(database.knex, later(10 * DAY));
    assert.deepEqual(await states(), {
      "ES256 active": 1,
      "ES256 retiring": 1,
      "RS256 active": 1,
      "RS256 retiring": 1,
    });
    assert.equal((await advance(database.knex, later(12 * DAY))).retired.length, 2);
  });

  it("get a successor by themselves after 90 days, and only one", async () => {
    await ensureKeys(database.knex, seal, START);
    assert.deepEqual((await keepKeysFresh(database.knex, seal, later(90 * DAY - 1))).created, []);
    const runs = await Promise.all(
      [database.knex, other].map((db) => keepKeysFresh(db, seal, later(90 * DAY))),
    );
    assert.equal(runs.flatMap((changes) => changes.created).length, 2);
    assert.equal((await keepKeysFresh(database.knex, seal, later(91 * DAY))).activated.length, 2);
    assert.deepEqual((await keepKeysFresh(database.knex, seal, later(92 * DAY))).created, []);
  });

  it("tell every node when they change, and not when they do not", async () => {
    await ensureKeys(database.knex, seal, START);
    const heard: string[] = [];
    const connection = await other.client.acquireConnection();
    connection.on("notification", (message: { channel: string }) => heard.push(message.channel));
    await connection.query("LISTEN lintel_keys");
    try {
      await rotate(database.knex, seal, START);
      await advance(database.knex, START);
      await connection.query("SELECT 1");
      assert.deepEqual(heard, ["lintel_keys"]);
      await advance(database.knex, later(DEFAULT_LEAD));
      await connection.query("SELECT 1");
      assert.deepEqual(heard, ["lintel_keys", "lintel_keys"]);
    } finally {
      connection.removeAllListeners("notification");
      await other.client.releaseConnection(connection);
    }
  });

  it("change with the caller’s transaction or not at all", async () => {
    await ensureKeys(database.knex, seal, START);
    const { version } = await loadKeys(database.knex, seal);
    const trx = await database.knex.transaction();
    await rotate(trx, seal, START, { lead: 0 });
    await trx.rollback();
    assert.equal((await loadKeys(database.knex, seal)).version, version);
  });
});
