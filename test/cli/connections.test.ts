import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, it } from "mocha";
import { runCommand } from "../../src/cli/run.ts";
import { allVerbs } from "../../src/cli/verbs.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { FederationTrace } from "../../src/models/federation-trace.ts";
import { Group } from "../../src/models/group.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { createGroup } from "../../src/users/groups.ts";
import { createOrganization } from "../../src/users/organizations.ts";
import { createRole } from "../../src/users/roles.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aNameServer, type NameServer } from "../support/dns.ts";
import { aMetadata } from "../support/saml-metadata.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

const ISSUER = "http://localhost:3456";
const VERBS = allVerbs({ run: async () => {}, migrateJobs: async () => {} });
const SECRET = "never-show-this-secret";

describe("lintel connection", () => {
  let database: TestDatabase;
  let dataDir: string;
  let dns: NameServer;
  let web: Server;
  let metadata = "";
  before(async () => {
    database = await testDatabase();
    dataDir = mkdtempSync(join(tmpdir(), "lintel-cli-"));
    dns = await aNameServer();
    web = createServer((_request, answer) => answer.end(metadata)).listen(0, "127.0.0.1");
    await new Promise((resolve) => web.once("listening", resolve));
    writeFileSync(join(dataDir, "secret"), `${SECRET}\n`);
  });
  after(async () => {
    await dns.close();
    await new Promise((resolve) => web.close(resolve));
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    await Group.query(database.knex).delete();
    await Identity.query(database.knex).delete();
    await IdentityProvider.query(database.knex).delete();
  });

  /** In this process, which is as good and takes no time to start. */
  const run = async (args: readonly string[], input = "") => {
    const result = { out: "", err: "", code: 0 };
    result.code = await runCommand(VERBS, "1.2.3", args, {
      environment: {
        NODE_ENV: "test",
        ISSUER,
        MORE_ISSUERS: `partner=production@${ISSUER}/partner`,
        DATABASE_URL: database.url,
        DATA_DIR: dataDir,
      },
      stdin: Readable.from([input]),
      out: (text) => void (result.out += text),
      err: (text) => void (result.err += text),
    });
    assert.doesNotMatch(result.out + result.err, new RegExp(`${SECRET}|PRIVATE KEY`));
    return result;
  };
  const lintel = (args: readonly string[], input?: string) => run(["connection", ...args], input);
  const read = async (args: readonly string[], input = "") => {
    const { code, out, err } = await lintel([...args, "--json"], input);
    assert.equal(code, 0, err);
    assert.equal(err, "");
    return JSON.parse(out) as Record<string, unknown>;
  };
  const fails = async (args: readonly string[], code: number, words: RegExp, input = "") => {
    const { code: actual, err, out } = await lintel(args, input);
    assert.equal(actual, code, err);
    assert.match(err, words);
    assert.equal(out, "");
  };
  const secret = () => ["--client-secret-file", join(dataDir, "secret")];
  const google = () => ["add", "--preset", "google", "--client-id", "lintel", ...secret()];

  it("adds one from a preset and says exactly what to enter there", async () => {
    const { out, code } = await lintel(google());
    assert.equal(code, 0);
    assert.match(
      out,
      new RegExp(
        [
          "Enter at Google:",
          `redirect_uri +${ISSUER}/federation/google/callback`,
          `initiate_login_uri +${ISSUER}/federation/google/login`,
          `post_logout_redirect_uri +${ISSUER}/federation/google/signed-out`,
          `backchannel_logout_uri +${ISSUER}/federation/google/backchannel-logout`,
          "",
          "Then try it: lintel connection test google",
        ].join("\n"),
      ),
    );
  });

  it("takes its secret from standard input", async () => {
    const args = ["add", "--preset", "google", "--client-id", "x", "--client-secret-file", "-"];
    const { status } = await read(args, `${SECRET}\n`);
    assert.equal((status as Record<string, unknown>)["has_client_secret"], true);
  });

  it("takes what a preset needs to know, lists too", async () => {
    const ids = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"];
    const params = ids.flatMap((id) => ["--param", `tenants=${id}`]);
    const made = await read([
      "add",
      "--preset",
      "microsoft",
      "--slug",
      "entra",
      "--client-id",
      "lintel",
      ...params,
      ...secret(),
    ]);
    assert.deepEqual((made["settings"] as Record<string, unknown>)["allowed_tenants"], ids);
    await fails(
      ["add", "--preset", "okta", "--client-id", "lintel", ...secret()],
      1,
      /parameters: domain is missing, such as/,
    );
  });

  it("takes everything else from options", async () => {
    const { clientId } = await aClient({ database });
    await database.knex.transaction((trx) =>
      createGroup(trx, { name: "engineering", requireSecondFactor: false }),
    );
    await createRole(database.knex, { slug: "billing:admin" });
    await createOrganization(database.knex, { slug: "analytical" });
    const p8 = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const key = join(dataDir, "key.p8");
    writeFileSync(key, p8.export({ type: "pkcs8", format: "pem" }));
    const made = await read([
      "add",
      "--kind",
      "oidc",
      "--slug",
      "acme",
      "--name",
      "Acme",
      "--issuer",
      "partner",
      "--issuer-url",
      "https://idp.example",
      "--client-id",
      "lintel",
      "--private-key-file",
      key,
      "--scope",
      "openid email",
      "--setting",
      "token_endpoint_auth_method=private_key_jwt",
      "--setting",
      "pkce=false",
      "--setting",
      'acr_values=["a","b"]',
      "--attribute",
      "given_name=vorname",
      "--group",
      "engineering=CN=eng,O=acme",
      "--role",
      "billing:admin=fin=1",
      "--organization",
      "analytical",
      "--linking",
      "isolated",
      "--order",
      "3",
      "--no-jit-provisioning",
      "--sync-profile",
      "--trust-email-verified",
      "--no-show-button",
      "--trusted-acr",
      "mfa",
      "--keep-access",
      "--no-enabled",
    ]);
    assert.deepEqual(made["settings"], {
      scopes: ["openid", "email"],
      token_endpoint_auth_method: "private_key_jwt",
      pkce: false,
      acr_values: ["a", "b"],
    });
    const { settings: _s, status, version, enter_there: there, ...rest } = made;
    assert.deepEqual(rest, {
      slug: "acme",
      kind: "oidc",
      name: "Acme",
      at_issuer: "partner",
      enabled: false,
      show_button: false,
      display_order: 3,
      issuer: "https://idp.example",
      client_id: "lintel",
      attribute_mapping: { given_name: "vorname" },
      group_mapping: { engineering: "CN=eng,O=acme" },
      role_mapping: { "billing:admin": "fin=1" },
      organization: "analytical",
      linking_policy: "isolated",
      jit_provisioning: false,
      sync_profile: true,
      trust_email_verified: true,
      trusted_acr_values: ["mfa"],
      keep_access: true,
      exchange_client_ids: [],
    });
    assert.equal(version, 1);
    assert.equal((status as Record<string, unknown>)["has_private_key"], true);
    assert.equal(
      (there as Record<string, unknown>)["jwks_uri"],
      `${ISSUER}/partner/federation/acme/jwks`,
    );
    await fails(["update", "acme", "--exchange-client", clientId], 1, /which is no client of this/);
  });

  it("lists, shows, changes and deletes", async () => {
    await read(google());
    const { out } = await lintel(["list"]);
    assert.match(
      out,
      /SLUG +KIND +NAME +ENABLED +ISSUER +DOMAINS +NOTES\ngoogle +google +Google +yes/,
    );
    const shown = await read(["show", "google"]);
    assert.deepEqual(await read(["list"]), [shown]);

    const changed = await read(["update", "google", "--name", "G", "--setting", "pkce=false"]);
    assert.equal(changed["name"], "G");
    assert.deepEqual(changed["settings"], { max_age: false, pkce: false });
    await fails(["update", "google", "--unset", "preset"], 1, /preset stays as it is/);
    const again = await read(["update", "google", "--unset", "settings.pkce"]);
    assert.deepEqual(again["settings"], { max_age: false });

    assert.deepEqual(await read(["delete", "google"]), {
      slug: "google",
      deleted: true,
      unlinked: 0,
      without_another_way: 0,
    });
    assert.deepEqual(await read(["list"]), []);
    await fails(["show", "google"], 1, /There is no connection google/);
  });

  it("takes back what it showed, edited, unless somebody else changed it meanwhile", async () => {
    const shown = await read(google());
    const edited = JSON.stringify({ ...shown, name: "Google Workspace" });
    const after = await read(["update", "google", "--file", "-"], edited);
    assert.equal(after["name"], "Google Workspace");
    assert.equal(after["version"], 2);
    await fails(["update", "google", "--file", "-"], 1, /has version 2, not 1/, edited);
    await fails(["update", "google", "--name", "x", "--if-version", "1"], 1, /version 2, not 1/);
  });

  it("defines one from JSON", async () => {
    const definition = { preset: "gitlab", client_id: "lintel", client_secret: SECRET };
    const made = await read(["add", "--file", "-"], JSON.stringify(definition));
    assert.equal(made["issuer"], "https://gitlab.com");
  });

  it("says how many people are unlinked by force", async () => {
    await read(google());
    const { id: providerId } = await IdentityProvider.query(database.knex)
      .findOne({ slug: "google" })
      .throwIfNotFound();
    const { id: userId } = await aUser({ database });
    const identity = { userId, providerId, issuer: "x", subject: "1", linkedVia: "user" } as const;
    await Identity.query(database.knex).insert(identity);
    await fails(["delete", "google"], 1, /People who are linked: 1\. .*: 0\. Run it with --force/);
    const { out } = await lintel(["delete", "google", "--force"]);
    assert.equal(
      out,
      "Deleted google.\nPeople who were unlinked: 1. Of these without another way to sign in: 0.\n",
    );
  });

  describe("with SAML", () => {
    const add = (...more: string[]) => [
      "add",
      "--kind",
      "saml",
      "--slug",
      "corp",
      "--name",
      "Corp",
      ...more,
    ];
    const address = () => `http://127.0.0.1:${(web.address() as AddressInfo).port}/metadata`;

    it("takes metadata from a file and says what to enter there", async () => {
      const file = join(dataDir, "idp.xml");
      writeFileSync(file, await aMetadata());
      const { out } = await lintel(add("--metadata-file", file));
      const here = `${ISSUER}/federation/corp`;
      assert.match(
        out,
        new RegExp(
          [
            "Enter at Corp:",
            `sp_metadata +${here}/metadata`,
            `entity_id +${here}/metadata`,
            `acs_url +${here}/acs`,
            `slo_url +${here}/slo`,
            `login_url +${here}/login`,
            "certificate_sha256 +([0-9A-F]{2}:){31}[0-9A-F]{2}\n",
          ].join("\n"),
        ),
      );
      await fails(["refresh", "corp"], 1, /corp has no metadata_url; give it new metadata with/);
      await fails(["refresh", "corp", "--accept"], 1, /nothing waits for corp/);
    });

    it("reads metadata again, and takes another certificate only when told to (T-106)", async () => {
      metadata = await aMetadata();
      const made = await read(add("--metadata-url", address()));
      assert.equal(made["metadata_url"], address());
      assert.match((await lintel(["refresh", "corp"])).out, /It says what it said before/);

      metadata = await aMetadata({ signOn: "https://idp.example/elsewhere" });
      const { outcome, changes } = await read(["refresh", "corp"]);
      assert.equal(outcome, "pending");
      const said = (changes as string[]).join("\n");
      assert.match(said, /^new signing certificate: [0-9A-F:]{95} until \d{4}-\d\d-\d\d$/m);
      assert.match(said, /^no more signing certificate: /m);
      assert.match(said, /^new sign-on address: https:\/\/idp\.example\/elsewhere \(redirect\)$/m);
      assert.match((await lintel(["list"])).out, /new metadata waits/);
      assert.equal((await read(["refresh", "corp"]))["outcome"], "pending", "and is told once");
      const { status } = await read(["show", "corp"]);
      const { sign_on: signOn } = (status as { metadata: Record<string, unknown> }).metadata;
      assert.deepEqual(signOn, ["https://idp.example/sso"], "nothing has changed yet");

      const { out } = await lintel(["refresh", "corp", "--accept"]);
      assert.match(out, /It is what is used from now on\.\n {2}new signing certificate: /);
      const row = await IdentityProvider.query(database.knex)
        .findOne({ slug: "corp" })
        .withGraphFetched("saml");
      assert.equal(row?.saml?.metadataXml, metadata);
      assert.equal(row.saml.pendingXml, null);
      const events = await AuditEvent.query(database.knex)
        .where("type", "like", "connection.metadata_%")
        .orderBy("occurredAt");
      assert.deepEqual(
        events.map(({ type, details }) => [type, details["outcome"]]),
        [
          ["connection.metadata_changed", "pending"],
          ["connection.metadata_accepted", undefined],
        ],
      );
    });

    it("changes our own key in three steps", async () => {
      const file = join(dataDir, "idp.xml");
      writeFileSync(file, await aMetadata());
      await read(add("--metadata-file", file));
      const rotate = (...more: string[]) => lintel(["rotate-key", "corp", ...more]);
      const { out } = await rotate();
      assert.match(out, /certificate_sha256 +\S+\nother_certificate_sha256 +([0-9A-F]{2}:?){32}\n/);
      assert.match(out, /Then: lintel connection rotate-key corp --switch\n$/);
      assert.match((await rotate("--switch")).out, /rotate-key corp --retire\n$/);
      const { enter_there: there } = await read(["rotate-key", "corp", "--retire"]);
      assert.ok(!("other_certificate_sha256" in (there as object)));
      await fails(["rotate-key", "corp", "--retire"], 1, /no other key is published yet/);
      await fails(["rotate-key", "corp", "--switch", "--retire"], 2, /are two steps/);
    });

    it("does not refresh what is not SAML", async () => {
      await read(google());
      await fails(["refresh", "google"], 1, /google is not a SAML connection/);
    });
  });

  describe("with a domain", () => {
    beforeEach(() => read(google()));

    it("says which record proves it, and believes that record", async () => {
      const { out } = await lintel(["domain", "add", "google", "acme.example"]);
      const value = /value +(lintel-domain-verification=\S+)/.exec(out)?.[1] ?? "";
      assert.match(
        out,
        /Publish this record in the DNS of acme\.example:\n\nname +_lintel-challen/,
      );
      assert.match(out, /Then: lintel connection domain verify google acme\.example/);
      const verify = ["domain", "verify", "google", "acme.example", "--dns-server", dns.address];
      await fails(verify, 1, /DNS has no TXT record at _lintel-challenge\.acme\.example/);
      dns.records.set("_lintel-challenge.acme.example", [[value]]);
      assert.match((await lintel(verify)).out, /acme\.example is proven/);
      assert.match((await lintel(["domain", "list", "google"])).out, /acme\.example +yes +no/);
      assert.match((await lintel(["list"])).out, / acme\.example/);

      const enforce = ["domain", "enforce", "google", "acme.example"];
      assert.match((await lintel(enforce)).out, /only\. They are 0; of these have not signed in/);
      const off = await read([...enforce, "--off"]);
      assert.equal(off["enforced"], false);
      assert.equal(off["people"], 0);
      assert.deepEqual(await read(["domain", "remove", "google", "acme.example"]), {
        slug: "google",
        domain: "acme.example",
        removed: true,
      });
    });

    it("refuses what cannot be proven or is everybody's", async () => {
      await fails(["domain", "add", "google", "gmail.com"], 1, /anybody can have an address/);
      await fails(
        ["domain", "enforce", "google", "acme.example"],
        1,
        /has no domain acme\.example/,
      );
      await read(["domain", "add", "google", "acme.example"]);
      await fails(["domain", "enforce", "google", "acme.example"], 1, /is not proven yet; run/);
      await fails(["domain", "add", "google"], 2, /<domain> is missing/);
      await fails(
        ["domain", "verify", "google", "acme.example", "--dns-server", "dns.example"],
        1,
        /--dns-server must be the address of a name server/,
      );
    });
  });

  describe("tries", () => {
    let upstream: TestServer;
    before(async function () {
      this.timeout(60_000);
      upstream = await aServer();
    });
    after(() => upstream.stop());

    const connect = (clientId: string, clientSecret: string) =>
      read(
        ["add", "--kind", "oidc", "--slug", "lintel", "--name", "Another Lintel"].concat(
          ["--issuer-url", upstream.issuer, "--client-id", clientId],
          ["--client-secret-file", "-"],
        ),
        clientSecret,
      );

    it("a provider that is well, step by step", async () => {
      const redirect = `${ISSUER}/federation/lintel/callback`;
      const client = await aClient(upstream, { redirect_uris: [redirect] });
      await connect(client.clientId, client.clientSecret);
      const { code, out } = await lintel(["test", "lintel"]);
      assert.equal(code, 0, out);
      assert.match(out, /^ +\d+ ms {2}\S/);
      assert.match(out, /client accepted/);
      assert.match(out, new RegExp(`Now sign in: ${ISSUER}/federation/lintel/login\n$`));
      assert.ok(!out.includes(client.clientSecret));
      const { ok, steps } = await read(["test", "lintel"]);
      assert.equal(ok, true);
      assert.ok((steps as unknown[]).length > 3);
    });

    it("one that refuses our secret, with the reason and what to do", async () => {
      const client = await aClient(upstream);
      await connect(client.clientId, "not-the-secret");
      const { code, out } = await lintel(["test", "lintel"]);
      assert.equal(code, 1);
      assert.match(
        out,
        /failed\n +reason: misconfigured\n +rule: oauth\.client\n +message: .*\n +hint: /,
      );
      assert.match(out, /This does not work yet/);
    });

    it("one that is not there", async () => {
      await read(
        ["add", "--kind", "oidc", "--slug", "gone", "--name", "Gone", "--client-id", "x"].concat([
          "--issuer-url",
          "http://localhost:9",
          "--client-secret-file",
          "-",
        ]),
        "x",
      );
      const { code, out, err } = await lintel(["test", "gone", "--json"]);
      assert.equal(code, 1);
      assert.equal(err, "");
      const { ok, steps } = JSON.parse(out) as { ok: boolean; steps: { detail?: object }[] };
      assert.equal(ok, false);
      assert.match(JSON.stringify(steps.at(-1)), /"reason":"unavailable"/);
    });
  });

  it("shows what happened where a sign-in failed, and no longer than it is kept", async () => {
    await read(google());
    const { id: providerId } = await IdentityProvider.query(database.knex)
      .findOne({ slug: "google" })
      .throwIfNotFound();
    const trace = (supportId: string, hours: number) =>
      FederationTrace.query(database.knex).insert({
        supportId,
        providerId,
        reason: "invalid",
        steps: [
          { at: 0, step: "token endpoint answered", detail: { status: 200 } },
          { at: 7, step: "failed", detail: { rule: "oidc.nonce", message: "turned \u202earound" } },
        ],
        createdAt: new Date(),
        expiresAt: new Date(Date.now() + hours * 3_600_000),
      });
    await trace("abc-123", 1);
    await trace("abc-old", -1);
    const { out } = await lintel(["trace", "abc-123"]);
    assert.match(out, /connection +google\nreason +invalid\nat +\d{4}-/);
    assert.match(out, / 7 ms {2}failed\n +rule: oidc\.nonce\n +message: turned \ufffdaround\n/);
    const { support_id: id, steps } = await read(["trace", "abc-123"]);
    assert.equal(id, "abc-123");
    assert.equal((steps as unknown[]).length, 2);
    await fails(["trace", "abc-old"], 1, /There is no trace with the support id abc-old/);
    await fails(["trace", "nothing"], 1, /There is no trace/);
  });

  it("does what docs/connections.md says", async function () {
    this.timeout(60_000);
    const idp = join(dataDir, "idp-metadata.xml");
    const key = join(dataDir, "key.p8");
    const p8 = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    writeFileSync(idp, await aMetadata());
    writeFileSync(key, p8.export({ type: "pkcs8", format: "pem" }));
    const text = readFileSync(new URL("../../docs/connections.md", import.meta.url), "utf8");
    const commands = [...text.matchAll(/```sh\n(.*?)```/gs)]
      .flatMap(([, block = ""]) => block.replaceAll("\\\n", " ").trim().split("\n"))
      .map((line) => line.replace(/^lintel | #.*$/g, ""))
      // What needs DNS, a web server or a failure.
      .filter((line) => !/^connection (domain (verify|enforce)|refresh|trace)/.test(line));
    assert.ok(commands.length > 20);
    for (const command of commands) {
      const args = command
        .replace(/--metadata-(url|file) \S+/, `--metadata-file ${idp}`)
        .replace(/--client-secret-file \S+/, secret().join(" "))
        .replace(/--private-key-file \S+/, `--private-key-file ${key}`)
        .match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)
        ?.map((word) => word.replaceAll(/^["']|["']$|(?<==)["']/g, ""));
      const { code, err } = await run(args ?? []);
      assert.equal(code, 0, `${command}: ${err}`);
    }
  });

  it("says what is wrong with the command line", async () => {
    await fails(["add"], 1, /kind is missing: oidc, oauth2 or saml; or name a preset: google/);
    await fails([...google(), "--param", "domain"], 2, /--param must be two parts with =/);
    await fails([...google(), "--setting", "pkce"], 2, /--setting must be two parts/);
    await fails([...google(), "--attribute", "=x"], 2, /--attribute must be two parts/);
    await fails([...google(), "--order", "first"], 2, /--order must be a whole number/);
    await fails(
      ["add", "--preset", "google", "--client-id", "x", "--client-secret-file", "/nowhere"],
      1,
      /--client-secret-file cannot be read/,
    );
    await fails(["add", "--file", "-"], 1, /- cannot be read as JSON/, "{");
    await fails(["update", "google"], 2, /There is nothing to change/);
    await fails(["update", "nowhere", "--name", "x"], 1, /There is no connection nowhere/);
  });
});
