import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { after, before, describe, it } from "mocha";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { createPasswords } from "../../src/authn/password.ts";
import { runCommand } from "../../src/cli/run.ts";
import { allVerbs } from "../../src/cli/verbs.ts";
import { addEmailFactor, factorsOf } from "../../src/authn/factors.ts";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { getClient } from "../../src/clients/clients.ts";
import { liveSecrets, secretMatches } from "../../src/clients/metadata.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { findUser } from "../../src/users/users.ts";
import { runCli, runProcess, type CliResult } from "../support/cli.ts";
import { testDatabase, testLog, type TestDatabase } from "../support/database.ts";
import { scratchDirectory } from "../support/scratch.ts";

const PASSWORD = "correct horse battery staple";
const VERBS = allVerbs({ run: async () => {}, migrateJobs: async () => {} });
const WEB = ["--name", "An app", "--redirect-uri", "https://app.example.com/cb"];

function failsWith(result: CliResult, code: number, pattern: RegExp): void {
  assert.equal(result.code, code, result.err);
  assert.equal(result.out, "");
  assert.match(result.err, pattern);
  assert.equal(result.err.trimEnd().split("\n").length, 1, "one line");
}

/** The same in this process, for what neither reads nor writes anything. */
async function parseOnly(args: readonly string[]): Promise<CliResult> {
  const written = { out: "", err: "" };
  const code = await runCommand(VERBS, "1.2.3", args, {
    environment: {},
    stdin: Readable.from([]),
    out: (text) => void (written.out += text),
    err: (text) => void (written.err += text),
  });
  return { code, ...written };
}

