import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { runCli } from "../support/cli.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aUser } from "../support/server.ts";

describe("lintel group", function () {
  this.timeout(60_000);
  let database: TestDatabase;
  let dataDir: string;
  before(async () => {
    database = await testDatabase();
    dataDir = mkdtempSync(join(tmpdir(), "lintel-cli-"));
  });
  after(async () => {
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const settings = () => ({
    NODE_ENV: "test",
    DATABASE_URL: database.url,
    DATA_DIR: dataDir,
  });
  const lintel = (...args: string[]) => runCli(["group", ...args], settings());
  const json = async (...args: string[]): Promise<unknown> => {
    const { code, out, err } = await lintel(...args, "--json");
    assert.equal(code, 0, err);
    return JSON.parse(out);
  };
  const fails = async (message: RegExp, ...args: string[]) => {
    const { code, err } = await lintel(...args);
    assert.notEqual(code, 0);
    assert.match(err, message);
  };

  it("adds, lists, updates and deletes groups, each name once", async () => {
    const added = { name: "On call", require_second_factor: true };
    assert.deepEqual(await json("add", " On call ", "--require-second-factor"), added);
    await fails(/a group On call already/, "add", "On call");
    await fails(/1 to 100 characters/, "add", " ");
    assert.deepEqual(await json("list"), [{ ...added, members: 0 }]);
    await fails(/must be yes or no/, "update", "On call", "--require-second-factor", "maybe");
    const updated = await json("update", "On call", "--require-second-factor", "no");
    assert.deepEqual(updated, { name: "On call", require_second_factor: false });
    assert.match((await lintel("list")).out, /On call +no +0/);
    assert.deepEqual(await json("delete", "On call"), { name: "On call", deleted: true });
    await fails(/no group On call/, "delete", "On call");
  });

  it("adds and removes members by hand, and says so in the audit", async () => {
    const { id, email } = await aUser({ database });
    await json("add", "engineering");
    const member = { group: "engineering", user: email };
    const add = ["add-member", "engineering", "--user", email];
    assert.deepEqual(await json(...add), { ...member, added: true });
    assert.deepEqual(await json(...add), { ...member, added: false });
    assert.match((await lintel("list")).out, /engineering +no +1/);
    const shown = await runCli(["user", "show", email, "--json"], settings());
    assert.deepEqual((JSON.parse(shown.out) as { groups: string[] }).groups, ["engineering"]);
    const remove = ["remove-member", "engineering", "--user", id];
    assert.deepEqual(await json(...remove), { group: "engineering", user: id, removed: true });
    assert.deepEqual(await json(...remove), { group: "engineering", user: id, removed: false });
    await fails(/no group sales/, "add-member", "sales", "--user", email);
    await fails(/no user/i, "add-member", "engineering", "--user", "nobody@example.com");
    const events = await AuditEvent.query(database.knex).where({ userId: id }).orderBy("id");
    assert.deepEqual(
      events.map(({ type }) => type).filter((type) => type.startsWith("group.")),
      ["group.member_added", "group.member_removed"],
    );
  });
});
