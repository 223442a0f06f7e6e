import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { JWK } from "jose";
import { createClient, updateClient } from "../../src/clients/clients.ts";
import {
  createConnection,
  deleteConnection,
  getConnection,
  linkedTo,
  listConnections,
  updateConnection,
  type ConnectionNeeds,
} from "../../src/federation/connections.ts";
import { toDefinition } from "../../src/federation/rows.ts";
import { openSeal } from "../../src/keys/seal.ts";
import { createSafeFetch } from "../../src/lib/fetch.ts";
import { createLogger } from "../../src/lib/log.ts";
import { keepTokens } from "../../src/federation/tokens.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityToken } from "../../src/models/identity-token.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Session } from "../../src/models/session.ts";
import { Organization } from "../../src/models/organization.ts";
import { OrganizationMember } from "../../src/models/organization-member.ts";
import { createGroup } from "../../src/users/groups.ts";
import { createOrganization, deleteOrganization } from "../../src/users/organizations.ts";
import { createRole } from "../../src/users/roles.ts";
import { createUser } from "../../src/users/users.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aMetadata } from "../support/saml-metadata.ts";

const now = new Date();
const log = createLogger({ level: "silent" });
const OIDC = {
  slug: "acme",
  kind: "oidc",
  name: "Acme",
  issuer: "https://idp.example",
  client_id: "lintel",
  client_secret: "s3cret-of-acme",
};
const VENDOR = {
  slug: "vendor",
  kind: "oauth2",
  name: "Vendor",
  client_id: "lintel",
  client_secret: "s3cret-of-vendor",
  settings: {
    authorization_endpoint: "https://vendor.example/authorize",
    token_endpoint: "https://vendor.example/token",
    userinfo_endpoint: "https://vendor.example/me",
    subject_claims: ["id"],
  },
};
const P8 = generateKeyPairSync("ec", { namedCurve: "P-256" })
  .privateKey.export({ type: "pkcs8", format: "pem" })
  .toString();

