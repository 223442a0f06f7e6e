import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "mocha";
import {
  createClient,
  deleteClient,
  getClient,
  listClients,
  rotateSecret,
  updateClient,
} from "../../src/clients/clients.ts";
import { secretMatches, toEngine, toMetadata } from "../../src/clients/metadata.ts";
import { openSeal, type Seal } from "../../src/keys/seal.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { OAuthGrant } from "../../src/models/oauth-grant.ts";
import { runStatement } from "../../src/database/statement.ts";
import { RefreshToken } from "../../src/models/refresh-token.ts";
import { createUser } from "../../src/users/users.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const HOUR = 3_600_000;
const now = new Date();
const later = (ms: number) => new Date(now.getTime() + ms);
const METADATA = {
  client_name: "An app",
  redirect_uris: ["https://app.example.com/cb"],
  grant_types: ["authorization_code", "refresh_token"],
};

describe("clients", () => {
  let db: TestDatabase;
  let seal: Seal;
  before(async () => {
    db = await testDatabase();
    seal = await openSeal(db.knex, { encryptionKey: randomBytes(32) });
  });
  after(() => db.drop());

  const add = (metadata: object = METADATA, clientId?: string) =>
    db.knex.transaction((trx) => createClient(trx, { metadata, clientId }, now));
  const update = (clientId: string, metadata: Record<string, unknown>, ifVersion?: number) =>
    db.knex.transaction((trx) => updateClient(trx, clientId, { metadata, ifVersion }, now));
  const authenticates = async (clientId: string, secret: string | undefined, at: Date) => {
    const row = await getClient(db.knex, clientId);
    await row.$fetchGraph("secrets", { transaction: db.knex });
    return secretMatches(toEngine(row, seal, at).secret_hashes ?? "", secret ?? "");
  };
  const eventsOf = async (id: string) => {
    const events = await AuditEvent.query(db.knex).where({ clientId: id }).orderBy("id");
    return events.map(({ type }) => type).toSorted();
  };

  it("knows only connections of its own issuer", async () => {
    const provider = { kind: "oauth2" as const, name: "Acme", clientId: "lintel" };
    await IdentityProvider.query(db.knex).insert({ ...provider, slug: "acme" });
    await IdentityProvider.query(db.knex).insert({ ...provider, slug: "far", atIssuer: "partner" });
    const { client } = await add({ ...METADATA, identity_providers: ["acme"] });
    assert.deepEqual(toMetadata(client).identity_providers, ["acme"]);
    const message = /^identity_providers has far, nowhere, which is no connection of this issuer/;
    const wrong = { identity_providers: ["acme", "far", "nowhere"] };
    await assert.rejects(add({ ...METADATA, ...wrong }), { message });
    await assert.rejects(update(client.clientId, wrong), { message });
  });

  it("gives a confidential client a secret of 256 bits and stores only its hash (T-35)", async () => {
    const { client, secret } = await add();
    assert.match(secret ?? "", /^ls_[\w-]{43}$/);
    assert.equal(await authenticates(client.clientId, secret, now), true);
    assert.equal(await authenticates(client.clientId, `${secret}x`, now), false);
    const dump = JSON.stringify(
      await db.knex("oauth_client_secrets").where({ client_id: client.id }),
    );
    assert.equal(dump.includes(secret ?? ""), false);
    assert.deepEqual(await eventsOf(client.id), ["client.created", "client.secret_added"]);
  });

  it("does not take a stored hash for a secret", async () => {
    const { client } = await add();
    const row = await getClient(db.knex, client.clientId);
    await row.$fetchGraph("secrets", { transaction: db.knex });
    const { secret_hashes: stored = "", client_secret: shown } = toEngine(row, seal, now);
    assert.match(stored, /^[0-9a-f]{64}$/);
    assert.equal(secretMatches(stored, stored), false);
    assert.equal(secretMatches(stored, shown ?? ""), false);
    assert.equal(secretMatches("", ""), false);
    assert.equal(secretMatches("plain", "plain"), false);
  });

  it("gives public clients no secret", async () => {
    const { client, secret } = await add({ ...METADATA, token_endpoint_auth_method: "none" });
    assert.equal(secret, undefined);
    assert.equal("client_secret" in toEngine(client, seal), false);
  });

  it("gives back the metadata it was given", async () => {
    const given = {
      ...METADATA,
      post_logout_redirect_uris: ["https://app.example.com/"],
      scope: "openid email",
      contacts: ["ann@example.com"],
      default_max_age: 600,
      logo_uri: "https://app.example.com/logo.png",
      jwks: {
        keys: [{ kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }],
      },
      first_party: true,
      refresh_reuse_interval: 0,
      cors_origins: ["https://app.example.com"],
    };
    const { client } = await add(given);
    const read = toMetadata(await getClient(db.knex, client.clientId));
    for (const [field, value] of Object.entries(given))
      assert.deepEqual(read[field as keyof typeof read], value, field);
    const engine = toEngine(client, seal);
    assert.equal(engine.internal_id, client.id);
    assert.equal(engine.first_party, true);
    assert.equal(engine.refresh_reuse_interval, 0);
    assert.deepEqual(engine.cors_origins, ["https://app.example.com"]);
  });

  it("keeps an identifier that the client already has, once", async () => {
    const { client } = await add(METADATA, "legacy-app");
    assert.equal(client.clientId, "legacy-app");
    await assert.rejects(add(METADATA, "legacy-app"), { code: "invalid_client_metadata" });
    await assert.rejects(add(METADATA, "with space"), { code: "invalid_client_metadata" });
  });

  it("lists page by page without gaps, also where many were made at the same moment", async () => {
    const made = await Promise.all(Array.from({ length: 7 }, () => add()));
    const seen: string[] = [];
    for (;;) {
      const page = await listClients(db.knex, { after: seen.at(-1), limit: 3 });
      if (page.length === 0) break;
      seen.push(...page.map(({ clientId }) => clientId));
    }
    assert.equal(new Set(seen).size, seen.length);
    for (const { client } of made) assert(seen.includes(client.clientId));
  });

  describe("when a secret is rotated", () => {
    it("lets the old one work for a day and then not (T-35)", async () => {
      const { client, secret: old } = await add();
      const { secret } = await db.knex.transaction((trx) =>
        rotateSecret(trx, client.clientId, {}, now),
      );
      for (const at of [now, later(23 * HOUR)])
        for (const each of [old, secret]) assert(await authenticates(client.clientId, each, at));
      assert.equal(await authenticates(client.clientId, old, later(25 * HOUR)), false);
      assert.equal(await authenticates(client.clientId, secret, later(25 * HOUR)), true);
    });

    it("does not lengthen the life of one that is ending", async () => {
      const { client, secret: first } = await add();
      const rotate = (keepSeconds: number, at: Date) =>
        db.knex.transaction((trx) => rotateSecret(trx, client.clientId, { keepSeconds }, at));
      await rotate(60, now);
      await rotate(86_400, later(30_000));
      assert.equal(await authenticates(client.clientId, first, later(90_000)), false);
    });

    it("ends the old one at once where that is asked for", async () => {
      const { client, secret: old } = await add();
      await db.knex.transaction((trx) =>
        rotateSecret(trx, client.clientId, { keepSeconds: 0 }, now),
      );
      assert.equal(await authenticates(client.clientId, old, now), false);
      assert((await eventsOf(client.id)).includes("client.secret_revoked"));
    });

    it("refuses for a client that has none", async () => {
      const { client } = await add({ ...METADATA, token_endpoint_auth_method: "none" });
      await assert.rejects(
        db.knex.transaction((trx) => rotateSecret(trx, client.clientId, {}, now)),
        { code: "invalid_client_metadata" },
      );
    });
  });

  describe("when one is updated", () => {
    it("merges what is given, takes null as unset, and checks the whole", async () => {
      const { client } = await add({ ...METADATA, logo_uri: "https://app.example.com/logo.png" });
      const { client: changed } = await update(client.clientId, {
        client_name: "New",
        logo_uri: null,
      });
      const metadata = toMetadata(changed);
      assert.equal(metadata.client_name, "New");
      assert.equal("logo_uri" in metadata, false);
      assert.deepEqual(metadata.redirect_uris, METADATA.redirect_uris);
      assert.equal(changed.version, 2);
      const event = await AuditEvent.query(db.knex).findOne({
        clientId: client.id,
        type: "client.updated",
      });
      assert.deepEqual(event?.details["fields"], ["client_name", "logo_uri"]);
      await assert.rejects(update(client.clientId, { redirect_uris: [] }), {
        code: "invalid_client_metadata",
      });
      await assert.rejects(update(client.clientId, { nonsense: null }), /nonsense is not known/);
    });

    it("refuses a change that was made for another version", async () => {
      const { client } = await add();
      await update(client.clientId, { client_name: "First" }, 1);
      await assert.rejects(update(client.clientId, { client_name: "Second" }, 1), {
        code: "client_changed",
        status: 409,
      });
    });

    it("of 10 at a time for one version lets one through, and loses nothing without a version", async () => {
      const { client } = await add();
      const guarded = await Promise.allSettled(
        Array.from({ length: 10 }, (_, n) =>
          update(client.clientId, { client_name: `App ${n}` }, 1),
        ),
      );
      assert.equal(guarded.filter(({ status }) => status === "fulfilled").length, 1);
      await Promise.all([
        update(client.clientId, { tos_uri: "https://app.example.com/tos" }),
        update(client.clientId, { policy_uri: "https://app.example.com/privacy" }),
      ]);
      const { tos_uri: tos, policy_uri: policy } = toMetadata(
        await getClient(db.knex, client.clientId),
      );
      assert(tos !== undefined && policy !== undefined);
    });

    it("makes or ends secrets as its authentication asks", async () => {
      const { client } = await add({ ...METADATA, token_endpoint_auth_method: "none" });
      const { secret } = await update(client.clientId, {
        token_endpoint_auth_method: "client_secret_post",
      });
      assert.equal(await authenticates(client.clientId, secret, now), true);
      await update(client.clientId, { token_endpoint_auth_method: "none" });
      await update(client.clientId, { token_endpoint_auth_method: "client_secret_basic" });
      assert.equal(await authenticates(client.clientId, secret, now), false);
    });
  });

  it("when deleted is gone, with its secrets, grants and refresh tokens", async () => {
    const { client } = await add();
    const user = await createUser(
      db.knex,
      { email: "ann@example.com", verified: true, via: "admin" },
      now,
    );
    const grantId = uuidv7();
    const expiresAt = later(HOUR);
    const saving = OAuthGrant.saving({
      id: grantId,
      userId: user.id,
      clientId: client.clientId,
      sessionUid: null,
      payload: {},
      expiresAt,
    });
    await runStatement(db.knex, saving);
    const token = {
      counter: 0,
      grantId,
      userId: user.id,
      sessionUid: null,
      scope: null,
      payload: {},
      expiresAt,
    };
    const tokenId = uuidv7();
    await runStatement(db.knex, RefreshToken.addition({ ...token, id: tokenId }));
    await db.knex.transaction((trx) => deleteClient(trx, client.clientId, {}, now));

    await assert.rejects(getClient(db.knex, client.clientId), { code: "unknown_client" });
    const row = await OAuthClient.query(db.knex).findById(client.id).withGraphFetched("secrets");
    assert(row?.secrets?.every(({ revokedAt }) => revokedAt !== null));
    assert.notEqual((await OAuthGrant.query(db.knex).findById(grantId))?.revokedAt, null);
    assert.notEqual((await RefreshToken.query(db.knex).findById(tokenId))?.revokedAt, null);
    assert.equal(await RefreshToken.find(db.knex, tokenId), undefined);
    await assert.rejects(add(METADATA, client.clientId), { code: "invalid_client_metadata" });
  });
});
