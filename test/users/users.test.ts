import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { createClient } from "../../src/clients/clients.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { OAuthGrant } from "../../src/models/oauth-grant.ts";
import { runStatement } from "../../src/database/statement.ts";
import { RefreshToken } from "../../src/models/refresh-token.ts";
import { Session } from "../../src/models/session.ts";
import {
  createUser,
  disableUser,
  enableUser,
  findUser,
  listUsers,
  type NewUser,
} from "../../src/users/users.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const now = new Date();
const expiresAt = new Date(now.getTime() + 3_600_000);

describe("users", () => {
  let db: TestDatabase;
  let count = 0;
  before(async () => {
    db = await testDatabase();
  });
  after(() => db.drop());

  const add = (user: Partial<NewUser> = {}) =>
    db.knex.transaction((trx) =>
      createUser(
        trx,
        { email: `user${++count}@example.com`, verified: true, via: "admin", ...user },
        now,
      ),
    );

  it("are stored with a normalised address, and found by id, address and username (T-68)", async () => {
    const user = await add({
      email: "Ann@BÜCHER.example",
      username: "Ann_B",
      displayName: " Ann  B ",
    });
    assert.equal(user.primaryEmail?.email, "Ann@xn--bcher-kva.example");
    assert.equal(user.profile?.displayName, "Ann  B");
    for (const who of [user.id, "ann@bücher.example", "ANN_B"])
      assert.equal((await findUser(db.knex, who)).id, user.id);
    for (const who of ["nobody@example.com", "nobody", "", uuidv7()])
      await assert.rejects(findUser(db.knex, who), { code: "unknown_user" });
  });

  it("are refused with addresses and names that cannot be one", async () => {
    await assert.rejects(add({ email: "a@b@example.com" }), { code: "invalid_email" });
    await assert.rejects(add({ username: "a@example.com" }), { code: "bad_request" });
    await assert.rejects(add({ displayName: "a\nb" }), { code: "bad_request" });
    await assert.rejects(add({ displayName: "a".repeat(201) }), { code: "bad_request" });
  });

  it("own a verified address alone, however many are added at once", async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, () => add({ email: "once@example.com" })),
    );
    const refused = results.filter(
      ({ status }) => status === "rejected",
    ) as PromiseRejectedResult[];
    assert.equal(refused.length, 9);
    for (const { reason } of refused)
      assert.equal((reason as { code: string }).code, "email_taken");
    await add({ username: "twice" });
    await assert.rejects(add({ username: "TWICE" }), { code: "username_taken" });
  });

  it("are not guessed where several claim an address that nobody verified", async () => {
    await add({ email: "claimed@example.com", verified: false });
    await add({ email: "claimed@example.com", verified: false });
    await assert.rejects(findUser(db.knex, "claimed@example.com"), { code: "ambiguous_user" });
    const owner = await add({ email: "claimed@example.com" });
    assert.equal((await findUser(db.knex, "claimed@example.com")).id, owner.id);
  });

  it("are listed page by page without gaps", async () => {
    for (let n = 0; n < 5; n += 1) await add();
    const seen: string[] = [];
    for (;;) {
      const page = await listUsers(db.knex, { after: seen.at(-1), limit: 2 });
      if (page.length === 0) break;
      seen.push(...page.map(({ id }) => id));
    }
    const { count: all } = (await db.knex("users").count().first()) as { count: string };
    assert.equal(new Set(seen).size, Number(all));
  });

  it("lose every session, grant and token when disabled, in one transaction (T-30)", async () => {
    const user = await add();
    const other = await add();
    const { client } = await createClient(
      db.knex,
      { metadata: { client_name: "App", redirect_uris: ["https://a.example/cb"] } },
      now,
    );
    const open = async (userId: string) => {
      const [uid, grantId, tokenId] = [uuidv7(), uuidv7(), uuidv7()];
      await db.knex("sessions").insert({
        uid,
        user_id: userId,
        cookie_hash: Buffer.from(uid.replaceAll("-", "")),
        expires_at: expiresAt,
        gc_on: "2100-01-01",
      });
      const common = { userId, sessionUid: uid, payload: {}, expiresAt };
      await runStatement(
        db.knex,
        OAuthGrant.saving({ ...common, id: grantId, clientId: client.clientId }),
      );
      await runStatement(
        db.knex,
        RefreshToken.addition({
          ...common,
          id: tokenId,
          grantId,
          counter: 0,
          scope: null,
        }),
      );
      return { uid, grantId, tokenId };
    };
    const [mine, theirs] = [await open(user.id), await open(other.id)];
    const disable = () => db.knex.transaction((trx) => disableUser(trx, user.id, {}, now));
    assert.equal((await disable()).isActive, false);

    const session = await Session.query(db.knex).findById(mine.uid);
    assert.equal(session?.endReason, "user_disabled");
    assert.equal(session?.cookieHash, null);
    assert.notEqual((await OAuthGrant.query(db.knex).findById(mine.grantId))?.revokedAt, null);
    assert.equal(await RefreshToken.find(db.knex, mine.tokenId), undefined);
    assert.equal((await Session.query(db.knex).findById(theirs.uid))?.endedAt, null);
    assert.notEqual(await RefreshToken.find(db.knex, theirs.tokenId), undefined);

    await disable();
    await db.knex.transaction((trx) => enableUser(trx, user.id, {}, now));
    assert.equal((await findUser(db.knex, user.id)).isActive, true);
    assert.equal(await RefreshToken.find(db.knex, mine.tokenId), undefined);
    const events = await AuditEvent.query(db.knex).where({ userId: user.id });
    assert.deepEqual(events.map(({ type }) => type).toSorted(), [
      "session.revoked",
      "user.created",
      "user.disabled",
      "user.enabled",
    ]);
  });
});
