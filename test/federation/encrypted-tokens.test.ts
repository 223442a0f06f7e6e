import assert from "node:assert/strict";
import { CompactEncrypt, decodeJwt, importJWK, type JWK } from "jose";
import {
  createConnection,
  getConnection,
  updateConnection,
} from "../../src/federation/connections.ts";
import {
  UpstreamError,
  type Connector,
  type ConnectorNeeds,
} from "../../src/federation/connector.ts";
import { Connectors } from "../../src/federation/connectors.ts";
import { newDecryptionKey, publicHalf } from "../../src/federation/oidc/keys.ts";
import { rotateKey, type KeyStep } from "../../src/federation/rotate-key.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { connectorNeeds } from "../support/counterparts.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { now, sign } from "../support/signing.ts";
import { Upstream, type Json } from "../support/upstream.ts";

const ISSUER = "https://id.example";
const ALG = "RSA-OAEP";
const trace = () => undefined;

describe("tokens that a provider encrypts for us (OIDC Core §16.14)", () => {
  let database: TestDatabase;
  let needs: ConnectorNeeds;
  let upstream: Upstream;
  before(async () => {
    database = await testDatabase();
    needs = await connectorNeeds(database);
    upstream = await Upstream.start();
  });
  beforeEach(async () => {
    await IdentityProvider.query(database.knex).delete();
    const { issuer, clientId: client_id, clientSecret: client_secret } = upstream;
    const settings = { id_token_encrypted_response_alg: ALG, sign_out: true };
    const given = { slug: "acme", kind: "oidc", name: "Acme", issuer, client_id, client_secret };
    await createConnection(making(), { ...given, settings }, new Date());
  });
  afterEach(() => upstream.mend());
  after(async () => {
    await upstream.stop();
    await database.drop();
  });

  const making = () => ({ ...needs, issuers: [{ name: "", url: ISSUER }] });
  const update = (given: object) =>
    updateConnection(making(), "acme", { given: { ...given } }, new Date());
  const step = (name: KeyStep) => rotateKey(making(), "acme", name, new Date());
  const connector = async () =>
    new Connectors(needs, ISSUER).of(await getConnection(database.knex, "acme"));
  /** What is at our jwks_uri. */
  const published = async () => {
    const { body = "" } = (await (await connector()).describe?.()) ?? {};
    return (JSON.parse(body) as { keys: JWK[] }).keys;
  };
  const encrypt = async (text: string, { key, alg = ALG }: { key?: JWK; alg?: string } = {}) => {
    const { kid = "", ...jwk } = key ?? (await published()).at(-1) ?? {};
    return new CompactEncrypt(Buffer.from(text))
      .setProtectedHeader({ alg, enc: "A128CBC-HS256", cty: "JWT", kid })
      .encrypt(await importJWK({ ...jwk, alg }));
  };
  /** How the provider makes its ID tokens from now on. */
  const makes = (make: (jws: string) => string | Promise<string>) =>
    (upstream.signer = async (claims: Json) => make(await sign(upstream.key, claims)));
  const signIn = async (by?: Connector) => {
    const opened = by ?? (await connector());
    const { to, secrets } = await opened.leave({ state: "fs_x" }, trace);
    return opened.arrive({ ...upstream.agree(to.url), secrets }, trace);
  };
  const refuses = (work: Promise<unknown>, expected: string, message = /./) =>
    assert.rejects(work, (error) => {
      assert.ok(error instanceof UpstreamError, String(error));
      assert.equal(error.rule, expected, error.message);
      assert.match(error.message, message);
      return true;
    });

  it("are for a key that is made for it and published, without its private half (RFC 7517 §4.2)", async () => {
    const [key, ...others] = await published();
    assert.deepEqual([others.length, key?.use, key?.alg, key?.kty], [0, "enc", ALG, "RSA"]);
    assert.ok(key !== undefined && !("d" in key) && !("p" in key));
    const { version } = await update({ name: "Still Acme" });
    assert.equal(version, 2);
    assert.deepEqual(await published(), [key], "and stays");
  });

  it("are opened, and what is inside is verified as ever", async () => {
    makes((jws) => encrypt(jws));
    assert.equal((await signIn()).subject, "ada-at-upstream");
    upstream.claims = { aud: "another" };
    await refuses(signIn(), "oidc.aud");
  });

  it("are refused where what is inside was not signed by the provider", async () => {
    makes((jws) => encrypt(jws.replace(/\.[^.]+$/, `.${"A".repeat(342)}`)));
    await refuses(signIn(), "oidc.signature");
    makes((jws) => encrypt(JSON.stringify(decodeJwt(jws))));
    await refuses(signIn(), "oidc.jwt");
  });

  it("must be encrypted, once that is agreed", async () => {
    await refuses(signIn(), "oidc.encryption", /is not encrypted, and RSA-OAEP was expected/);
  });

  it("must be encrypted in that very way (RFC 8725 §3.1)", async () => {
    makes((jws) => encrypt(jws, { alg: "RSA-OAEP-256" }));
    await refuses(signIn(), "oidc.encryption", /cannot be decrypted/);
  });

  it("must be for us", async () => {
    const key = publicHalf(await newDecryptionKey());
    makes((jws) => encrypt(jws, { key }));
    await refuses(signIn(), "oidc.encryption", /cannot be decrypted/);
  });

  it("are refused where nothing was said of that, with what to do", async () => {
    const [key] = (await published()) as [JWK];
    await update({ settings: { id_token_encrypted_response_alg: null } });
    assert.deepEqual(await published(), []);
    makes((jws) => encrypt(jws, { key }));
    await refuses(signIn(), "oidc.encryption", /no key of ours is published/);
  });

  it("are given back opened, as a hint at sign-out (OIDC RP-Initiated Logout §2)", async () => {
    makes((jws) => encrypt(jws));
    const opened = await connector();
    const { session = {} } = await signIn(opened);
    const { url = "" } = (await opened.signOut?.(session, "fs_out")) ?? {};
    const hint = new URL(url).searchParams.get("id_token_hint") ?? "";
    assert.equal(decodeJwt(hint).sub, "ada-at-upstream");
  });

  it("may be logout tokens (OIDC Back-Channel Logout §2.4)", async () => {
    const message = async (token: string) => {
      const parameters = { logout_token: await encrypt(token) };
      return (await connector()).readLogout?.({ method: "POST", parameters }, trace);
    };
    const logout = await message(await upstream.logoutToken());
    assert.equal(logout?.issuer, upstream.issuer);
    await refuses(message("nonsense"), "oidc.jwt");
  });

  describe("may be what userinfo says (OIDC Core §5.3.2)", () => {
    const says = (make: (claims: Json) => Promise<string>) =>
      upstream.replaced.set("/userinfo", async () => ({
        type: "application/jwt",
        body: await make({
          iss: upstream.issuer,
          aud: upstream.clientId,
          iat: now(),
          sub: "ada-at-upstream",
          nickname: "Countess",
        }),
      }));
    beforeEach(() => makes((jws) => encrypt(jws)));

    it("signed and encrypted", async () => {
      says(async (claims) => encrypt(await sign(upstream.key, claims)));
      assert.equal((await signIn()).claims["nickname"], "Countess");
      says(async (claims) => encrypt(await sign(upstream.key, { ...claims, aud: "another" })));
      await refuses(signIn(), "oidc.aud");
    });

    it("encrypted only", async () => {
      says((claims) => encrypt(JSON.stringify(claims)));
      assert.equal((await signIn()).claims["nickname"], "Countess");
      says((claims) => encrypt(JSON.stringify({ ...claims, sub: "mallory" })));
      await refuses(signIn(), "oidc.userinfo_sub");
    });

    it("but no JSON that only says that it is a token", async () => {
      says((claims) => Promise.resolve(JSON.stringify(claims)));
      await refuses(signIn(), "oidc.jwt");
    });
  });

  it("are read with either key while ours is changed, and the new one is published", async () => {
    const [old] = (await published()) as [JWK];
    await step("publish");
    const [next, ...others] = await published();
    assert.equal(others.length, 0);
    assert.notEqual(next?.kid, old?.kid);
    for (const key of [old, next] as JWK[]) {
      makes((jws) => encrypt(jws, { key }));
      assert.equal((await signIn()).subject, "ada-at-upstream");
    }
    await step("switch");
    await step("retire");
    assert.deepEqual(await published(), [next]);
    makes((jws) => encrypt(jws, { key: old }));
    await refuses(signIn(), "oidc.encryption");
  });

  it("have a key beside the one for private_key_jwt, which stays the one that signs", async () => {
    const byKey = {
      client_secret: null,
      settings: { token_endpoint_auth_method: "private_key_jwt" },
    };
    await update(byKey);
    assert.deepEqual(
      (await published()).map(({ use }) => use),
      ["sig", "enc"],
    );
    await step("publish");
    assert.deepEqual(
      (await published()).map(({ use }) => use),
      ["sig", "sig", "enc"],
    );
  });
});
