import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { SignedXml } from "xml-crypto";
import { UpstreamError } from "../../../src/federation/connector.ts";
import { approveMetadata } from "../../../src/federation/metadata-refresh.ts";
import { openSaml } from "../../../src/federation/saml/connector.ts";
import { parseMetadata } from "../../../src/federation/saml/metadata.ts";
import { refreshDueMetadata, refreshMetadata } from "../../../src/federation/saml/refresh.ts";
import { createSpKey, type SpKey } from "../../../src/federation/saml/sp-key.ts";
import { openSeal, type Seal } from "../../../src/keys/seal.ts";
import { createSafeFetch } from "../../../src/lib/fetch.ts";
import { createLogger } from "../../../src/lib/log.ts";
import { uuidv7 } from "../../../src/lib/uuid.ts";
import { IdentityProvider } from "../../../src/models/identity-provider.ts";
import { SamlConnection } from "../../../src/models/saml-connection.ts";
import { testDatabase, type TestDatabase } from "../../support/database.ts";
import {
  aConnection,
  assertion,
  at,
  ENVELOPED,
  EXCLUSIVE,
  IDP,
  metadata,
  posted,
  REQUEST_ID,
  response,
  RSA_SHA256,
  sharedKey,
  signed,
  SITE,
} from "../../support/saml.ts";

const URL_OF_METADATA = "https://idp.example/metadata";
const now = new Date();
const HOUR = 3_600_000;
const silent = createLogger({ level: "silent" });