describe("lintel, the command line", () => {
  let db: TestDatabase;
  let dataDir: string;
  before(async () => {
    db = await testDatabase();
    dataDir = mkdtempSync(join(tmpdir(), "lintel-cli-"));
  });
  after(async () => {
    await db.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const environment = () => ({
    NODE_ENV: "test",
    DATABASE_URL: db.url,
    DATA_DIR: dataDir,
    FRONTCHANNEL_LOGOUT: "on",
  });
  const liveSecretMatches = async (clientId: unknown, secret: unknown) => {
    const client = await getClient(db.knex, String(clientId));
    await client.$fetchGraph("secrets", { transaction: db.knex });
    const hashes = liveSecrets(client.secrets ?? [], new Date()).map(({ secretHash }) =>
      secretHash.toString("hex"),
    );
    return secretMatches(hashes.join(","), String(secret));
  };
  const lintel = (args: string[], input?: string, settings: Record<string, string> = {}) =>
    runCli(args, { ...environment(), ...settings }, input);
  const json = async (args: string[], input?: string): Promise<Record<string, unknown>> => {
    const { code, out, err } = await lintel([...args, "--json"], input);
    assert.equal(code, 0, err);
    assert.equal(err, "");
    return JSON.parse(out) as Record<string, unknown>;
  };

  describe("as such", () => {
    it("does not mind whoever has read enough", async () => {
      const command = fileURLToPath(new URL("../../src/lintel.mjs", import.meta.url));
      const child = spawn(process.execPath, [command, "help"], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      child.stdout.destroy();
      const [said, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
      assert.deepEqual([said, code], ["", 0]);
    });

    it("explains itself at every level", async () => {
      for (const [args, expected] of [
        [["--help"], /^Usage: lintel <verb>/],
        [["help"], /client rotate-secret/],
        [["help", "client"], /^Usage: lintel client <verb>/],
        [["client", "--help"], /client rotate-secret/],
        [["client", "add", "--help"], /^Usage: lintel client add .*--redirect-uri URL/s],
        [["help", "user", "add"], /^Usage: lintel user add --email ADDRESS \[options\]/],
        [["start", "-h"], /^Usage: lintel start/],
        [["--version"], /^1\.2\.3$/],
      ] as const) {
        const { code, out, err } = await parseOnly(args);
        assert.deepEqual([code, err], [0, ""], args.join(" "));
        assert.match(out.trim(), expected);
      }
    });

    it("answers wrong usage with exit code 2 and a line that says what and where to look", async () => {
      for (const [args, expected] of [
        [["frobnicate"], /There is no verb `frobnicate`/],
        [["client", "frobnicate"], /There is no verb `client frobnicate`.*`lintel client --help`/],
        [["user", "add"], /--email is missing.*`lintel user add --help`/],
        [["user", "add", "--frobnicate"], /Unknown option '--frobnicate'/],
        [["client", "show"], /<client_id> is missing/],
        [["client", "show", "a", "b"], /`b` was not expected/],
        [["client", "list", "--limit", "x"], /--limit must be a whole number/],
        [["client", "rotate-secret", "a", "--keep", "1", "--revoke-old"], /exclude each other/],
      ] as const)
        failsWith(await parseOnly(args), 2, expected);
      const { code, err } = await runProcess(["client", "show"], environment());
      assert.deepEqual(
        [code, err],
        [2, "lintel: <client_id> is missing. See `lintel client show --help`.\n"],
      );
    });

    it("tells settings that are wrong, all of them, and exits with 1", async () => {
      const { code, err } = await runCli(["user", "list"], { NODE_ENV: "production" });
      assert.equal(code, 1);
      for (const name of ["ISSUER", "DATABASE_URL", "ENCRYPTION_KEY"])
        assert.match(err, new RegExp(name));
    });

    it("says that the database does not answer, without its password", async () => {
      const url = "postgres://lintel:hunter2@127.0.0.1:1/lintel";
      const result = await lintel(["user", "list"], "", { DATABASE_URL: url });
      failsWith(result, 1, /The database does not answer/);
      assert.doesNotMatch(result.err, /hunter2/);
    });

    it("refuses a schema that is not its own in production", async () => {
      const empty = await testDatabase({ empty: true });
      const production = {
        NODE_ENV: "production",
        ISSUER: "https://id.example.com",
        DATABASE_URL: empty.url,
        ENCRYPTION_KEY: randomBytes(32).toString("base64"),
      };
      try {
        failsWith(await runCli(["user", "list"], production), 1, /Run `lintel migrate`/);
        const status = await runCli(["migrate", "--status", "--json"], production);
        assert.equal(status.code, 1);
        assert.equal((JSON.parse(status.out) as { state: string }).state, "behind");
        const doctor = await runCli(["doctor", "--json"], production);
        assert.equal(doctor.code, 1);
        assert.match(doctor.out, /"name": "schema",\s+"status": "fail"/);

        const migrated = await runCli(["migrate", "--json"], production);
        assert.deepEqual([migrated.code, migrated.err], [0, ""]);
        assert.equal((await runCli(["migrate", "--status"], production)).code, 0);
        assert.equal((await runCli(["user", "list"], production)).code, 0);
      } finally {
        await empty.drop();
      }
    });
  });

  describe("for users", () => {
    it("adds one with a password from standard input", async () => {
      const args = [
        "user",
        "add",
        "--email",
        "Ann@Example.com",
        "--verified",
        "--password-stdin",
        "--name",
        "Ann",
      ];
      const added = await runProcess([...args, "--json"], environment(), `${PASSWORD}\n`);
      assert.equal(added.err, "");
      const shown = JSON.parse(added.out) as Record<string, unknown>;
      assert.equal(shown["email"], "Ann@example.com");
      assert.equal(shown["email_verified"], true);
      const user = await findUser(db.knex, "ann@example.com");
      assert.equal(user.id, shown["id"]);
      const { ok } = await createPasswords(createHashQueue()).verify(user.password?.hash, PASSWORD);
      assert.equal(ok, true);
      failsWith(
        await lintel(args, PASSWORD),
        1,
        /Another user already has this verified e-mail address/,
      );
    });

    it("refuses a weak password and adds nobody (T-60)", async () => {
      const args = ["user", "add", "--email", "bob@example.com", "--password-stdin"];
      failsWith(
        await lintel(args, "short"),
        1,
        /The password was not accepted: it needs at least 15/,
      );
      failsWith(await lintel(args, ""), 1, /The password was not accepted/);
      failsWith(
        await lintel(["user", "show", "bob@example.com"]),
        1,
        /There is no user bob@example.com/,
      );
    });

    it("lists, shows, disables and enables", async () => {
      await json(["user", "add", "--email", "carl@example.com"]);
      const { out } = await lintel(["user", "list"]);
      assert.match(out, /^ID +E-MAIL +VERIFIED +STATUS +NAME +CREATED\n/);
      assert.match(out, /carl@example.com +no +active/);
      const disabled = await json(["user", "disable", "carl@example.com"]);
      assert.equal(disabled["status"], "disabled");
      assert.equal((await json(["user", "show", String(disabled["id"])]))["status"], "disabled");
      assert.equal((await json(["user", "enable", "CARL@example.com"]))["status"], "active");
      const first = await lintel(["user", "list", "--limit", "1"]);
      const more = /More: lintel user list --after (\S+)/.exec(first.out)?.[1];
      assert.match((await lintel(["user", "list", "--after", more ?? ""])).out, /carl@example.com/);
    });

    it("takes a second step away, ends sessions, tells the user, and shows no secret (T-87)", async function () {
      this.timeout(60_000);
      await migrateJobs(db.url, testLog);
      const { id } = await json(["user", "add", "--email", "eve@example.com", "--verified"]);
      const userId = String(id);
      await addEmailFactor(db.knex, userId, new Date());
      const answer = await json(["user", "remove-factors", "eve@example.com"]);
      assert.deepEqual(answer, { id: userId, removed: 1 });
      assert.deepEqual(await factorsOf(db.knex, userId), []);
      const { sessionsValidAfter } = await findUser(db.knex, userId);
      assert.ok(sessionsValidAfter !== null);
      assert.equal(
        (await AuditEvent.query(db.knex).where({ userId, type: "factor.reset" })).length,
        1,
      );
      const [mail] = await OutboxMessage.query(db.knex).where({ userId });
      assert.equal(mail?.template, "factor_changed");
      failsWith(
        await lintel(["user", "remove-factors", "nobody@example.com"]),
        1,
        /no user nobody/,
      );
    });
  });

  describe("for clients", () => {
    it("adds one as the fixed interface says, and shows the secret once", async () => {
      const args = [
        "client",
        "add",
        ...WEB,
        "--grant",
        "authorization_code",
        "--grant",
        "refresh_token",
      ];
      const added = await json(args);
      assert.match(String(added["client_secret"]), /^ls_[\w-]{43}$/);
      assert.equal(added["client_secret_expires_at"], 0);
      assert.deepEqual(added["grant_types"], ["authorization_code", "refresh_token"]);
      const { client_id: id, client_secret: secret } = added;
      assert.equal(await liveSecretMatches(id, secret), true);
      const shown = await lintel(["client", "show", String(id), "--json"]);
      assert.equal(shown.out.includes(String(secret)), false);
      assert.match((await lintel(args)).out, /only time that the secret is shown/);
    });

    it("says everything that is wrong with one, and adds none", async () => {
      const args = [
        "client",
        "add",
        "--redirect-uri",
        "http://app.example.com/*",
        "--grant",
        "implicit",
      ];
      failsWith(
        await lintel(args),
        1,
        /client_name is missing; redirect_uris\[0\] must.*; grant_types must/,
      );
    });

    it("takes all metadata from options", async () => {
      const keys = join(dataDir, "jwks.json");
      const jwk = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" };
      writeFileSync(keys, JSON.stringify({ keys: [jwk] }));
      await IdentityProvider.query(db.knex).insert({
        slug: "acme",
        kind: "oauth2",
        name: "Acme",
        clientId: "lintel",
      });
      const added = await json([
        "client",
        "add",
        ...WEB,
        "--post-logout-redirect-uri",
        "https://app.example.com/",
        "--auth-method",
        "private_key_jwt",
        "--auth-signing-alg",
        "EdDSA",
        "--jwks",
        keys,
        "--type",
        "web",
        "--scope",
        "openid email",
        "--id-token-alg",
        "RS256",
        "--default-max-age",
        "600",
        "--require-auth-time",
        "--client-uri",
        "https://app.example.com",
        "--logo-uri",
        "https://app.example.com/logo.png",
        "--policy-uri",
        "https://app.example.com/p",
        "--tos-uri",
        "https://app.example.com/t",
        "--initiate-login-uri",
        "https://app.example.com/l",
        "--backchannel-logout-uri",
        "https://app.example.com/bcl",
        "--backchannel-logout-session",
        "--frontchannel-logout-uri",
        "https://app.example.com/fcl",
        "--frontchannel-logout-session",
        "--grant",
        "authorization_code",
        "--grant",
        "urn:openid:params:grant-type:ciba",
        "--ciba-mode",
        "ping",
        "--ciba-notification-endpoint",
        "https://app.example.com/ping",
        "--ciba-signing-alg",
        "ES256",
        "--contact",
        "ann@example.com",
        "--profile",
        "web",
        "--access-token-lifetime",
        "120",
        "--refresh-token-lifetime",
        "86400",
        "--dpop",
        "--require-par",
        "--request-uri",
        "https://app.example.com/request.jwt",
        "--first-party",
        "--sign-up",
        "open",
        "--require-verified-email",
        "--required-claim",
        "given_name",
        "--identity-provider",
        "acme",
        "--refresh-reuse-interval",
        "0",
        "--cors-origin",
        "https://app.example.com",
        "--client-id",
        "from-options",
      ]);
      const { client_id_issued_at: _issued, ...rest } = added;
      assert.deepEqual(rest, {
        client_id: "from-options",
        version: 1,
        client_name: "An app",
        application_type: "web",
        redirect_uris: ["https://app.example.com/cb"],
        post_logout_redirect_uris: ["https://app.example.com/"],
        grant_types: ["authorization_code", "urn:openid:params:grant-type:ciba"],
        response_types: ["code"],
        token_endpoint_auth_method: "private_key_jwt",
        token_endpoint_auth_signing_alg: "EdDSA",
        jwks: { keys: [jwk] },
        scope: "openid email",
        subject_type: "public",
        id_token_signed_response_alg: "RS256",
        default_max_age: 600,
        require_auth_time: true,
        client_uri: "https://app.example.com",
        logo_uri: "https://app.example.com/logo.png",
        policy_uri: "https://app.example.com/p",
        tos_uri: "https://app.example.com/t",
        initiate_login_uri: "https://app.example.com/l",
        backchannel_logout_uri: "https://app.example.com/bcl",
        backchannel_logout_session_required: true,
        frontchannel_logout_uri: "https://app.example.com/fcl",
        frontchannel_logout_session_required: true,
        backchannel_token_delivery_mode: "ping",
        backchannel_client_notification_endpoint: "https://app.example.com/ping",
        backchannel_authentication_request_signing_alg: "ES256",
        contacts: ["ann@example.com"],
        security_profile: "web",
        access_token_lifetime: 120,
        refresh_token_lifetime: 86400,
        authorization_details_types: [],
        dpop_bound_access_tokens: true,
        tls_client_certificate_bound_access_tokens: false,
        require_pushed_authorization_requests: true,
        require_signed_request_object: false,
        request_uris: ["https://app.example.com/request.jwt"],
        first_party: true,
        require_second_factor: false,
        sign_up: "open",
        require_verified_email: true,
        required_claims: ["given_name"],
        identity_providers: ["acme"],
        token_exchange_impersonation: false,
        refresh_reuse_interval: 0,
        cors_origins: ["https://app.example.com"],
      });
    });

    it("takes its name and links in other languages from options", async () => {
      const args = ["client", "add", ...WEB, "--localized"];
      const added = await json([
        ...args,
        "client_name#fr=Une appli = la nôtre",
        "--localized",
        "tos_uri#pt-BR=https://app.example.com/t?l=pt",
      ]);
      assert.equal(added["client_name#fr"], "Une appli = la nôtre");
      assert.equal(added["tos_uri#pt-BR"], "https://app.example.com/t?l=pt");
      failsWith(await lintel([...args, "client_name#tlh=x"]), 1, /client_name#tlh is not known/);
    });

    it("takes the name on its certificate from options, where certificates reach the server", async () => {
      const args = ["client", "add", ...WEB, "--json", "--tls-bound", "--auth-method"];
      const proxy = {
        TRUSTED_PROXIES: "1",
        MTLS_HEADER: "Client-Cert",
        MTLS_VERIFIED_HEADER: "X-Client-Verify",
        MTLS_PROXIES: "10.0.0.0/8",
      };
      for (const [flag, field, value] of [
        ["--tls-subject-dn", "tls_client_auth_subject_dn", "CN=photos,O=Acme"],
        ["--tls-san-dns", "tls_client_auth_san_dns", "photos.example"],
        ["--tls-san-uri", "tls_client_auth_san_uri", "spiffe://acme/photos"],
        ["--tls-san-ip", "tls_client_auth_san_ip", "10.0.0.1"],
        ["--tls-san-email", "tls_client_auth_san_email", "photos@acme.example"],
      ] as const) {
        const { out } = await lintel([...args, "tls_client_auth", flag, value], "", proxy);
        const added = JSON.parse(out) as Record<string, unknown>;
        assert.equal(added[field], value);
        assert.equal(added["tls_client_certificate_bound_access_tokens"], true);
        assert.equal(added["client_secret"], undefined);
      }
      failsWith(await lintel([...args, "tls_client_auth"]), 1, /at this issuer/);
    });

    it("takes the keys of whoever attests its instances, where that is on", async () => {
      const { publicKey } = generateKeyPairSync("ed25519");
      const keys = { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "attester" }] };
      const file = join(dataDir, "attester.json");
      writeFileSync(file, JSON.stringify(keys));
      const args = ["client", "add", ...WEB, "--json", "--auth-method", "attest_jwt_client_auth"];
      const uri = "https://attester.example/keys";
      for (const [flag, given, field, value] of [
        ["--attester-jwks", file, "attester_jwks", keys],
        ["--attester-jwks-uri", uri, "attester_jwks_uri", uri],
      ] as const) {
        const { out } = await lintel([...args, flag, given], "", { CLIENT_ATTESTATION: "on" });
        assert.deepEqual((JSON.parse(out) as Record<string, unknown>)[field], value);
      }
      failsWith(await lintel([...args, "--attester-jwks-uri", uri]), 1, /at this issuer/);
    });

    it("makes, lists and ends what lets others register clients at an issuer", async () => {
      const [token, more] = ["registration-token", "old=fapi1@http://localhost:3000/old"];
      const args = [token, "add", "--name", "partners", "--uses", "2", "--issuer"];
      failsWith(await lintel([...args, "old"]), 2, /--issuer old is none of MORE_ISSUERS/);
      const { out } = await lintel([...args, "old", "--json"], "", { MORE_ISSUERS: more });
      const made = JSON.parse(out) as Record<string, string>;
      assert.match(made["initial_access_token"] ?? "", /^lr_/);
      const list = async () => (await json([token, "list"])) as unknown as Record<string, string>[];
      const [row] = await list();
      assert.equal(row?.["issuer"], "old");
      assert.equal(row?.["uses"], "0 of 2");
      await json([token, "revoke", made["id"] ?? ""]);
      assert.notEqual((await list())[0]?.["revoked"], "no");
    });

    it("registers types of authorization details, lists them, and keeps those in use", async () => {
      const definition = {
        type: "payment_initiation",
        title: { en: "Make a payment", de: "Eine Zahlung ausführen" },
        properties: { creditor: { title: "Paid to", type: "string" } },
        required: ["creditor"],
      };
      const { type } = definition;
      const add = ["authorization-type", "add", "--file", "-"];
      assert.deepEqual(await json(add, JSON.stringify(definition)), definition);
      const { out } = await lintel(["authorization-type", "list"]);
      assert.match(out, /payment_initiation +Make a payment +creditor/);
      failsWith(await lintel(add, "{"), 1, /- cannot be read as JSON/);
      failsWith(await lintel(add, "{}"), 1, /type: .*; title: /);
      const client = await json(["client", "add", ...WEB, "--authorization-type", type]);
      assert.deepEqual(client["authorization_details_types"], ["payment_initiation"]);
      const drop = ["authorization-type", "delete", type];
      failsWith(await lintel(drop), 1, /Clients are registered for payment_initiation/);
      await lintel(["client", "delete", String(client["client_id"])]);
      assert.deepEqual(await json(drop), { type: "payment_initiation", deleted: true });
      failsWith(await lintel(drop), 1, /There is no authorization type payment_initiation/);
    });

    it("takes metadata from a file or standard input, with options on top", async () => {
      const metadata = {
        client_name: "From a file",
        redirect_uris: ["https://a.example/cb"],
        first_party: true,
      };
      const args = ["client", "add", "--file", "-", "--name", "On top", "--no-first-party"];
      const added = await json(args, JSON.stringify(metadata));
      assert.equal(added["client_name"], "On top");
      assert.equal(added["first_party"], false);
      failsWith(await lintel(args, "[]"), 1, /- must hold a JSON object/);
      failsWith(await lintel(args, "{"), 1, /- cannot be read as JSON/);
      failsWith(
        await lintel(args, JSON.stringify({ ...metadata, redirect_uri: "x" })),
        1,
        /redirect_uri is not known/,
      );
      failsWith(
        await lintel(["client", "add", "--file", "/nowhere.json"]),
        1,
        /\/nowhere.json cannot be read/,
      );
    });

    it("updates one by options, or by what it showed, edited", async () => {
      const { client_id: id } = await json([
        "client",
        "add",
        ...WEB,
        "--logo-uri",
        "https://a.example/l.png",
      ]);
      const update = ["client", "update", String(id)];
      const updated = await json([...update, "--name", "New", "--unset", "logo_uri"]);
      assert.equal(updated["client_name"], "New");
      assert.equal("logo_uri" in updated, false);
      const shown = await json(["client", "show", String(id)]);
      const edited = JSON.stringify({ ...shown, client_name: "Edited" });
      assert.equal((await json([...update, "--file", "-"], edited))["client_name"], "Edited");
      failsWith(
        await lintel([...update, "--file", "-"], edited),
        1,
        /was changed meanwhile: it has version 3, not 2/,
      );
      failsWith(
        await lintel([...update, "--name", "x", "--if-version", "1"]),
        1,
        /was changed meanwhile/,
      );
      failsWith(await lintel(update), 2, /nothing to change/);
      failsWith(await lintel([...update, "--unset", "nonsense"]), 1, /nonsense is not known/);
    });

    it("rotates secrets and deletes", async () => {
      const { client_id: id, client_secret: old } = await json(["client", "add", ...WEB]);
      const rotated = await json(["client", "rotate-secret", String(id)]);
      for (const secret of [old, rotated["client_secret"]])
        assert(await liveSecretMatches(id, secret));
      const again = await json(["client", "rotate-secret", String(id), "--revoke-old"]);
      assert.equal(await liveSecretMatches(id, old), false);
      assert.equal(await liveSecretMatches(id, rotated["client_secret"]), false);
      assert.equal(await liveSecretMatches(id, again["client_secret"]), true);
      assert.equal((await json(["client", "delete", String(id)]))["deleted"], true);
      failsWith(await lintel(["client", "show", String(id)]), 1, /There is no client with the id/);
      assert.doesNotMatch((await lintel(["client", "list"])).out, new RegExp(String(id)));
    });
  });

  describe("for keys", () => {
    it("rotates, lists, and records what it did", async () => {
      const states = async (args: string[]) => {
        const { out, code, err } = await lintel([...args, "--json"]);
        assert.equal(code, 0, err);
        assert.equal(/"d":|private/.test(out), false);
        const keys = JSON.parse(out) as { alg: string; state: string }[];
        return keys.map(({ alg, state }) => `${alg} ${state}`).toSorted();
      };
      const planned = ["ES256 active", "ES256 pending", "RS256 active", "RS256 pending"];
      assert.deepEqual(await states(["keys", "rotate"]), planned);
      assert.deepEqual(await states(["keys", "list"]), planned);
      const replaced = await states(["keys", "rotate", "--lead", "0", "--retire", "60"]);
      assert.deepEqual(replaced, [
        "ES256 active",
        "ES256 retiring",
        "RS256 active",
        "RS256 retiring",
      ]);
      assert.match(
        (await lintel(["keys", "list"])).out,
        /^KID +ALG +STATE +SIGNS FROM +PUBLISHED UNTIL\n/,
      );
      const events = await AuditEvent.query(db.knex).whereLike("type", "key.%");
      assert(
        events.some(({ type, details }) => type === "key.rotated" && details["alg"] === "ES256"),
      );
    });

    it("does not open a database that was made with another key", async () => {
      const other = { ENCRYPTION_KEY: randomBytes(32).toString("base64") };
      failsWith(await lintel(["keys", "rotate"], "", other), 1, /Set ENCRYPTION_KEY to the key/);
    });
  });

  it("prints a setup link until there is an administrator", async () => {
    const { out } = await lintel(["setup-link"]);
    assert.match(out, /^http:\/\/localhost:3000\/setup\/setup_[\w-]{43}\n$/);
    assert.equal((await json(["setup-link"]))["expires_in"], 3600);
    const { id } = await json(["user", "add", "--email", "admin@example.com"]);
    await db.knex("system_roles").insert({ user_id: id, role: "superadmin" });
    failsWith(await lintel(["setup-link"]), 1, /Setup is complete/);
  });

  it("finds the embedded database in development, and stops what it started", async function () {
    this.timeout(60_000);
    const own = mkdtempSync(join(scratchDirectory(), "lintel-embedded-"));
    try {
      const development = { DATA_DIR: own };
      const added = await runProcess(
        ["user", "add", "--email", "ann@example.com", "--json"],
        development,
      );
      assert.deepEqual([added.code, added.err], [0, ""]);
      const lists = await Promise.all([1, 2].map(() => runProcess(["user", "list"], development)));
      for (const { code, out, err } of lists) {
        assert.equal(code, 0, err);
        assert.match(out, /ann@example.com/);
      }
      const doctor = await runProcess(["doctor", "--json"], { ...development, PORT: "1" });
      assert.equal(doctor.code, 0, doctor.out);
    } finally {
      rmSync(own, { recursive: true, force: true });
    }
  });
});
