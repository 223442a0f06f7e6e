import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { AppError } from "../../src/errors.ts";
import { openSeal, type Place, type Seal } from "../../src/keys/seal.ts";
import { DataKey } from "../../src/models/data-key.ts";
import { connect } from "../../src/database/connect.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

describe("the seal", () => {
  const encryptionKey = randomBytes(32);
  const place: Place = { table: "sessions", column: "cookie_enc", id: "a" };
  let database: TestDatabase;
  let seal: Seal;

  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey });
  });
  after(() => database.drop());

  it("opens what it closed, and closes the same text differently each time", () => {
    const [one, two] = [seal.encrypt("märchen", place), seal.encrypt("märchen", place)];
    assert.equal(seal.decrypt(one, place).toString(), "märchen");
    assert.equal(seal.decrypt(two, place).toString(), "märchen");
    assert.notDeepEqual(one, two);
    assert.ok(!one.includes("märchen"));
  });

  it("seals bytes and the empty text", () => {
    const bytes = randomBytes(4096);
    assert.deepEqual(seal.decrypt(seal.encrypt(bytes, place), place), bytes);
    assert.equal(seal.decrypt(seal.encrypt("", place), place).length, 0);
  });

  it("does not open a value moved to another row, column or table (T-32)", () => {
    const blob = seal.encrypt("secret", place);
    for (const elsewhere of [{ id: "b" }, { column: "state" }, { table: "users" }])
      assert.throws(() => seal.decrypt(blob, { ...place, ...elsewhere }));
  });

  it("does not open a value with any byte changed or cut off", () => {
    const blob = seal.encrypt("secret", place);
    for (let index = 0; index < blob.length; index += 1) {
      const altered = Buffer.from(blob);
      altered[index] = (altered[index] ?? 0) ^ 1;
      assert.throws(() => seal.decrypt(altered, place), `byte ${index}`);
      assert.throws(() => seal.decrypt(blob.subarray(0, index), place), `length ${index}`);
    }
  });

  it("derives the same secret for a purpose at every start, and another for another purpose", async () => {
    const again = await openSeal(database.knex, { encryptionKey });
    assert.deepEqual(again.derive("cookies"), seal.derive("cookies"));
    assert.notDeepEqual(seal.derive("cookies"), seal.derive("throttle"));
    assert.equal(seal.derive("nonce", 64).length, 64);
    assert.equal(again.decrypt(seal.encrypt("x", place), place).toString(), "x");
  });

  it("refuses a key that the database was not made with, and says what to do (T-32)", async () => {
    await assert.rejects(openSeal(database.knex, { encryptionKey: randomBytes(32) }), (error) => {
      assert.ok(error instanceof AppError);
      assert.equal(error.code, "wrong_encryption_key");
      assert.match(error.message, /Set ENCRYPTION_KEY to the key this database was created with/);
      return true;
    });
  });

  it("refuses a data key that was tampered with or put under another id", async () => {
    const row = await DataKey.query(database.knex).findOne({ purpose: "app" }).throwIfNotFound();
    const altered = Buffer.from(row.wrappedDek);
    altered[20] = (altered[20] ?? 0) ^ 1;
    await row.$query(database.knex).patch({ wrappedDek: altered });
    await assert.rejects(openSeal(database.knex, { encryptionKey }), {
      code: "wrong_encryption_key",
    });
    await row
      .$query(database.knex)
      .patch({ wrappedDek: row.wrappedDek, id: "01900000-0000-7000-8000-000000000000" });
    await assert.rejects(openSeal(database.knex, { encryptionKey }), {
      code: "wrong_encryption_key",
    });
  });
});

describe("the first start on an empty database", () => {
  it("ends with one data key however many nodes start together", async () => {
    const database = await testDatabase();
    const other = connect({ url: database.url, applicationName: "lintel-test" });
    try {
      const encryptionKey = randomBytes(32);
      const seals = await Promise.all(
        Array.from({ length: 12 }, (_, index) =>
          openSeal(index % 2 === 0 ? database.knex : other, { encryptionKey }),
        ),
      );
      assert.equal(await DataKey.query(database.knex).resultSize(), 1);
      assert.equal(new Set(seals.map((seal) => seal.derive("x").toString("hex"))).size, 1);
    } finally {
      await other.destroy();
      await database.drop();
    }
  });
});
