import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Organization } from "../../src/models/organization.ts";
import { runCli } from "../support/cli.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aUser } from "../support/server.ts";

describe("lintel organization", function () {
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
  const run = async (...args: string[]): Promise<unknown> => {
    const { code, out, err } = await runCli([...args, "--json"], settings());
    assert.equal(code, 0, err);
    return JSON.parse(out);
  };
  const lintel = (...args: string[]) => runCli(["organization", ...args], settings());
  const json = (...args: string[]) => run("organization", ...args);
  const fails = async (message: RegExp, ...args: string[]) => {
    const { code, err } = await runCli(args, settings());
    assert.notEqual(code, 0);
    assert.match(err, message);
  };

  it("adds, lists, shows, updates and deletes organizations, each once", async () => {
    const added = { organization: "acme", name: "Acme Inc.", require_second_factor: true };
    const add = ["add", "acme", "--name", " Acme Inc. ", "--require-second-factor"];
    assert.deepEqual(await json(...add), added);
    await fails(/an organization acme already/, "organization", "add", "acme");
    await fails(/1 to 50 lower-case/, "organization", "add", "Acme");
    await fails(/name has 1 to 100/, "organization", "add", "x", "--name", " ");
    const listed = { ...added, members: 0, connections: [] };
    assert.deepEqual(await json("list"), [listed]);
    assert.deepEqual(await json("show", "acme"), listed);
    await fails(/nothing to change/, "organization", "update", "acme");
    const update = ["update", "acme", "--name", "Acme", "--no-require-second-factor"];
    const updated = { organization: "acme", name: "Acme", require_second_factor: false };
    assert.deepEqual(await json(...update), updated);
    assert.match((await lintel("list")).out, /acme +Acme +no +0/);
    assert.deepEqual(await json("delete", "acme"), { organization: "acme", deleted: true });
    await fails(/no organization acme/, "organization", "delete", "acme");
  });

  it("is not deleted while people sign in through a connection of it", async () => {
    await json("add", "owner");
    const organization = await Organization.query(database.knex).findOne({ slug: "owner" });
    await IdentityProvider.query(database.knex).insert({
      slug: "sso",
      kind: "oidc",
      name: "SSO",
      clientId: "lintel",
      issuer: "https://upstream.example",
      organizationId: organization?.id ?? "",
    });
    assert.match((await lintel("list")).out, /owner +owner +no +0 +sso/);
    await fails(/people sign in through sso/, "organization", "delete", "owner");
  });

  it("adds and removes members by hand, and says so in the audit", async () => {
    const { id, email } = await aUser({ database });
    await json("add", "engines");
    const member = { organization: "engines", user: email };
    const add = ["add-member", "engines", "--user", email];
    assert.deepEqual(await json(...add), { ...member, added: true });
    assert.deepEqual(await json(...add), { ...member, added: false });
    assert.match((await lintel("list")).out, /engines +engines +no +1/);
    const remove = ["remove-member", "engines", "--user", email];
    assert.deepEqual(await json(...remove), { ...member, removed: true });
    assert.deepEqual(await json(...remove), { ...member, removed: false });
    await fails(/no organization none/, "organization", "add-member", "none", "--user", email);
    const events = await AuditEvent.query(database.knex).where({ userId: id }).orderBy("id");
    assert.deepEqual(
      events.map(({ type }) => type).filter((type) => type.startsWith("organization.")),
      ["organization.member_added", "organization.member_removed"],
    );
  });

  it("holds roles inside, which members have and which `user show` shows", async () => {
    const { id, email } = await aUser({ database });
    await json("add", "mill");
    await run("role", "add", "grinder");
    const assign = ["assign", "grinder", "--user", email, "--organization", "mill"];
    await fails(/Only members hold roles inside/, "role", ...assign);
    await json("add-member", "mill", "--user", email);
    const given = { role: "grinder", user: email, organization: "mill" };
    assert.deepEqual(await run("role", ...assign), { ...given, assigned: true });
    assert.deepEqual(await run("role", ...assign), { ...given, assigned: false });
    const shown = (await run("user", "show", id)) as Record<string, unknown>;
    assert.deepEqual(shown["organizations"], [{ id: "mill", name: "mill", roles: ["grinder"] }]);
    assert.equal(shown["roles"], undefined);
    const everywhere = ["unassign", "grinder", "--user", email];
    const outcome = (await run("role", ...everywhere)) as { unassigned: boolean };
    assert.equal(outcome.unassigned, false);
    const unassign = [...everywhere, "--organization", "mill"];
    assert.deepEqual(await run("role", ...unassign), { ...given, unassigned: true });
  });
});
