import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { createGroup } from "../../src/users/groups.ts";
import { runCli } from "../support/cli.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aUser } from "../support/server.ts";

describe("lintel role", function () {
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
  const lintel = (...args: string[]) => runCli(["role", ...args], settings());
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

  it("adds, lists, shows, updates and deletes roles, each once", async () => {
    const added = { role: "billing:admin", name: "Billing", active: true };
    assert.deepEqual(await json("add", "billing:admin", "--name", " Billing "), added);
    await fails(/a role billing:admin already/, "add", "billing:admin");
    await fails(/1 to 100 lower-case/, "add", "Billing admin");
    await fails(/name has 1 to 100/, "add", "x", "--name", " ");
    const listed = { ...added, people: 0, groups: [] };
    assert.deepEqual(await json("list"), [listed]);
    assert.deepEqual(await json("show", "billing:admin"), listed);
    await fails(/nothing to change/, "update", "billing:admin");
    const off = { role: "billing:admin", name: "Money", active: false };
    const update = ["update", "billing:admin", "--no-active", "--name", "Money"];
    assert.deepEqual(await json(...update), off);
    assert.deepEqual(await json("update", "billing:admin", "--active"), { ...off, active: true });
    assert.match((await lintel("list")).out, /billing:admin +Money +yes +0/);
    assert.deepEqual(await json("delete", "billing:admin"), {
      role: "billing:admin",
      deleted: true,
    });
    await fails(/no role billing:admin/, "delete", "billing:admin");
    assert.deepEqual(await json("add", "plain"), { role: "plain", name: "plain", active: true });
  });

  it("gives them to people and groups, takes them back, and says so in the audit", async () => {
    const { id, email } = await aUser({ database });
    await createGroup(database.knex, { name: "finance", requireSecondFactor: false });
    await json("add", "approver");
    for (const verb of ["assign", "unassign"] as const) {
      for (const [kind, whom] of [
        ["user", email],
        ["group", "finance"],
      ] as const) {
        const change = [verb, "approver", `--${kind}`, whom];
        const outcome = { role: "approver", [kind]: whom };
        assert.deepEqual(await json(...change), { ...outcome, [`${verb}ed`]: true });
        assert.deepEqual(await json(...change), { ...outcome, [`${verb}ed`]: false });
      }
      if (verb === "unassign") break;
      assert.match((await lintel("list")).out, /approver +approver +yes +1 +finance/);
      const shown = await runCli(["user", "show", email, "--json"], settings());
      assert.deepEqual((JSON.parse(shown.out) as { roles: string[] }).roles, ["approver"]);
    }
    await fails(/give --user or --group/, "assign", "approver");
    await fails(/give --user or --group/, "assign", "approver", "--user", id, "--group", "x");
    await fails(/no role unknown/, "assign", "unknown", "--user", id);
    await fails(/no group sales/, "assign", "approver", "--group", "sales");
    const events = await AuditEvent.query(database.knex).whereLike("type", "role.%").orderBy("id");
    const about = events
      .slice(-4)
      .map(({ type, userId, details }) => [type, userId === id, typeof details["group"]]);
    assert.deepEqual(about, [
      ["role.assigned", true, "undefined"],
      ["role.assigned", false, "string"],
      ["role.unassigned", true, "undefined"],
      ["role.unassigned", false, "string"],
    ]);
  });

  it("gives nobody a system role", async () => {
    const { id } = await aUser({ database });
    await json("add", "superadmin");
    await json("assign", "superadmin", "--user", id);
    const { out } = await runCli(["setup-link"], settings());
    assert.match(out, /\/setup\/setup_/);
  });
});