describe("metadata that is looked at again (T-106)", () => {
  let database: TestDatabase;
  let seal: Seal;
  let old: SpKey;
  let next: SpKey;

  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
    old = await sharedKey();
    next = await createSpKey("https://idp.example");
  });
  after(() => database.drop());
  beforeEach(() => IdentityProvider.query(database.knex).delete());

  async function stored(saml: Partial<SamlConnection> = {}, settings = {}) {
    const id = uuidv7();
    const made = await aConnection(seal, {
      provider: { id, slug: `c${id}` },
      saml: { metadataUrl: URL_OF_METADATA, ...saml },
      settings,
    });
    const { saml: connection, ...provider } = made;
    await IdentityProvider.query(database.knex).insert(provider);
    await SamlConnection.query(database.knex).insert(connection);
    return reread(id);
  }
  const reread = async (id: string) =>
    (await IdentityProvider.query(database.knex)
      .findById(id)
      .withGraphFetched("saml")
      .throwIfNotFound()) as IdentityProvider & { saml: SamlConnection };
  const answering = (body: string, status = 200) =>
    (async () => new Response(body, { status })) as typeof fetch;
  const refresh = async (provider: IdentityProvider & { saml: SamlConnection }, body: string) => {
    const outcome = await refreshMetadata(
      { knex: database.knex, fetch: answering(body) },
      provider,
      now,
    );
    return { outcome, saml: (await reread(provider.id)).saml };
  };
  const certificatesOf = (xml: string) => parseMetadata(xml).certificates;

  it("stays what it is, where nothing is new", async () => {
    const provider = await stored();
    const { outcome, saml } = await refresh(provider, provider.saml.metadataXml);
    assert.equal(outcome, "unchanged");
    assert.equal(saml.metadataFetchedAt?.getTime(), now.getTime());
  });

  it("brings a new certificate beside a known one: the provider rolls its key over", async () => {
    const both = metadata([old.certificate, next.certificate], {
      attributes: `validUntil="${at(86_400)}"`,
    });
    const { outcome, saml } = await refresh(await stored(), both);
    assert.equal(outcome, "taken");
    assert.deepEqual(certificatesOf(saml.metadataXml), [old.certificate, next.certificate]);
    assert.ok(saml.metadataValidUntil !== null);
    const then = await refresh(await reread(saml.providerId), metadata([next.certificate]));
    assert.equal(then.outcome, "taken");
    assert.deepEqual(certificatesOf(then.saml.metadataXml), [next.certificate]);
  });

  for (const [what, body] of [
    ["a set of certificates of which none is known", () => metadata([next.certificate])],
    [
      "another address to sign in at",
      () => metadata([old.certificate]).replace("idp.example/sso", "mallory.example/sso"),
    ],
    [
      "another address to sign out at",
      () => metadata([old.certificate]).replace("idp.example/slo", "mallory.example/slo"),
    ],
  ] as const)
    it(`waits for an operator with ${what}`, async () => {
      const provider = await stored();
      const { outcome, saml } = await refresh(provider, body());
      assert.equal(outcome, "pending");
      assert.equal(saml.metadataXml, provider.saml.metadataXml);
      assert.equal(saml.pendingXml, body());
      assert.equal(await approveMetadata(database.knex, await reread(provider.id), now), true);
      const approved = await reread(provider.id);
      assert.deepEqual([approved.saml.metadataXml, approved.saml.pendingXml], [body(), null]);
      assert.equal(await approveMetadata(database.knex, approved, now), false);
    });

  it("forgets what waited, once the provider is back to what is known", async () => {
    const provider = await stored({ pendingXml: metadata([next.certificate]) });
    const { saml } = await refresh(provider, provider.saml.metadataXml);
    assert.equal(saml.pendingXml, null);
  });

  for (const [what, body, rule] of [
    [
      "another entity ID",
      () => metadata([old.certificate], { entityId: "https://mallory.example" }),
      "saml.metadata",
    ],
    ["HTML", () => "<!DOCTYPE html><html></html>", "saml.metadata"],
    ["nothing", () => "", "saml.metadata"],
  ] as const)
    it(`keeps what it has against ${what}`, async () => {
      const provider = await stored();
      await assert.rejects(refresh(provider, body()), (error) => {
        assert.ok(error instanceof UpstreamError);
        assert.equal(error.rule, rule);
        return true;
      });
      const { saml } = await reread(provider.id);
      assert.deepEqual([saml.metadataXml, saml.pendingXml], [provider.saml.metadataXml, null]);
    });

  it("that cannot be used is looked at again when it is due, not by each job (T-106)", async () => {
    const { id } = await stored();
    let asked = 0;
    const fetch = (async () => {
      asked += 1;
      return new Response("<!--".repeat(64_000));
    }) as typeof globalThis.fetch;
    const look = (hours: number) =>
      refreshDueMetadata(
        { knex: database.knex, fetch, log: silent },
        new Date(now.getTime() + hours * HOUR),
      );
    for (const [hours, times] of [
      [0, 1],
      [1, 1],
      [23, 1],
      [24, 2],
    ] as const) {
      await look(hours);
      assert.equal(asked, times, `after ${hours} hours`);
    }
    assert.equal((await reread(id)).saml.pendingXml, null);
  });

  it("is read beside the server's own thread, as much as it is (T-106)", async () => {
    const provider = await stored();
    const much = metadata([old.certificate]).replace(
      "</IDPSSODescriptor>",
      `${"<NameIDFormat/>".repeat(15_000)}</IDPSSODescriptor>`,
    );
    await refresh(provider, provider.saml.metadataXml);
    let [longest, last] = [0, performance.now()];
    const timer = setInterval(() => {
      const at = performance.now();
      [longest, last] = [Math.max(longest, at - last), at];
    }, 5);
    const { outcome } = await refresh(await reread(provider.id), much);
    clearInterval(timer);
    assert.equal(outcome, "taken");
    assert.ok(longest < 100, `${longest} ms`);
  });

  it("is not fetched from an address of ours, and no connection is made (T-36)", async () => {
    let connections = 0;
    const fetch = createSafeFetch({ log: silent, connect: () => void (connections += 1) });
    const provider = await stored({ metadataUrl: "https://127.0.0.1/metadata" });
    await assert.rejects(
      refreshMetadata({ knex: database.knex, fetch }, provider, now),
      (error) => {
        assert.ok(error instanceof UpstreamError);
        assert.deepEqual([error.reason, error.rule], ["unavailable", "saml.metadata_fetch"]);
        return true;
      },
    );
    assert.equal(connections, 0);
  });

  it("is fetched when due: daily, or as its cacheDuration says, but not more than hourly", async () => {
    const due = async (attributes: string, hours: number) => {
      const xml = metadata([old.certificate], { attributes });
      await IdentityProvider.query(database.knex).delete();
      await stored({ metadataXml: xml, metadataFetchedAt: new Date(now.getTime() - hours * HOUR) });
      let asked = 0;
      const fetch = (async () => {
        asked += 1;
        return new Response(xml);
      }) as typeof globalThis.fetch;
      await refreshDueMetadata({ knex: database.knex, fetch, log: silent }, now);
      return asked === 1;
    };
    assert.deepEqual([await due("", 23), await due("", 24)], [false, true]);
    assert.deepEqual(
      [await due('cacheDuration="PT6H"', 5), await due('cacheDuration="PT6H"', 6)],
      [false, true],
    );
    assert.deepEqual(
      [await due('cacheDuration="PT1S"', 0.9), await due('cacheDuration="PT1S"', 1)],
      [false, true],
    );
    assert.equal(await due('cacheDuration="P1Y"', 24), true);
    // Fetched four hours ago, over in four.
    const inHours = (hours: number) => new Date(now.getTime() + hours * HOUR).toISOString();
    assert.equal(await due(`validUntil="${inHours(4)}"`, 4), true);
    assert.equal(await due(`validUntil="${inHours(5)}"`, 4), false);
  });

  it("of one provider that fails does not keep the others waiting", async () => {
    await stored();
    const fine = await stored();
    let calls = 0;
    const fetch = (async () => {
      calls += 1;
      if (calls === 1) throw new TypeError("fetch failed");
      return new Response(metadata([old.certificate, next.certificate]));
    }) as typeof globalThis.fetch;
    await refreshDueMetadata({ knex: database.knex, fetch, log: silent }, now);
    const rows = await SamlConnection.query(database.knex);
    assert.equal(rows.filter(({ metadataFetchedAt }) => metadataFetchedAt !== null).length, 1);
    assert.ok(rows.some(({ providerId }) => providerId === fine.id));
  });

  describe("when a message comes that no known key signed", () => {
    const SECRETS = { request_id: REQUEST_ID };
    const message = async (key: SpKey) => ({
      SAMLResponse: posted(await signed(response(assertion()), "Assertion", { key })),
    });
    /** A connector over what is stored, and how often it asked for metadata. */
    const opened = async (body: () => string) => {
      const provider = await stored();
      let asked = 0;
      const fetch = (async () => {
        asked += 1;
        return new Response(body());
      }) as typeof globalThis.fetch;
      const connector = openSaml(provider, SITE, { knex: database.knex, seal, log: silent, fetch });
      const arrive = async (key: SpKey) => {
        const parameters = await message(key);
        return connector.arrive({ method: "POST", parameters, secrets: SECRETS }, () => undefined);
      };
      return { arrive, asked: () => asked, provider };
    };
    const isUnsigned = (error: unknown) =>
      error instanceof UpstreamError && error.rule === "saml.signature";

    it("is looked at at once, and the message taken by its new certificate", async () => {
      const { arrive, asked, provider } = await opened(() =>
        metadata([old.certificate, next.certificate]),
      );
      assert.equal((await arrive(next)).subject, "ada-0001");
      assert.equal(asked(), 1);
      const kept = certificatesOf((await reread(provider.id)).saml.metadataXml);
      assert.deepEqual(kept, [old.certificate, next.certificate]);
    });

    it("is not looked at where a known key signed", async () => {
      const { arrive, asked } = await opened(() => metadata([old.certificate]));
      await arrive(old);
      assert.equal(asked(), 0);
    });

    it("is looked at once a minute, whoever sends what (T-106)", async () => {
      const stranger = await createSpKey("https://mallory.example");
      const { arrive, asked } = await opened(() => metadata([old.certificate]));
      const tries = Array.from({ length: 20 }, () => assert.rejects(arrive(stranger), isUnsigned));
      await Promise.all(tries);
      assert.equal(asked(), 1);
      assert.equal((await arrive(old)).subject, "ada-0001");
    });

    it("still waits for an operator where no certificate is known (T-106)", async () => {
      const { arrive, asked, provider } = await opened(() => metadata([next.certificate]));
      await assert.rejects(arrive(next), isUnsigned);
      assert.equal(asked(), 1);
      assert.notEqual((await reread(provider.id)).saml.pendingXml, null);
    });

    it("is of no use where it cannot be had", async () => {
      const { arrive } = await opened(() => "<html/>");
      await assert.rejects(arrive(next), isUnsigned);
    });
  });

  describe("signed by a federation", () => {
    const sign = (xml: string, { certificate, privateKey }: SpKey) => {
      const signer = new SignedXml({
        privateKey,
        publicCert: certificate,
        signatureAlgorithm: RSA_SHA256,
        canonicalizationAlgorithm: EXCLUSIVE,
      });
      signer.addReference({
        xpath: "/*",
        transforms: [ENVELOPED, EXCLUSIVE],
        digestAlgorithm: "http://www.w3.org/2001/04/xmlenc#sha256",
      });
      signer.computeSignature(xml, {
        prefix: "ds",
        location: { reference: "/*", action: "prepend" },
      });
      return signer.getSignedXml();
    };
    const plain = () => metadata([old.certificate], { attributes: 'ID="_m"' });

    it("is taken only with that signature over all of it", () => {
      const whole = sign(plain(), next);
      assert.equal(parseMetadata(whole, IDP, next.certificate).entityId, IDP);
      assert.throws(() => parseMetadata(plain(), IDP, next.certificate), UpstreamError);
      assert.throws(() => parseMetadata(whole, IDP, old.certificate), UpstreamError);
      assert.throws(
        () =>
          parseMetadata(
            whole.replace("idp.example/sso", "mallory.example/sso"),
            IDP,
            next.certificate,
          ),
        UpstreamError,
      );
    });

    it("is refused inside of metadata that is not", () => {
      const wrapped = `<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata">${sign(plain(), next)}</EntitiesDescriptor>`;
      assert.throws(() => parseMetadata(wrapped, IDP, next.certificate), UpstreamError);
    });

    it("is demanded of what is fetched", async () => {
      const provider = await stored({}, { metadata_certificate: next.certificate });
      await assert.rejects(refresh(provider, plain()), UpstreamError);
      assert.equal((await refresh(provider, sign(plain(), next))).outcome, "taken");
    });
  });
});
