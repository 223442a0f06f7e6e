import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "mocha";
import { runCli } from "../support/cli.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aClient } from "../support/server.ts";

const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";

describe("lintel workload", () => {
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
    runCli(["workload", ...args], {
      NODE_ENV: "test",
      DATABASE_URL: database.url,
      DATA_DIR: dataDir,
    });
  const read = async (...args: string[]) => {
    const { code, out, err } = await lintel(...args, "--json");
    assert.equal(code, 0, err);
    return JSON.parse(out) as Record<string, unknown>;
  };

  it("adds, lists and deletes one", async () => {
    const { clientId } = await aClient(
      { database },
      {
        redirect_uris: [],
        post_logout_redirect_uris: [],
        grant_types: [GRANT],
        token_endpoint_auth_method: "none",
      },
    );
    const where = ["--issuer-url", "https://ci.example", "--jwks-uri", "https://ci.example/jwks"];
    const { id, ...made } = await read(
      "add",
      "--client",
      clientId,
      ...where,
      "--match",
      "sub=repo:acme/app:*",
      "--match",
      "environment=a=b",
    );
    assert.deepEqual(made, {
      client_id: clientId,
      issuer_url: "https://ci.example",
      jwks_uri: "https://ci.example/jwks",
      algorithms: ["RS256", "ES256"],
      claims: { sub: "repo:acme/app:*", environment: "a=b" },
    });
    assert.deepEqual(await read("list"), [{ id, ...made }]);
    const { out } = await lintel("list");
    assert.match(out, /https:\/\/ci\.example +.*sub=repo:acme\/app:\*/);
    assert.deepEqual(await read("delete", String(id)), { id, deleted: true });
    assert.deepEqual(await read("list"), []);
  });

  for (const [what, args, code, words] of [
    ["no client", ["add", "--issuer-url", "https://ci.example", "--match", "sub=x"], 2, /client/],
    [
      "a claim without a value",
      ["add", "--client", "x", "--issuer-url", "https://ci.example", "--match", "sub"],
      2,
      /CLAIM=VALUE/,
    ],
    [
      "keys that are no file",
      [
        "add",
        "--client",
        "x",
        "--issuer-url",
        "https://ci.example",
        "--match",
        "sub=x",
        "--jwks",
        "/x",
      ],
      1,
      /cannot be read as JSON/,
    ],
    ["one that is not there", ["delete", "x"], 1, /no workload/],
  ] as const) {
    it(`says what is wrong with ${what}`, async () => {
      const result = await lintel(...args);
      assert.equal(result.code, code, result.err);
      assert.match(result.err, words);
    });
  }
});
