import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  askForLetter,
  makeLetter,
  makeSecrets,
  openLink,
  pretendLetter,
  readContext,
  tryCode,
  type NewLetter,
} from "../../src/authn/letters.ts";
import { throttleMailedCode } from "../../src/authn/throttle.ts";
import { connect } from "../../src/database/connect.ts";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { OneTimeToken } from "../../src/models/one-time-token.ts";
import { createUser } from "../../src/users/users.ts";
import { testDatabase, testLog, type TestDatabase } from "../support/database.ts";

const NOW = new Date("2026-03-01T12:00:00Z");
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);

describe("letters with a link and a code", () => {
  let database: TestDatabase;
  let seal: Seal;
  let userId: string;

  before(async () => {
    database = await testDatabase();
    await migrateJobs(database.url, testLog);
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
    const user = await createUser(
      database.knex,
      { email: "ada@example.com", verified: true, via: "admin" },
      NOW,
    );
    userId = user.id;
  });
  after(() => database.drop());
  beforeEach(() => database.knex.raw("DELETE FROM one_time_tokens"));

  const letter = (changes: Partial<NewLetter> = {}): NewLetter => ({
    purpose: "reset_password",
    context: { to: "ada@example.com", locale: "en", issuer: "https://idp.example" },
    ...changes,
  });
  const make = (changes?: Partial<NewLetter>, now = NOW) =>
    makeLetter(database.knex, seal, letter(changes), now);
  const row = (id: string) => OneTimeToken.query(database.knex).findById(id).throwIfNotFound();

  it("keep nothing that opens anything, and seal what they are about (T-64)", async () => {
    const { id, secrets } = await make();
    const stored = JSON.stringify(await database.knex("one_time_tokens").select());
    for (const text of [secrets.secret, secrets.code, "ada@example.com"])
      assert.equal(stored.includes(text), false, text);
    const { tokenHash, codeHash } = await row(id);
    for (const hash of [tokenHash, codeHash]) {
      const tried = hash?.toString("hex") ?? "";
      assert.equal(await openLink(database.knex, "reset_password", tried, NOW), undefined);
      assert.equal(await tryCode(database.knex, seal, { id, code: tried }, NOW), false);
    }
    assert.equal(readContext(seal, await row(id)).to, "ada@example.com");
  });

  it("are the same rows whoever has the address, before a job has looked (T-62)", async () => {
    for (const to of ["ada@example.com", "nobody@example.com"]) {
      await askForLetter(
        database.knex,
        seal,
        letter({ askedBy: to, context: { ...letter().context, to } }),
        NOW,
      );
    }
    const rows = await OneTimeToken.query(database.knex);
    const [one, two] = rows.map(({ userId: who, tokenHash, codeHash, emailId, expiresAt }) => ({
      who,
      tokenHash,
      codeHash,
      emailId,
      expiresAt,
    }));
    assert.deepEqual(one, two);
    assert.equal(one?.tokenHash, null);
  });

  it("take a code however it is spaced, and only at its own row", async () => {
    const [{ id, secrets }, other] = [
      await make(),
      await make({ context: { ...letter().context, to: "b@x.example" } }),
    ];
    const spaced = ` ${secrets.code.slice(0, 4)} ${secrets.code.slice(4)} `;
    assert.equal(
      await tryCode(database.knex, seal, { id: other.id, code: secrets.code }, NOW),
      false,
    );
    assert.equal(await tryCode(database.knex, seal, { id, code: spaced }, NOW), true);
  });

  it("look at five codes and no more, also of 40 at once from two nodes (T-63)", async () => {
    const { id, secrets } = await make();
    const wrong = secrets.code === "00000000" ? "11111111" : "00000000";
    const other = connect({ url: database.url, applicationName: "lintel-test" });
    try {
      await Promise.all(
        Array.from({ length: 40 }, (_, index) =>
          tryCode(index % 2 === 0 ? database.knex : other, seal, { id, code: wrong }, NOW),
        ),
      );
      assert.equal((await row(id)).attempts, 5);
      assert.equal(await tryCode(database.knex, seal, { id, code: secrets.code }, NOW), false);
    } finally {
      await other.destroy();
    }
  });

  it("are spent once by 20 at the same time (T-66)", async () => {
    const { id } = await make();
    const spent = await Promise.all(
      Array.from({ length: 20 }, () => OneTimeToken.spend(database.knex, id, NOW)),
    );
    assert.equal(spent.filter(Boolean).length, 1);
  });

  it("are not used up by looking at them (T-66)", async () => {
    const { id, secrets } = await make();
    for (let n = 0; n < 5; n += 1)
      assert.equal(
        (await openLink(database.knex, "reset_password", secrets.secret, NOW))?.state,
        "live",
      );
    assert.equal(await OneTimeToken.spend(database.knex, id, NOW), true);
    assert.equal(
      (await openLink(database.knex, "reset_password", secrets.secret, NOW))?.state,
      "used",
    );
  });

  it("open nothing but what they are for (T-65)", async () => {
    const { secrets } = await make();
    for (const purpose of ["register", "verify_email", "undo_email_change", "invitation"] as const)
      assert.equal(await openLink(database.knex, purpose, secrets.secret, NOW), undefined);
  });

  it("end after half an hour, and never sign anybody in later (T-65)", async () => {
    const { id, secrets } = await make();
    const late = later(30 * 60);
    assert.equal(
      (await openLink(database.knex, "reset_password", secrets.secret, late))?.state,
      "over",
    );
    assert.equal(await tryCode(database.knex, seal, { id, code: secrets.code }, late), false);
    assert.equal(await OneTimeToken.spend(database.knex, id, late), false);
  });

  it("end when another is written to the same person, and leave others' alone (T-65)", async () => {
    const first = await make({ userId });
    const others = await make({ context: { ...letter().context, to: "grace@example.com" } });
    const asked = await askForLetter(database.knex, seal, letter({ askedBy: "i2" }), later(61));
    assert.ok(await makeSecrets(database.knex, seal, { id: asked.id, userId }, later(61)));
    assert.equal((await row(first.id)).revokeReason, "superseded");
    assert.equal((await row(others.id)).revokedAt, null);
  });

  it("are written once, however often their job runs", async () => {
    const asked = await askForLetter(database.knex, seal, letter({ askedBy: "i1" }), NOW);
    const runs = await Promise.all(
      [1, 2, 3].map(() => makeSecrets(database.knex, seal, { id: asked.id }, NOW)),
    );
    assert.equal(runs.filter((secrets) => secrets !== undefined).length, 1);
  });

  it("are never written where a program filled in the form", async () => {
    await database.knex.raw("DELETE FROM graphile_worker._private_jobs");
    const { id } = await pretendLetter(database.knex, seal, letter({ askedBy: "i1" }), NOW);
    assert.equal((await row(id)).tokenHash, null);
    const jobs: { rows: unknown[] } = await database.knex.raw(
      "SELECT FROM graphile_worker._private_jobs",
    );
    assert.equal(jobs.rows.length, 0);
  });

  it("are asked for again after a minute, by the same browser for the same address", async () => {
    const ask = (askedBy: string, now: Date) =>
      askForLetter(database.knex, seal, letter({ askedBy }), now);
    const { id } = await ask("i1", NOW);
    assert.deepEqual(await ask("i1", later(20)), { id, wait: 40 });
    // Nobody learns from a wait that somebody else has just asked.
    assert.equal((await ask("i2", later(20))).wait, undefined);
    const again = await ask("i1", later(60));
    assert.equal(again.wait, undefined);
    assert.equal((await row(id)).revokeReason, "superseded");
    assert.notEqual(again.id, id);
  });

  it("are not guessed: a network types fifty in an hour (T-63)", async () => {
    for (let n = 0; n < 50; n += 1)
      assert.equal(
        (await throttleMailedCode(database.knex, seal, { ipPrefix: "192.0.2.0/24", now: NOW }))
          .allowed,
        true,
      );
    const more = await throttleMailedCode(database.knex, seal, {
      ipPrefix: "192.0.2.0/24",
      now: NOW,
    });
    assert.deepEqual(more, { allowed: false, retryAfter: 900 });
  });
});
