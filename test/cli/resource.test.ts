import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "mocha";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { runCli } from "../support/cli.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aClient } from "../support/server.ts";

const IDENTIFIER = "https://notes.example/";

describe("lintel resource", () => {
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

  const lintel = (...args: string[]) =>
    runCli(["resource", ...args], {
      NODE_ENV: "test",
      DATABASE_URL: database.url,
      DATA_DIR: dataDir,
    });
  const read = async (...args: (string | string[])[]) => {
    const { code, out, err } = await lintel(...args.flat(), "--json");
    assert.equal(code, 0, err);
    assert.equal(err, "");
    return JSON.parse(out) as Record<string, unknown>;
  };

  it("defines, shows, lists, changes and deletes an API", async () => {
    const client = await aClient({ database });
    const other = await aClient({ database });
    const made = await read(
      ["add", "--identifier", IDENTIFIER, "--name", "Notes"],
      ["--permission", "read=Read your notes", "--permission", "write=Change = your notes"],
      ["--level", "write=2"],
      ["--client", `${client.clientId} read`, "--client", other.clientId],
      ["--token-lifetime", "300", "--signing-alg", "RS256"],
      ["--own-client", client.clientId],
    );
    assert.deepEqual(made, {
      identifier: IDENTIFIER,
      name: "Notes",
      permissions: { read: "Read your notes", write: "Change = your notes" },
      levels: { write: 2 },
      open_to: "listed",
      clients: { [client.clientId]: ["read"], [other.clientId]: null },
      token_format: "jwt",
      token_lifetime: 300,
      signing_alg: "RS256",
      own_client: client.clientId,
    });
    assert.deepEqual(await read("show", IDENTIFIER), made);
    assert.deepEqual(await read("list"), [made]);

    const changed = await read(
      ["update", IDENTIFIER, "--name", "Our notes", "--open-to", "any"],
      ["--permission", "read=Read all your notes", "--remove-permission", "write"],
      ["--remove-client", other.clientId, "--token-lifetime", "120"],
    );
    assert.deepEqual(changed, {
      ...made,
      name: "Our notes",
      open_to: "any",
      permissions: { read: "Read all your notes" },
      levels: {},
      clients: { [client.clientId]: ["read"] },
      token_lifetime: 120,
    });

    const { out } = await lintel("list");
    assert.match(
      out,
      /IDENTIFIER +NAME +PERMISSIONS +OPEN_TO +TOKENS\n.*Our notes +read +any +jwt, 120 s/,
    );
    assert.deepEqual(await read("delete", IDENTIFIER), { identifier: IDENTIFIER, deleted: true });
    assert.deepEqual(await read("list"), []);
    const events = await AuditEvent.query(database.knex).where("type", "like", "resource.%");
    assert.equal(events.length, 3);
  });

  for (const [what, args, code, words] of [
    ["no identifier", ["add", "--name", "Notes"], 2, /identifier/],
    [
      "a permission without words",
      ["add", "--identifier", IDENTIFIER, "--name", "Notes", "--permission", "read"],
      2,
      /NAME=TEXT/,
    ],
    [
      "a lifetime that is no number",
      ["add", "--identifier", IDENTIFIER, "--name", "Notes", "--token-lifetime", "1h"],
      2,
      /whole number/,
    ],
    [
      "a format that is not known",
      [
        "add",
        "--identifier",
        IDENTIFIER,
        "--name",
        "N",
        "--permission",
        "a=b",
        "--token-format",
        "saml",
      ],
      1,
      /token_format/,
    ],
    ["an API that is not there", ["show", "https://nowhere.example/"], 1, /no API/],
    ["nothing to change", ["update", IDENTIFIER], 2, /nothing to change/],
  ] as const) {
    it(`says what is wrong with ${what}`, async () => {
      const { code: actual, err, out } = await lintel(...args);
      assert.equal(actual, code, err);
      assert.match(err, words);
      assert.equal(out, "");
    });
  }
});
