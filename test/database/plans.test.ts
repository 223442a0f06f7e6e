import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import { run, runStatement, bind, type Statement } from "../../src/database/statement.ts";
import { OAuthAuthorization } from "../../src/models/oauth-authorization.ts";
import { RefreshToken } from "../../src/models/refresh-token.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

/** Twice as many as PostgreSQL plans anew before it keeps a plan. */
const RUNS = 12;

describe("plans that are kept", () => {
  let database: TestDatabase;
  let knex: Knex;

  before(async () => {
    database = await testDatabase();
    knex = connect({ url: database.url, applicationName: "lintel test", statementTimeout: 20_000 });
  });
  after(async () => {
    await knex.destroy();
    await database.drop();
  });

  /**
   * Rows that were read of tables with this prefix. They are known to be empty when the plan is made, as the partition of
   * a new day is, and soon have a thousand rows that nobody asks for.
   */
  async function readOf(prefix: string, fill: string, statement: () => Statement): Promise<number> {
    const trx = await knex.transaction();
    try {
      await trx.raw("SET LOCAL session_replication_role = replica");
      await trx.raw("ANALYZE oauth_authorizations, refresh_tokens, oauth_grants");
      for (let count = 0; count <= RUNS; count += 1) {
        if (count === RUNS / 2) await trx.raw(fill);
        const others = Array.from({ length: count }, () => bind(statement()));
        assert.deepEqual(await run(trx, [bind(statement()), ...others]), []);
      }
      const [row] = await runStatement<{ read: string }>(trx, {
        sql: `SELECT sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0)) AS read
              FROM pg_stat_xact_user_tables WHERE relname LIKE :like`,
        bindings: { like: `${prefix}%` },
      });
      return Number(row?.read);
    } finally {
      await trx.rollback();
    }
  }

  it("spend a code without reading those of others", async () => {
    const codes = `INSERT INTO oauth_authorizations (code_hash, expires_at, grant_id, client_id, user_id, redirect_uri, payload)
      SELECT sha256(n::text::bytea), now() + interval '1 minute', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '', '{}'
      FROM generate_series(1, 1000) n`;
    const spend = () => OAuthAuthorization.consumption(randomBytes(32), new Date());
    assert.equal(await readOf("oauth_authorizations", codes, spend), 0);
  });

  it("rotate a refresh token without reading those of others", async () => {
    const families = `INSERT INTO refresh_tokens (id, grant_id, client_id, user_id, payload, expires_at, gc_on)
      SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '{}', now() + interval '1 day', '2100-01-01'
      FROM generate_series(1, 1000) n`;
    const rotate = () =>
      RefreshToken.rotation({
        id: randomUUID(),
        counter: 0,
        now: new Date(),
        payload: null,
        expiresAt: null,
      });
    assert.equal(await readOf("refresh_tokens", families, rotate), 0);
  });

  it("add a code without reading others' grants", async () => {
    const grants = `INSERT INTO oauth_grants (id, user_id, client_id, payload, expires_at, gc_on)
      SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '{}', now() + interval '1 day', '2100-01-01'
      FROM generate_series(1, 1000) n`;
    const add = () =>
      OAuthAuthorization.addition({
        codeHash: randomBytes(32),
        expiresAt: new Date(Date.now() + 60_000),
        grantId: randomUUID(),
        userId: randomUUID(),
        sessionUid: null,
        redirectUri: "",
        scope: null,
        payload: {},
      });
    assert.equal(await readOf("oauth_grants", grants, add), 0);
  });
});
