import assert from "node:assert/strict";
import { writeInGroup } from "../../src/database/group.ts";
import { bind } from "../../src/database/statement.ts";
import { defer, runInUnitOfWork } from "../../src/database/transaction.ts";
import { OAuthInteraction } from "../../src/models/oauth-interaction.ts";
import { sha256 } from "../../src/lib/secret.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import { OAuthAuthorization } from "../../src/models/oauth-authorization.ts";
import { OAuthGrant } from "../../src/models/oauth-grant.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aGrant } from "../support/storage.ts";

describe("writes that are committed together, reviewed", () => {
  let database: TestDatabase;
  before(async () => {
    database = await testDatabase();
  });
  after(() => database.drop());

  it("F11: are written once where one of them could not be sent", async () => {
    const { knex } = database;
    await knex.raw("CREATE TABLE once (n int)");
    const put = async (n: unknown): Promise<unknown> =>
      writeInGroup(knex, {
        statements: [bind({ sql: "INSERT INTO once (n) VALUES (:n)", bindings: { n } })],
      });
    await Promise.allSettled([put(1), put(2), put(undefined), put(3)]);
    const { rows } = await knex.raw("SELECT n FROM once ORDER BY n");
    assert.deepEqual(
      rows.map(({ n }: { n: number }) => n),
      [1, 2, 3],
    );
  });

  it("keep the last of what tabs save of one sign-in, and share a transaction with others nevertheless", async () => {
    const { knex } = database;
    const save = (id: string, content: string) =>
      OAuthInteraction.saving({
        uidHash: sha256(id),
        clientId: null,
        userId: null,
        asOf: null,
        browserHash: null,
        payloadEnc: Buffer.from(content),
        expiresAt: new Date(Date.now() + 60_000),
      });
    const unit = (id: string, ...contents: string[]) =>
      runInUnitOfWork(knex, async () => {
        for (const content of contents) await defer(knex, save(id, content));
      });
    await Promise.all([
      unit("before", "alone"),
      unit("one", "first", "second"),
      unit("two", "of another"),
      unit("one", "third", "fourth"),
    ]);
    const found = async (id: string) =>
      (await OAuthInteraction.find(knex, sha256(id)))?.payload?.toString();
    assert.deepEqual([await found("one"), await found("two")], ["fourth", "of another"]);
    const { rows } = await knex.raw(
      "SELECT count(DISTINCT xmin::text)::int AS n FROM oauth_interactions",
    );
    assert.equal(rows[0].n, 2);
  });

  it("keep a code whose grant goes with it, whatever grants others write after it (R-03)", async () => {
    const { knex } = database;
    const { userId, clientId } = await aGrant({ knex });
    const expiresAt = new Date(Date.now() + 60_000);
    const about = { userId, sessionUid: null, payload: {}, expiresAt };
    const grant = (id: string) => OAuthGrant.saving({ ...about, id, clientId });
    const codeHash = sha256("a code");
    const where = { codeHash, redirectUri: "https://rp.example/callback", scope: "openid" };
    const mine = uuidv7();
    // The first is being written when the other two end, in this order.
    await Promise.all([
      runInUnitOfWork(knex, () => defer(knex, grant(uuidv7()))),
      runInUnitOfWork(knex, async () => {
        await defer(knex, grant(mine));
        await defer(knex, OAuthAuthorization.addition({ ...about, ...where, grantId: mine }));
      }),
      runInUnitOfWork(knex, async () => {
        for (let others = 0; others < 5; others += 1) await defer(knex, grant(uuidv7()));
      }),
    ]);
    const found = await OAuthAuthorization.find(knex, codeHash, new Date());
    assert.equal(found?.grant_id, mine);
  });
});
