import assert from "node:assert/strict";
import { EVENTS, type EventDetails } from "../../src/audit/events.ts";
import { record } from "../../src/audit/record.ts";
import { ensurePartitions } from "../../src/database/partitions.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

describe("the audit log", () => {
  let database: TestDatabase;
  before(async () => {
    database = await testDatabase();
    await ensurePartitions(database.knex, new Date());
  });
  after(() => database.drop());

  it("keeps who did what to whom, with the network and not the address", async () => {
    const [actor, userId, clientId] = [uuidv7(), uuidv7(), uuidv7()];
    await record(database.knex, {
      type: "consent.revoked",
      actor: { type: "admin", id: actor },
      userId,
      clientId,
      sessionUid: "session-uid-0123456789",
      target: { type: "consent", id: "7" },
      requestId: "r-1",
      ipPrefix: "192.0.2.0/24",
    });
    const row = await AuditEvent.query(database.knex).findOne({ userId }).throwIfNotFound();
    assert.equal(row.type, "consent.revoked");
    assert.equal(row.outcome, "success");
    assert.deepEqual([row.actorType, row.actorId, row.clientId], ["admin", actor, clientId]);
    assert.deepEqual([row.targetType, row.targetId, row.requestId], ["consent", "7", "r-1"]);
    assert.equal(row.ipPrefix, "192.0.2.0/24");
    assert.match(row.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    assert.deepEqual(row.details, {});
    assert.ok(Math.abs(row.occurredAt.getTime() - Date.now()) < 60_000);
  });

  it("takes a failure for a failure and a refusal for a refusal", async () => {
    await record(database.knex, {
      type: "login.failed",
      actor: { type: "anonymous" },
      details: { reason: "wrong" },
    });
    await record(database.knex, {
      type: "login.blocked",
      actor: { type: "anonymous" },
      details: { retryAfter: 60 },
    });
    const rows = await AuditEvent.query(database.knex)
      .where("type", "like", "login.%")
      .orderBy("type");
    assert.deepEqual(
      rows.map((row) => [row.type, row.outcome, row.details]),
      [
        ["login.blocked", "denied", { retryAfter: 60 }],
        ["login.failed", "failure", { reason: "wrong" }],
      ],
    );
  });

  it("refuses a detail that its type does not know, such as an address (T-118)", async () => {
    const details = { reason: "wrong", email: "ada@example.com" } as EventDetails<"login.failed">;
    await assert.rejects(
      record(database.knex, { type: "login.failed", actor: { type: "anonymous" }, details }),
      /events of type login\.failed have no detail email/,
    );
  });

  it("cuts long texts and keeps control characters out of harm (T-119)", async () => {
    const userId = uuidv7();
    const name = `evil\r\n{"type":"fake"}\u2028${"x".repeat(5000)}`;
    await record(database.knex, {
      type: "client.created",
      actor: { type: "system" },
      userId,
      details: { name },
    });
    const row = await AuditEvent.query(database.knex).findOne({ userId }).throwIfNotFound();
    assert.equal(row.details["name"], name.slice(0, 200));
  });

  it("forgets what is rolled back together with its change", async () => {
    const userId = uuidv7();
    const trx = await database.knex.transaction();
    await record(trx, { type: "user.disabled", actor: { type: "system" }, userId });
    await trx.rollback();
    assert.equal(await AuditEvent.query(database.knex).where({ userId }).resultSize(), 0);
  });

  it("has no type with a field for personal data", () => {
    const personal =
      /mail|phone|address|username|displayName|agent|^ip|password|token|code$|secret$/i;
    for (const [type, { details }] of Object.entries(EVENTS)) {
      assert.match(type, /^[a-z]+\.[a-z_]+$/);
      for (const field of details) assert.doesNotMatch(field, personal, `${type} ${field}`);
    }
  });
});