describe("connections", () => {
  let database: TestDatabase;
  let needs: ConnectionNeeds;
  /** What the provider's web server answers with. */
  let published: { status: number; body: string };
  let web: Server;
  let address: string;
  before(async () => {
    database = await testDatabase();
    const { knex } = database;
    needs = {
      knex,
      seal: await openSeal(knex, { encryptionKey: randomBytes(32) }),
      fetch: createSafeFetch({ allowLoopback: true, allowHttp: true, log }),
      issuers: [
        { name: "", url: "https://id.example" },
        { name: "partner", url: "https://id.example/partner" },
      ],
    };
    web = createServer((_request, answer) =>
      answer.writeHead(published.status).end(published.body),
    ).listen(0, "127.0.0.1");
    await new Promise((resolve) => web.once("listening", resolve));
    address = `http://127.0.0.1:${(web.address() as AddressInfo).port}/metadata`;
  });
  after(async () => {
    await new Promise((resolve) => web.close(resolve));
    await database.drop();
  });
  beforeEach(async () => {
    await Identity.query(database.knex).delete();
    await IdentityProvider.query(database.knex).delete();
    await AuditEvent.query(database.knex).delete();
  });

  const create = (input: object) => createConnection(needs, { ...input }, now);
  const update = (
    slug: string,
    given: object,
    more: { ifVersion?: number; force?: boolean } = {},
  ) => updateConnection(needs, slug, { given: { ...given }, ...more }, now);
  const remove = (slug: string, force = false) =>
    database.knex.transaction((trx) => deleteConnection(trx, slug, { force }, now));
  const opened = (row: IdentityProvider, column: "client_secret_enc" | "private_key_enc") => {
    const sealed = column === "client_secret_enc" ? row.clientSecretEnc : row.privateKeyEnc;
    assert.ok(sealed);
    return needs.seal
      .decrypt(sealed, { table: "identity_providers", column, id: row.id })
      .toString();
  };
  const keyOf = (row: IdentityProvider) =>
    (JSON.parse(opened(row, "private_key_enc")) as { keys: JWK[] }).keys[0];
  const person = async (email: string, passwordHash?: string) => {
    const input = { email, verified: true, via: "admin" as const, passwordHash };
    return (await database.knex.transaction((trx) => createUser(trx, input, now))).id;
  };
  const link = ({ id: providerId }: IdentityProvider, userId: string, subject = userId) =>
    Identity.query(database.knex).insertAndFetch({
      userId,
      providerId,
      issuer: "https://idp.example",
      subject,
      linkedVia: "user",
    });
  const refuses = (work: Promise<unknown>, message: RegExp, code = "invalid_connection") =>
    assert.rejects(work, { code, message });

  describe("are defined", () => {
    it("with what is safe unless said", async () => {
      const row = await create(OIDC);
      const { client_secret: _secret, ...said } = OIDC;
      assert.deepEqual(toDefinition(row), {
        ...said,
        at_issuer: "",
        enabled: true,
        show_button: true,
        display_order: 100,
        settings: {},
        attribute_mapping: {},
        group_mapping: {},
        role_mapping: {},
        linking_policy: "prompt",
        jit_provisioning: true,
        sync_profile: false,
        trust_email_verified: false,
        trusted_acr_values: [],
        keep_access: false,
        exchange_client_ids: [],
      });
      assert.equal(row.version, 1);
    });

    it("with their secret sealed, for this row and no other", async () => {
      const row = await create(OIDC);
      assert.equal(opened(row, "client_secret_enc"), OIDC.client_secret);
      const other = await create({ ...OIDC, slug: "other" });
      assert.throws(() =>
        opened({ ...other, id: row.id } as IdentityProvider, "client_secret_enc"),
      );
      const { rows } = await database.knex.raw<{ rows: object[] }>(
        "SELECT * FROM identity_providers UNION ALL SELECT * FROM identity_providers",
      );
      assert.doesNotMatch(JSON.stringify(rows), /s3cret/);
    });

    it("with everything that can be said", async () => {
      const { client } = await database.knex.transaction((trx) =>
        createClient(
          trx,
          { metadata: { client_name: "Notes", redirect_uris: ["https://notes.example/cb"] } },
          now,
        ),
      );
      await database.knex.transaction((trx) =>
        createGroup(trx, { name: "engineering", requireSecondFactor: false }),
      );
      await createRole(database.knex, { slug: "approver" });
      await createOrganization(database.knex, { slug: "analytical" });
      const everything = {
        ...OIDC,
        slug: "all",
        enabled: false,
        show_button: false,
        display_order: 7,
        at_issuer: "",
        settings: { scopes: ["openid"], pkce: false },
        attribute_mapping: { given_name: "vorname" },
        group_mapping: { engineering: "CN=eng,O=acme" },
        role_mapping: { approver: "fin" },
        organization: "analytical",
        linking_policy: "verified_email",
        jit_provisioning: false,
        sync_profile: true,
        trust_email_verified: true,
        trusted_acr_values: ["mfa"],
        keep_access: true,
        exchange_client_ids: [client.clientId],
      };
      const { client_secret: _secret, ...said } = everything;
      assert.deepEqual(toDefinition(await create(everything)), said);
    });

    it("of a vendor without an issuer by where it gives tokens out", async () => {
      assert.equal((await create(VENDOR)).issuer, "https://vendor.example");
    });

    it("at one of the issuers there are", async () => {
      assert.equal((await create({ ...OIDC, at_issuer: "partner" })).atIssuer, "partner");
      await refuses(create({ ...OIDC, at_issuer: "nowhere" }), /^at_issuer nowhere is not one of/);
    });

    it("once", async () => {
      await create(OIDC);
      await refuses(create(OIDC), /^slug acme is in use, so choose another/);
    });

    it("and recorded without anything secret", async () => {
      const { id } = await create(OIDC);
      const [event, ...others] = await AuditEvent.query(database.knex);
      assert.equal(others.length, 0);
      assert.equal(event?.type, "connection.created");
      assert.equal(event.targetId, id);
      assert.deepEqual(event.details, { slug: "acme", kind: "oidc" });
    });

    it("not by halves: what is refused leaves nothing", async () => {
      await refuses(
        create({ ...OIDC, keep_access: true, exchange_client_ids: ["x"] }),
        /no client/,
      );
      assert.deepEqual(await listConnections(database.knex), []);
    });
  });

  describe("refuse", () => {
    for (const [what, given, message] of [
      ["no kind", { kind: undefined }, /^kind is missing: oidc, oauth2 or saml; or name a preset/],
      ["another kind", { kind: "ldap" }, /^kind must be oidc or oauth2 or saml/],
      ["no name", { name: undefined }, /^name is missing/],
      ["an empty name", { name: " " }, /^name must not be empty/],
      ["a long name", { name: "x".repeat(101) }, /^name must have at most 100 characters/],
      ["a deceptive name", { name: "Goog\u200ble" }, /^name must not contain control or invis/],
      ["no slug", { slug: undefined }, /^slug is missing/],
      ["a slug with capitals", { slug: "Acme" }, /^slug must be 1 to 50 lower-case letters/],
      ["a slug of 51 letters", { slug: "a".repeat(51) }, /^slug must be 1 to 50/],
      ["a slug with a path", { slug: "a/b" }, /^slug must be 1 to 50/],
      ["no issuer", { issuer: undefined }, /^issuer is missing/],
      ["an issuer over http", { issuer: "http://idp.example" }, /^issuer must use https/],
      [
        "an issuer with a query",
        { issuer: "https://i.example/?a=b" },
        /^issuer must have no query/,
      ],
      ["no client_id", { client_id: undefined }, /^client_id is missing/],
      ["what is not known", { colour: "red" }, /^colour is not known, so remove or rename/],
      ["an order that is none", { display_order: 1.5 }, /^display_order must be a whole number/],
      ["a policy that is none", { linking_policy: "always" }, /^linking_policy must be never or/],
      [
        "a mapping to what is no claim",
        { attribute_mapping: { roles: "x" } },
        /^attribute_mapping must not contain roles/,
      ],
      [
        "a mapping to nothing",
        { attribute_mapping: { name: "" } },
        /^attribute_mapping\.name must/,
      ],
      ["a group for nothing", { group_mapping: { eng: "" } }, /^group_mapping\.eng must not be/],
      [
        "a group that is not there",
        { group_mapping: { eng: "x" } },
        /^group_mapping has eng, which is no group; see `lintel group list`/,
      ],
      [
        "a role that is not there",
        { role_mapping: { root: "x" } },
        /^role_mapping has root, which is no role; see `lintel role list`/,
      ],
      [
        "an organization that is not there",
        { organization: "nobody" },
        /^organization nobody is none; see `lintel organization list`/,
      ],
      ["an unknown setting", { settings: { colour: 1 } }, /^settings must not contain colour/],
      [
        "settings of the wrong type",
        { settings: { pkce: "no" } },
        /^settings\.pkce must be a bool/,
      ],
      [
        "linking by addresses that are not trusted",
        { linking_policy: "verified_email" },
        /^trust_email_verified must be true where linking_policy is verified_email/,
      ],
      [
        "clients for tokens that are not kept",
        { exchange_client_ids: ["notes"] },
        /^keep_access must be true/,
      ],
      [
        "an unknown client",
        { keep_access: true, exchange_client_ids: ["nobody"] },
        /^exchange_client_ids has nobody, which is no client of this issuer/,
      ],
      ["parameters without a preset", { parameters: {} }, /^parameters are a preset's/],
      ["no secret", { client_secret: undefined }, /^client_secret is missing; or set settings\./],
      ["an empty secret", { client_secret: "" }, /^client_secret must be the secret as text/],
      [
        "a secret that is no text",
        { client_secret: { a: 1 } },
        /^client_secret must be the secret/,
      ],
      [
        "a key that is none",
        { private_key: "-----BEGIN NOTHING" },
        /^private_key must be a private key as PEM that begins/,
      ],
      [
        "a secret where nobody asks for one",
        { settings: { token_endpoint_auth_method: "none" } },
        /^client_secret and private_key must be null where/,
      ],
      [
        "many directories without their names",
        { issuer: "https://login.example/{tenantid}/v2.0" },
        /settings\.allowed_tenants must name at least one directory/,
      ],
      [
        "settings that are not enough",
        { kind: "oauth2", settings: { token_endpoint: "https://v.example/token" } },
        /^settings\.subject_claims is missing; .*settings\.authorization_endpoint is missing/,
      ],
      ["what SAML does not have", { kind: "saml" }, /client_id.* not known, so remove/],
    ] as const)
      it(what, () => refuses(create({ ...OIDC, ...given }), message));

    it("several things at once, and says all", () =>
      refuses(
        create({ ...OIDC, slug: "A", name: "", display_order: -1 }),
        /^slug must .*; name must .*; display_order must be at least 0/,
      ));

    it("a secret without repeating it", async () => {
      const [secret, key] = ["s3cret".repeat(1_000), `${P8}s3cret`];
      for (const given of [{ client_secret: secret }, { private_key: `x${key}` }])
        await assert.rejects(create({ ...OIDC, ...given }), (error: Error) => {
          assert.doesNotMatch(error.message, /s3cret|MIG/);
          return true;
        });
    });
  });

  describe("authenticate", () => {
    const method = (name: string) => ({ settings: { token_endpoint_auth_method: name } });

    it("with a key that is made for them, where they sign assertions (OIDC Core §9)", async () => {
      const { client_secret: _secret, ...without } = OIDC;
      const row = await create({ ...without, ...method("private_key_jwt") });
      const jwk = keyOf(row);
      assert.equal(typeof jwk?.d, "string");
      assert.equal(typeof jwk?.kid, "string");
      const after = await update("acme", { name: "Still Acme" });
      assert.deepEqual(after.privateKeyEnc, row.privateKeyEnc, "and stays");
    });

    it("with a key of their own", async () => {
      const { client_secret: _secret, ...without } = OIDC;
      const row = await create({ ...without, ...method("private_key_jwt"), private_key: P8 });
      assert.equal(keyOf(row)?.crv, "P-256");
    });

    it("not at all, where the provider takes public clients", async () => {
      const { client_secret: _secret, ...without } = OIDC;
      const row = await create({ ...without, ...method("none") });
      assert.deepEqual([row.clientSecretEnc, row.privateKeyEnc], [null, null]);
    });

    it("with a new secret, or another method, later", async () => {
      const before = await create(OIDC);
      const second = await update("acme", { client_secret: "another" });
      assert.equal(opened(second, "client_secret_enc"), "another");
      assert.equal(second.version, before.version + 1);
      await refuses(update("acme", { client_secret: null }), /^client_secret is missing/);
      await refuses(update("acme", method("none")), /must be null where/);
      const third = await update("acme", { client_secret: null, ...method("none") });
      assert.equal(third.clientSecretEnc, null);
    });
  });

  describe("come from presets", () => {
    const client = { client_id: "lintel", client_secret: "s3cret" };

    it("with nothing but credentials", async () => {
      const row = await create({ preset: "google", ...client });
      assert.equal(row.slug, "google");
      assert.equal(row.issuer, "https://accounts.google.com");
      assert.equal(row.trustEmailVerified, true);
      assert.equal(row.preset, "google");
    });

    it("with what is said on top", async () => {
      const row = await create({
        preset: "github",
        slug: "work",
        name: "GitHub at work",
        parameters: { domain: "github.acme.example" },
        settings: { scopes: ["read:user"] },
        attribute_mapping: { picture: null },
        ...client,
      });
      assert.equal(row.slug, "work");
      assert.equal(
        row.settings["token_endpoint"],
        "https://github.acme.example/login/oauth/access_token",
      );
      assert.deepEqual(row.settings["scopes"], ["read:user"]);
      assert.deepEqual(Object.keys(row.attributeMapping).toSorted(), [
        "preferred_username",
        "profile",
      ]);
    });

    it("and say which parameter is missing or wrong", async () => {
      await refuses(
        create({ preset: "okta", ...client }),
        /^parameters: domain is missing, such as/,
      );
      await refuses(
        create({ preset: "okta", parameters: { domain: "https://acme.okta.com" }, ...client }),
        /^parameters: domain must be a host name/,
      );
      await refuses(
        create({ preset: "google", parameters: { colour: "red" }, ...client }),
        /^parameters: colour is not known/,
      );
      await refuses(
        create({ preset: "myspace", ...client }),
        /^preset must be google or microsoft/,
      );
    });

    it("where the key of a team makes the secret (Sign in with Apple)", async () => {
      const parameters = { team_id: "ABCDE12345", key_id: "FGHIJ67890" };
      const apple = { preset: "apple", client_id: "com.acme.web", parameters };
      await refuses(create(apple), /^private_key is missing: the \.p8 file/);
      await refuses(
        create({ ...apple, private_key: P8, client_secret: "x" }),
        /^client_secret is made from private_key, so remove it/,
      );
      const row = await create({ ...apple, private_key: P8 });
      assert.equal(keyOf(row)?.crv, "P-256");
    });
  });

  describe("speak SAML", () => {
    const SAML = { slug: "corp", kind: "saml", name: "Corp" };

    it("from a file of metadata, with a key of their own", async () => {
      const row = await create({ ...SAML, metadata_xml: await aMetadata() });
      assert.equal(row.issuer, "https://idp.example/metadata");
      assert.match(row.saml?.spCertificate ?? "", /BEGIN CERTIFICATE/);
      assert.doesNotMatch(row.saml?.spPrivateKeyEnc.toString("latin1") ?? "", /PRIVATE KEY/);
      const other = await create({ ...SAML, slug: "two", metadata_xml: await aMetadata() });
      assert.notEqual(row.saml?.spCertificate, other.saml?.spCertificate);
    });

    it("with everything that can be said", async () => {
      const everything = {
        name_id_format: "emailAddress",
        sign_requests: false,
        want_response_signed: true,
        want_encrypted: true,
        allow_idp_initiated: true,
        allow_legacy_crypto: true,
        settings: { subject_formats: ["emailAddress"], groups_claim: "memberOf" },
      };
      const row = await create({ ...SAML, ...everything, metadata_xml: await aMetadata() });
      assert.equal(
        row.saml?.nameIdFormat,
        "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
      );
      const definition = toDefinition(row);
      for (const [field, value] of Object.entries(everything))
        assert.deepEqual(definition[field], value, field);
    });

    it("not by a name that does not last (SAML Core §8.3.8)", async () => {
      const saml = { ...SAML, metadata_xml: await aMetadata() };
      await refuses(
        create({ ...saml, name_id_format: "nick" }),
        /^name_id_format must be persistent/,
      );
      await refuses(
        create({ ...saml, name_id_format: "transient" }),
        /^settings\.subject_attribute must name an attribute that lasts/,
      );
      await refuses(
        create({ ...saml, name_id_format: "unspecified" }),
        /^settings\.subject_formats must have unspecified where name_id_format is/,
      );
      const settings = { subject_attribute: "uid" };
      await create({ ...saml, name_id_format: "transient", settings });
    });

    it("from an address, which is remembered", async () => {
      published = { status: 200, body: await aMetadata() };
      const row = await create({ ...SAML, metadata_url: address });
      assert.equal(row.saml?.metadataUrl, address);
      assert.deepEqual(row.saml.metadataFetchedAt, now);
      assert.equal(row.saml.metadataXml, published.body);
    });

    it("not without metadata, nor with what is none, nor with what is over", async () => {
      await refuses(create(SAML), /^metadata_url or metadata_xml must be given for saml/);
      await refuses(create({ ...SAML, metadata_xml: "<a/>" }), /^metadata cannot be used: /);
      await refuses(create({ ...SAML, metadata_xml: "hello" }), /^metadata cannot be used: /);
      const over = await aMetadata({ validUntil: new Date(now.getTime() - 1_000) });
      await refuses(
        create({ ...SAML, metadata_xml: over }),
        /^metadata was good until .*newer one/,
      );
      const other = { ...SAML, metadata_xml: await aMetadata(), issuer: "https://other.example" };
      await refuses(create(other), /^metadata cannot be used: /);
    });

    it("not from an address that does not answer, or is not public (T-106)", async () => {
      published = { status: 404, body: "" };
      await refuses(
        create({ ...SAML, metadata_url: address }),
        /^metadata cannot be used: .* cannot be fetched: the status is 404/,
      );
      const strict = createSafeFetch({ log });
      const work = createConnection(
        { ...needs, fetch: strict },
        { ...SAML, metadata_url: "https://127.0.0.1/metadata" },
        now,
      );
      await refuses(work, /cannot be fetched: .*list https:\/\/127\.0\.0\.1 in TRUSTED_ORIGINS/);
    });

    it("and have neither secrets nor tokens", async () => {
      const saml = { ...SAML, metadata_xml: await aMetadata() };
      await refuses(create({ ...saml, client_secret: "x" }), /are for oidc and oauth2/);
      await refuses(create({ ...saml, keep_access: true }), /^keep_access is not known/);
    });

    it("and keep their metadata while something else changes, even when its time is over", async () => {
      const xml = await aMetadata({ validUntil: new Date(now.getTime() + 1_000) });
      const before = await create({ ...SAML, metadata_xml: xml });
      await before.saml?.$query(database.knex).patch({ pendingXml: "<pending/>" });
      const later = new Date(now.getTime() + 60_000);
      const change = { given: { sign_requests: false } };
      const after = await updateConnection(needs, "corp", change, later);
      assert.equal(after.saml?.signRequests, false);
      assert.equal(after.saml.metadataXml, xml);
      assert.equal(after.saml.pendingXml, "<pending/>");
      assert.equal(after.saml.spCertificate, before.saml?.spCertificate);
    });

    it("and take a new file from who gives it, which is the end of what was pending", async () => {
      const before = await create({ ...SAML, metadata_xml: await aMetadata() });
      await before.saml?.$query(database.knex).patch({ pendingXml: "<pending/>" });
      const xml = await aMetadata({ signOn: "https://idp.example/new" });
      const after = await update("corp", { metadata_xml: xml });
      assert.equal(after.saml?.metadataXml, xml);
      assert.equal(after.saml.pendingXml, null);
      const other = await aMetadata({ entityId: "https://other.example" });
      await refuses(update("corp", { metadata_xml: other }), /^metadata cannot be used: /);
      const moved = await update("corp", { metadata_xml: other, issuer: null });
      assert.equal(moved.issuer, "https://other.example");
    });
  });

  describe("are changed", () => {
    it("as far as is said; the rest stays", async () => {
      await create({ ...OIDC, settings: { pkce: false, scopes: ["openid"] } });
      const row = await update("acme", { name: "Acme Inc.", settings: { scopes: null } });
      assert.equal(row.name, "Acme Inc.");
      assert.deepEqual(row.settings, { pkce: false });
      assert.equal(opened(row, "client_secret_enc"), OIDC.client_secret);
      assert.equal(row.version, 2);
    });

    it("back to what they are unless said", async () => {
      await create({ ...OIDC, sync_profile: true });
      assert.equal((await update("acme", { sync_profile: null })).syncProfile, false);
      await refuses(update("acme", { name: null }), /^name is missing/);
    });

    it("as a whole that is checked again", async () => {
      await create(OIDC);
      await refuses(update("acme", { linking_policy: "verified_email" }), /^trust_email_verified/);
      await refuses(update("acme", { colour: "red" }), /^colour is not known/);
    });

    it("but for what they are known by", async () => {
      await create(OIDC);
      for (const given of [{ slug: "b" }, { preset: "google" }, { at_issuer: "partner" }])
        await refuses(update("acme", given), /stays as it is, so remove it, or add another/);
      await refuses(update("acme", { kind: "saml" }), /not known|stays as it is/);
    });

    it("to another organization, whose people those of the first are not", async () => {
      const { knex } = database;
      for (const slug of ["first", "second"]) await createOrganization(knex, { slug });
      const row = await create({ ...OIDC, organization: "first" });
      const [ann, bob] = [await person("ann@first.example"), await person("bob@first.example")];
      const { organizationId } = row;
      for (const [userId, identityId] of [
        [ann, (await link(row, ann)).id],
        [bob, null],
      ] as const)
        await OrganizationMember.query(knex).insert({
          organizationId: organizationId ?? "",
          userId,
          identityId,
        });
      await update("acme", { name: "Acme Inc." });
      assert.equal((await Organization.of(knex, ann)).length, 1);
      const after = await update("acme", { organization: "second" });
      assert.equal(toDefinition(after)["organization"], "second");
      assert.deepEqual(await Organization.of(knex, ann), []);
      assert.equal((await Organization.of(knex, bob)).length, 1);
      await assert.rejects(deleteOrganization(knex, "second"), { code: "organization_in_use" });
      const freed = await update("acme", { organization: null });
      assert.equal(toDefinition(freed)["organization"], undefined);
      await deleteOrganization(knex, "second");
    });

    it("not by two at once", async () => {
      await create(OIDC);
      await refuses(
        update("acme", { name: "B" }, { ifVersion: 7 }),
        /has version 1, not 7/,
        "connection_changed",
      );
      const both = ["B", "C"].map((name) => update("acme", { name }, { ifVersion: 1 }));
      const outcomes = await Promise.allSettled(both);
      assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
      assert.equal((await getConnection(database.knex, "acme")).version, 2);
    });

    it("and recorded by the names of the fields", async () => {
      await create(OIDC);
      await update("acme", { name: "B", client_secret: "another", settings: { pkce: false } });
      const event = await AuditEvent.query(database.knex).findOne({ type: "connection.updated" });
      assert.deepEqual(event?.details, {
        slug: "acme",
        fields: ["name", "settings", "client_secret"],
      });
    });

    it("and forget the tokens of their people where they keep access no more", async () => {
      const row = await create({ ...OIDC, keep_access: true });
      const { id: identityId } = await link(row, await person("ada-tokens@example.com"));
      const tokens = { accessToken: "at", scopes: [] };
      await keepTokens(database.knex, needs.seal, row, { identityId, tokens, now });
      await update(row.slug, { name: "Still kept" });
      assert.equal((await IdentityToken.query(database.knex)).length, 1);
      await update(row.slug, { keep_access: false });
      assert.deepEqual(await IdentityToken.query(database.knex), []);
    });

    it("and end the sessions that began through them when they are switched off (T-93)", async () => {
      const live = await signedInThrough(await create(OIDC));
      await update("acme", { name: "Acme" });
      assert.deepEqual(await live(), ["u", "v"]);
      await update("acme", { enabled: false });
      assert.deepEqual(await live(), ["v"]);
    });

    it("to another issuer only where nobody is linked, or somebody insists", async () => {
      const row = await create(OIDC);
      await link(row, await person("ann@acme.example"));
      const given = { issuer: "https://new.example" };
      await refuses(update("acme", given), /does not know the people of/, "connection_in_use");
      assert.equal((await update("acme", given, { force: true })).issuer, "https://new.example");
    });
  });

  /** Somebody with two sessions, of which the first one began through the connection; says which are live. */
  async function signedInThrough(row: IdentityProvider): Promise<() => Promise<string[]>> {
    const userId = await person(`eve-${row.id}@other.example`);
    const { id: identityId } = await link(row, userId);
    const expiresAt = new Date(now.getTime() + 60_000);
    const session = { userId, expiresAt, gcOn: "2100-01-01" };
    const random = row.id.replaceAll("-", "").slice(-20);
    await Session.query(database.knex).insert({ uid: `u${random}`, identityId, ...session });
    await Session.query(database.knex).insert({ uid: `v${random}`, ...session });
    return async () => {
      const live = await Session.query(database.knex).where({ userId }).whereNull("endedAt");
      return live.map(({ uid }) => uid.slice(0, 1)).toSorted();
    };
  }

  describe("are deleted", () => {
    it("where nobody is linked", async () => {
      await create(OIDC);
      assert.deepEqual(await remove("acme"), { people: 0, stranded: 0 });
      assert.deepEqual(await listConnections(database.knex), []);
      const event = await AuditEvent.query(database.knex).findOne({ type: "connection.deleted" });
      assert.deepEqual(event?.details, { slug: "acme", unlinked: 0 });
    });

    it("with people only by force, who says how many have no other way to sign in", async () => {
      const row = await create(OIDC);
      const other = await create({ ...VENDOR });
      const off = await create({ ...VENDOR, slug: "off", enabled: false });
      const [ann, bob, cat, dan] = await Promise.all([
        person("ann@other.example", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"),
        person("bob@other.example"),
        person("cat@other.example"),
        person("dan@other.example"),
      ]);
      await link(row, ann);
      await link(row, bob);
      await link(other, bob);
      await link(row, cat);
      await link(row, cat, "twice");
      await link(row, dan);
      await link(off, dan);
      assert.deepEqual(await linkedTo(database.knex, row.id), { people: 4, stranded: 2 });
      await refuses(
        remove("acme"),
        /^People who are linked: 4\. Of these without a password.* with: 2\. Run it with --force/,
        "connection_in_use",
      );
      assert.deepEqual(await remove("acme", true), { people: 4, stranded: 2 });
      assert.equal(await Identity.query(database.knex).resultSize(), 2);
      const event = await AuditEvent.query(database.knex).findOne({ type: "connection.deleted" });
      assert.deepEqual(event?.details, { slug: "acme", unlinked: 4 });
    });

    it("with the sessions that began through them", async () => {
      const live = await signedInThrough(await create(OIDC));
      await remove("acme", true);
      assert.deepEqual(await live(), ["v"]);
    });

    it("not while clients offer them", async () => {
      await create(OIDC);
      const metadata = { client_name: "Shop", redirect_uris: ["https://shop.example/cb"] };
      const { client } = await database.knex.transaction((trx) =>
        createClient(trx, { metadata: { ...metadata, identity_providers: ["acme"] } }, now),
      );
      await refuses(
        remove("acme", true),
        new RegExp(`Clients offer acme: ${client.clientId}`),
        "connection_in_use",
      );
      await database.knex.transaction((trx) =>
        updateClient(trx, client.clientId, { metadata: { identity_providers: null } }, now),
      );
      await remove("acme");
    });

    it("where they are there", async () => {
      await refuses(remove("nowhere"), /connection list/, "unknown_connection");
      await refuses(update("nowhere", {}), /connection list/, "unknown_connection");
    });
  });
});
