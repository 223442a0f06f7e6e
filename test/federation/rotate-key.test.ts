import assert from "node:assert/strict";
import {
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  verify,
  X509Certificate,
} from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { decodeProtectedHeader, type JWK } from "jose";
import { createConnection, getConnection } from "../../src/federation/connections.ts";
import { UpstreamError } from "../../src/federation/connector.ts";
import { Connectors, siteOf } from "../../src/federation/connectors.ts";
import { Credentials } from "../../src/federation/oidc/credentials.ts";
import { oidcSettings } from "../../src/federation/oidc/settings.ts";
import { rotateKey, type KeyStep } from "../../src/federation/rotate-key.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { testDatabase, testLog, type TestDatabase } from "../support/database.ts";
import { aServer, ENCRYPTION_KEY } from "../support/server.ts";
import {
  assertion,
  audience,
  conditions,
  confirmation,
  encrypted,
  IDP,
  metadata,
  posted,
  response,
  sharedKey,
  signed,
} from "../support/saml.ts";

const made = new Date(Date.now() - 60_000);
const ISSUER = "https://id.example";
const site = siteOf(ISSUER, "acme");

describe("our own key for a connection", () => {
  let database: TestDatabase;
  let seal: Seal;
  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  after(() => database.drop());
  beforeEach(() => IdentityProvider.query(database.knex).delete());

  const needs = () => ({
    knex: database.knex,
    seal,
    fetch,
    issuers: [{ name: "", url: ISSUER }],
  });
  const create = (input: object) =>
    createConnection(needs(), { slug: "acme", name: "Acme", ...input }, made);
  const step = (name: KeyStep) => rotateKey(needs(), "acme", name, new Date());
  const refuses = (name: KeyStep, message: RegExp) =>
    assert.rejects(step(name), { code: "invalid_connection", message });
  const connector = async () =>
    new Connectors({ ...needs(), log: testLog }, ISSUER).of(
      await getConnection(database.knex, "acme"),
    );

  describe("with SAML", () => {
    beforeEach(async () => {
      const { certificate } = await sharedKey();
      const given = { kind: "saml", want_encrypted: true, metadata_xml: metadata([certificate]) };
      await create(given);
    });

    const described = async () => {
      const { body = "" } = (await (await connector()).describe?.()) ?? {};
      const certificates = (use: string) =>
        [...body.matchAll(new RegExp(`use="${use}">.*?Certificate>([^<]+)<`, "g"))].map(
          ([, base64 = ""]) => new X509Certificate(Buffer.from(base64, "base64")),
        );
      return { signing: certificates("signing"), encryption: certificates("encryption") };
    };
    /** Whether a request is signed with the key of a certificate (SAML Bindings §3.4.4.1). */
    const signsWith = async (certificate: X509Certificate | undefined) => {
      const { to } = await (await connector()).leave({ state: "fs_x" }, () => undefined);
      const [query = "", signature = ""] = new URL(to.url).search.slice(1).split("&Signature=");
      const bytes = Buffer.from(decodeURIComponent(signature), "base64");
      const key = createPublicKey(certificate?.toString() ?? "");
      return verify("sha256", Buffer.from(query), key, bytes);
    };
    const reads = async (certificate: X509Certificate | undefined) => {
      const plain = assertion({
        confirmations: confirmation({ recipient: site.acs }),
        conditions: conditions(audience(site.metadata)),
      });
      const inside = encrypted(await signed(plain, "Assertion"), certificate?.toString() ?? "");
      const SAMLResponse = posted(response(inside, { destination: site.acs }));
      const answer = { parameters: { SAMLResponse }, secrets: { request_id: "_request" } };
      const arriving = (await connector()).arrive({ method: "POST", ...answer }, () => undefined);
      return arriving.then(
        ({ issuer }) => issuer === IDP,
        (error) => {
          assert.ok(error instanceof UpstreamError && error.rule === "saml.decryption", error);
          return false;
        },
      );
    };

    it("is published beside the one that is used (SAML Metadata §2.4.1.1)", async () => {
      const [old] = (await described()).signing;
      await step("publish");
      const { signing, encryption } = await described();
      assert.equal(signing.length, 2);
      assert.equal(signing[0]?.fingerprint256, old?.fingerprint256);
      assert.ok(await signsWith(old));
      assert.equal(await signsWith(signing[1]), false);
      assert.deepEqual(
        encryption.map(({ fingerprint256 }) => fingerprint256),
        [signing[1]?.fingerprint256],
        "what is encrypted from now on is for the one that stays",
      );
    });

    it("reads what is encrypted for either, until one is forgotten", async () => {
      await step("publish");
      const [old, next] = (await described()).signing;
      assert.deepEqual([await reads(old), await reads(next)], [true, true]);
      await step("switch");
      assert.deepEqual([await reads(old), await reads(next)], [true, true]);
      await step("retire");
      assert.deepEqual([await reads(old), await reads(next)], [false, true]);
    });

    it("is used once it is switched to, and the same step leads back", async () => {
      await step("publish");
      const [old, next] = (await described()).signing;
      await step("switch");
      assert.deepEqual([await signsWith(old), await signsWith(next)], [false, true]);
      assert.equal((await described()).signing.length, 2);
      assert.equal((await described()).encryption[0]?.fingerprint256, next?.fingerprint256);
      await step("switch");
      assert.deepEqual([await signsWith(old), await signsWith(next)], [true, false]);
    });

    it("forgets the one that is not used", async () => {
      await step("publish");
      const [, next] = (await described()).signing;
      await step("switch");
      await step("retire");
      const { signing } = await described();
      assert.deepEqual(
        signing.map(({ fingerprint256 }) => fingerprint256),
        [next?.fingerprint256],
      );
    });

    it("takes its steps in their order, and notes each", async () => {
      await AuditEvent.query(database.knex).delete();
      await refuses("switch", /no other key is published yet/);
      await refuses("retire", /no other key is published yet/);
      await step("publish");
      await refuses("publish", /another key is published already/);
      await step("retire");
      const events = await AuditEvent.query(database.knex)
        .where({ type: "connection.key_rotated" })
        .orderBy("occurredAt");
      assert.deepEqual(
        events.map(({ details }) => details["step"]),
        ["publish", "retire"],
      );
    });

    it("is made once, whoever asks at the same time", async () => {
      const tries = await Promise.allSettled(Array.from({ length: 4 }, () => step("publish")));
      assert.equal(tries.filter(({ status }) => status === "fulfilled").length, 1);
      assert.equal((await described()).signing.length, 2);
    });
  });

  describe("with private_key_jwt", () => {
    const OIDC = { kind: "oidc", issuer: "https://idp.example", client_id: "lintel" };
    const byKey = { token_endpoint_auth_method: "private_key_jwt" };
    const published = async () => {
      const { body = "{}" } = (await (await connector()).describe?.()) ?? {};
      return (JSON.parse(body) as { keys: JWK[] }).keys;
    };
    const used = async () => {
      const row = await getConnection(database.knex, "acme");
      const body = new URLSearchParams();
      const server = { issuer: row.issuer ?? "", token_endpoint: "https://idp.example/token" };
      await new Credentials(row, oidcSettings.parse(row.settings), seal).add(
        server,
        body,
        new Headers(),
      );
      return decodeProtectedHeader(body.get("client_assertion") ?? "").kid;
    };

    it("goes the same way, in the key set (RFC 7517 §5)", async () => {
      await create({ ...OIDC, settings: byKey });
      const [old] = await published();
      await step("publish");
      const [first, next] = await published();
      assert.deepEqual([first, await used()], [old, old?.kid]);
      assert.notEqual(next?.kid, old?.kid);
      assert.ok([first, next].every((key) => key !== undefined && !("d" in key)));
      await step("switch");
      assert.equal(await used(), next?.kid);
      assert.equal((await published()).length, 2);
      await step("retire");
      assert.deepEqual(await published(), [next]);
    });

    it("makes one of the same kind", async () => {
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
      await create({ ...OIDC, settings: byKey, private_key: pem });
      await step("publish");
      assert.deepEqual(
        (await published()).map(({ alg }) => alg),
        ["ES256", "ES256"],
      );
    });

    it("is of no use where a secret is shown, or the provider makes the key", async () => {
      await create({ ...OIDC, client_secret: "s3cret" });
      await refuses("publish", /no key of ours to rotate/);
      await IdentityProvider.query(database.knex).delete();
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
      const parameters = { team_id: "ABCDE12345", key_id: "FGHIJ67890" };
      await create({ preset: "apple", client_id: "com.example", private_key: pem, parameters });
      await refuses("publish", /give the new one with/);
    });
  });

  it("is asked for at its address as often as its provider likes, and is the one of that moment", async () => {
    const server = await aServer();
    try {
      const { knex } = server.database;
      const at = {
        knex,
        seal: await openSeal(knex, { encryptionKey: Buffer.from(ENCRYPTION_KEY, "base64") }),
        fetch,
        issuers: [{ name: "", url: server.issuer }],
      };
      const given = { kind: "oidc", issuer: "https://idp.example", client_id: "lintel" };
      const settings = { token_endpoint_auth_method: "private_key_jwt" };
      await createConnection(at, { slug: "acme", name: "Acme", ...given, settings }, made);
      const asked = async (path = "/federation/acme/jwks") => {
        const answer = await fetch(server.issuer + path);
        assert.match(answer.headers.get("content-type") ?? "", /^application\/jwk-set\+json/);
        return ((await answer.json()) as { keys: JWK[] }).keys.length;
      };
      const inCapitals = "/FEDERATION/acme/jwks";
      assert.deepEqual([await asked(), await asked(), await asked(inCapitals)], [1, 1, 1]);
      await rotateKey(at, "acme", "publish", new Date());
      const patience = Date.now() + 5_000;
      while ((await asked()) !== 2 && Date.now() < patience) await delay(20);
      assert.deepEqual([await asked(), await asked(inCapitals)], [2, 2]);
    } finally {
      await server.stop();
    }
  });
});
