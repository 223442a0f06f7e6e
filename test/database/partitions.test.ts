import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

import type { Knex } from "knex";

import {
  DEFAULT_RETENTION,
  dropExpiredPartitions,
  ensurePartitions,
} from "../../src/database/partitions.ts";
import { testDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const NOW = new Date("2030-12-31T23:30:00Z");
/** What production keeps for longer, so that the days of these tests are few. */
const RETENTION = { ...DEFAULT_RETENTION, oidc_artifacts: 2 * 3_600_000 };

describe("partitions", function () {
  this.timeout(20_000);
  let database: TestDatabase;
  let knex: Knex;

  beforeEach(async () => {
    database = await testDatabase({ empty: true });
    knex = database.knex;
    await knex.raw(`
      CREATE TABLE oidc_artifacts (id integer, expires_at timestamptz, PRIMARY KEY (id, expires_at))
        PARTITION BY RANGE (expires_at);
      CREATE TABLE oauth_authorizations (id integer, expires_at timestamptz, PRIMARY KEY (id, expires_at))
        PARTITION BY RANGE (expires_at);
      CREATE TABLE audit_events (id integer CHECK (id > 0), occurred_at timestamptz) PARTITION BY RANGE (occurred_at);
      CREATE INDEX ON audit_events (occurred_at);
    `);
  });

  afterEach(() => database.drop());

  async function attached(table: string): Promise<string[]> {
    return knex("pg_inherits")
      .join("pg_class", "pg_class.oid", "inhrelid")
      .whereRaw("inhparent = ?::regclass", [table])
      .orderBy("relname")
      .pluck("relname");
  }

  it("are days from yesterday on, and the months around now, in UTC", async () => {
    await ensurePartitions(knex, NOW, 2);
    assert.deepEqual(await attached("oidc_artifacts"), [
      "oidc_artifacts_p20301230",
      "oidc_artifacts_p20301231",
      "oidc_artifacts_p20310101",
      "oidc_artifacts_p20310102",
    ]);
    assert.deepEqual(await attached("audit_events"), [
      "audit_events_p203011",
      "audit_events_p203012",
      "audit_events_p203101",
    ]);
    await knex.raw("SET TIME ZONE 'America/New_York'");
    for (const instant of ["2030-12-30T00:00:00Z", "2031-01-02T23:59:59.999Z"]) {
      await knex("oidc_artifacts").insert({ id: 1, expires_at: instant });
      await knex("oauth_authorizations").insert({ id: 1, expires_at: instant });
    }
    await assert.rejects(
      async () => knex("oidc_artifacts").insert({ id: 1, expires_at: "2031-01-03T00:00:00Z" }),
      /no partition of relation/,
    );
  });

  it("share the keys, checks and indexes of their table", async () => {
    await ensurePartitions(knex, NOW);
    const row = { id: 1, expires_at: NOW };
    await knex("oidc_artifacts").insert(row);
    await assert.rejects(async () => knex("oidc_artifacts").insert(row), { code: "23505" });
    await assert.rejects(async () => knex("audit_events").insert({ id: 0, occurred_at: NOW }), {
      code: "23514",
    });
    const { rows } = await knex.raw<{ rows: { indexes: number; attached: number }[] }>(
      `SELECT count(*)::integer AS indexes, count(inhrelid)::integer AS attached
         FROM pg_index LEFT JOIN pg_inherits ON inhrelid = indexrelid
        WHERE indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit_events'::regclass)`,
    );
    assert.deepEqual(rows, [{ indexes: 3, attached: 3 }]);
  });

  it("are made once by processes that do it at the same moment", async () => {
    const made = await Promise.all(Array.from({ length: 6 }, () => ensurePartitions(knex, NOW)));
    const names = made.flat();
    assert.equal(names.length, 9 + 9 + 3);
    assert.equal(new Set(names).size, names.length);
  });

  it("are made and found without locking anybody out", async () => {
    const busy = await knex.transaction();
    await busy.raw(
      "LOCK TABLE oidc_artifacts, oauth_authorizations, audit_events IN ROW EXCLUSIVE MODE",
    );
    assert.equal((await ensurePartitions(knex, NOW)).length, 21);
    await busy.raw("LOCK TABLE oidc_artifacts IN ACCESS EXCLUSIVE MODE");
    assert.deepEqual(await ensurePartitions(knex, NOW), []);
    await busy.commit();
  });

  it("are dropped when the time to keep them after their end is over", async () => {
    await ensurePartitions(knex, NOW, 1);
    assert.deepEqual(
      await dropExpiredPartitions(knex, new Date("2030-12-31T01:59:59Z"), RETENTION),
      [],
    );

    assert.deepEqual(
      await dropExpiredPartitions(knex, new Date("2031-01-01T01:59:59Z"), RETENTION),
      ["oauth_authorizations_p20301230", "oidc_artifacts_p20301230"],
    );
    assert.deepEqual(
      await dropExpiredPartitions(knex, new Date("2031-01-01T02:00:00Z"), RETENTION),
      ["oidc_artifacts_p20301231"],
    );
    assert.deepEqual(
      await dropExpiredPartitions(knex, new Date("2031-01-02T00:00:00Z"), RETENTION),
      ["oauth_authorizations_p20301231"],
    );
    assert.deepEqual(await attached("oidc_artifacts"), ["oidc_artifacts_p20310101"]);
    assert.equal((await attached("audit_events")).length, 3);

    const later = new Date("2032-01-15T00:00:00Z");
    const dropped = await dropExpiredPartitions(knex, later, RETENTION);
    assert.ok(dropped.includes("audit_events_p203011"));
    assert.ok(!dropped.includes("audit_events_p203012"));
  });

  it("are dropped while requests go on, and an interrupted drop is finished by the next", async () => {
    await ensurePartitions(knex, NOW, 2);
    const later = new Date("2031-01-02T12:00:00Z");
    const request = await knex.transaction();
    await request("oidc_artifacts").select();

    const drop = dropExpiredPartitions(knex, later, RETENTION);
    drop.catch(() => undefined);
    await delay(200);
    assert.deepEqual(await knex("oidc_artifacts").select(), []);
    await knex("oidc_artifacts").insert({ id: 1, expires_at: "2031-01-01T12:00:00Z" });
    assert.deepEqual(
      await dropExpiredPartitions(knex, later, RETENTION),
      [],
      "one process at a time",
    );

    await knex.raw(
      "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%DETACH%' AND state = 'active'",
    );
    await assert.rejects(drop, { code: "57014" });
    await request.commit();
    assert.ok(
      (await dropExpiredPartitions(knex, later, RETENTION)).includes("oidc_artifacts_p20301230"),
    );
    assert.deepEqual(await attached("oidc_artifacts"), ["oidc_artifacts_p20310102"]);
  });

  it("are dropped too when a crash came between detaching and dropping", async () => {
    await ensurePartitions(knex, NOW, 1);
    await knex.raw("ALTER TABLE oidc_artifacts DETACH PARTITION oidc_artifacts_p20301230");
    const dropped = await dropExpiredPartitions(knex, new Date("2031-01-01T00:00:00Z"), RETENTION);
    assert.ok(dropped.includes("oidc_artifacts_p20301230"));
    assert.equal(await knex.schema.hasTable("oidc_artifacts_p20301230"), false);
  });
});
