import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { User } from "../../src/models/user.ts";
import { findUser } from "../../src/users/users.ts";
import { runCli } from "../support/cli.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const EXAMPLES = fileURLToPath(new URL("../../docs/examples/import.jsonl", import.meta.url));
const HASH = "$2b$06$xdy95rhIvvoXYk3Kuw9Tz.c/qN3jFCvVd2Uu/qYn6mJn2j85ZXxWa";

describe("lintel user import", function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let directory: string;
  before(async () => {
    db = await testDatabase();
    directory = mkdtempSync(join(tmpdir(), "lintel-import-"));
  });
  after(async () => {
    await db.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  const lintel = (args: string[], input = "") =>
    runCli(
      ["user", "import", ...args],
      { NODE_ENV: "test", DATABASE_URL: db.url, DATA_DIR: directory },
      input,
    );
  const users = () => User.query(db.knex).resultSize();
  const lines = (...objects: unknown[]) =>
    objects.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n");

  it("imports every example of docs/import.md, after a rehearsal that changes nothing", async () => {
    const count = readFileSync(EXAMPLES, "utf8").trim().split("\n").length;
    const rehearsal = await lintel([EXAMPLES, "--dry-run"]);
    assert.deepEqual([rehearsal.code, rehearsal.err], [0, ""]);
    assert.equal(rehearsal.out, `${count} would be imported, 0 refused\n`);
    assert.equal(await users(), 0);

    const { code, out, err } = await lintel([EXAMPLES]);
    assert.deepEqual([code, out, err], [0, `${count} imported, 0 refused\n`, ""]);
    assert.equal(await users(), count);
    const user = await findUser(db.knex, "ldap-ssha@example.com");
    assert.equal(user.password?.hash, "$ssha-sha1$2lNzFYnrAnyCMFLvsxRkXUiuv2DMeY/R");
    assert.notEqual(user.primaryEmail?.verifiedAt, null);
    assert.equal(
      await AuditEvent.query(db.knex).where({ type: "user.created" }).resultSize(),
      count,
    );
  });

  it("names each line that is wrong, imports the others, and never repeats a hash", async () => {
    const before = await users();
    const file = join(directory, "mixed.jsonl");
    writeFileSync(
      file,
      lines(
        {
          email: "ann@example.com",
          email_verified: true,
          name: "Ann",
          username: "ann",
          password_hash: HASH,
        },
        "{ no json",
        "",
        { email: "no address" },
        { email: "bob@example.com", password_hash: "$2b$31$secret-hash" },
        { email: "carl@example.com", favourite_colour: "blue" },
        { email: "ANN@example.com" },
        { email: "dora@example.com" },
        { email: "dora@example.com" },
        { email: "emil@example.com", username: "ANN" },
        { email: ["fred@example.com"] },
        "[]",
      ),
    );
    const { code, out, err } = await lintel([file]);
    assert.deepEqual([code, out], [1, "2 imported, 9 refused\n"]);
    const said = err.trim().split("\n");
    for (const [index, pattern] of [
      /^line 2: This is not JSON/,
      /^line 4: This is not an e-mail address/,
      /^line 5: password_hash has none of the formats of docs\/import\.md/,
      /^line 6: .*favourite_colour/,
      /^line 7: There is already a user/,
      /^line 9: There is already a user/,
      /^line 10: Another user already has this username/,
      /^line 11: email: /,
      /^line 12: /,
    ].entries())
      assert.match(said[index] ?? "", pattern);
    assert.equal(said.length, 9);
    assert.equal(err.includes("secret-hash"), false);
    assert.equal(await users(), before + 2);
    const ann = await findUser(db.knex, "ann@example.com");
    assert.deepEqual(
      [ann.profile?.displayName, ann.username, ann.password?.hash],
      ["Ann", "ann", HASH],
    );
    const dora = await findUser(db.knex, "dora@example.com");
    assert.deepEqual([dora.primaryEmail?.verifiedAt, dora.password], [null, null]);
  });

  it("rehearses what one line does to the next, and tells programs the same", async () => {
    const before = await users();
    const input = lines(
      { email: "gina@example.com" },
      { email: "gina@example.com" },
      { email: "hans@example.com" },
    );
    const { code, out, err } = await lintel(["-", "--dry-run", "--json"], input);
    assert.deepEqual([code, err], [1, ""]);
    assert.deepEqual(JSON.parse(out), {
      imported: 2,
      problems: [{ line: 2, message: "There is already a user with this e-mail address." }],
      dry_run: true,
    });
    assert.equal(await users(), before);
  });

  it("says that a file is not there", async () => {
    const { code, out, err } = await lintel([join(directory, "nowhere.jsonl")]);
    assert.deepEqual([code, out], [1, ""]);
    assert.match(err, /^lintel: The file .*nowhere\.jsonl could not be read\.\n$/);
  });
});
