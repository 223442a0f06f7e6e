import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { runCli } from "../support/cli.ts";
import { testDatabase, testLog, type TestDatabase } from "../support/database.ts";
import { aClient } from "../support/server.ts";

describe("lintel invitation and lintel terms", function () {
  this.timeout(120_000);
  let database: TestDatabase;
  let dataDir: string;
  before(async () => {
    database = await testDatabase();
    await migrateJobs(database.url, testLog);
    dataDir = mkdtempSync(join(tmpdir(), "lintel-cli-"));
  });
  after(async () => {
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const lintel = (args: string[], settings: Record<string, string> = {}) =>
    runCli(args, {
      NODE_ENV: "test",
      DATABASE_URL: database.url,
      DATA_DIR: dataDir,
      SIGN_UP: "invitation",
      ...settings,
    });
  const json = async (...args: string[]) => {
    const { code, out, err } = await lintel([...args, "--json"]);
    assert.equal(code, 0, err);
    return JSON.parse(out) as Record<string, string>;
  };
  const failsWith = (result: Awaited<ReturnType<typeof lintel>>, message: RegExp) => {
    assert.notEqual(result.code, 0);
    assert.match(result.err, message);
  };

  it("invites somebody by mail, shows the link once, lists and revokes", async () => {
    const { clientId } = await aClient({ database });
    const args = ["invitation", "create", "--email", "grace@example.com", "--client", clientId];
    const made = await json(...args, "--expires-in", "3600");
    assert.match(made["url"] ?? "", /^http:\/\/localhost:3000\/invite\/[\w-]{43}$/);
    assert.ok(Date.parse(made["expires"] ?? "") - Date.now() <= 3_600_000);
    const [mail] = await OutboxMessage.query(database.knex).where({ template: "invitation" });
    assert.ok(mail);
    const { out } = await lintel(["invitation", "list"]);
    assert.match(out, /grace@example\.com +open/);
    assert.ok(!out.includes((made["url"] ?? "").slice(-43)));
    await json("invitation", "revoke", made["id"] ?? "");
    failsWith(await lintel(["invitation", "revoke", made["id"] ?? ""]), /no open invitation/);
    failsWith(await lintel(["invitation", "create", "--email", "grace"]), /not an e-mail address/);
  });

  it("invites nobody where SIGN_UP is closed", async () => {
    const create = ["invitation", "create", "--email", "ann@example.com"];
    failsWith(await lintel(create, { SIGN_UP: "closed" }), /SIGN_UP is closed/);
  });

  it("publishes terms in several languages, lists and withdraws them", async () => {
    const file = (name: string, text: string) => {
      const path = join(dataDir, name);
      writeFileSync(path, text);
      return path;
    };
    const english = file("en.txt", "Terms of use\n\nBe kind.\n");
    const german = file("de.txt", "Nutzungsbedingungen\n\nSei nett.\n");
    const publish = ["terms", "publish", "terms", "--text", `en=${english}`, "--text"];
    assert.deepEqual(await json(...publish, `de=${german}`, "--summary", "en=Shorter."), {
      document: "terms",
      version: 1,
    });
    assert.equal((await lintel([...publish, `de=${german}`, "--optional"])).code, 0);
    const { out } = await lintel(["terms", "list"]);
    assert.match(out, /terms +2 +no +de en/);
    assert.match(out, /terms +1 +yes +de en/);
    failsWith(await lintel([...publish, german]), /--text must look like en=VALUE/);
    failsWith(await lintel([...publish, "de=/nowhere"]), /\/nowhere cannot be read/);
    failsWith(await lintel([...publish, `de=${file("x.txt", "Title only")}`]), /a text below it/);
    assert.equal((await lintel(["terms", "withdraw", "terms"])).code, 0);
    failsWith(await lintel(["terms", "withdraw", "terms"]), /no document terms/);
  });
});
