import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { decodeJwt } from "jose";
import { siteOf } from "../../../src/federation/connectors.ts";
import { parseMetadata } from "../../../src/federation/saml/metadata.ts";
import { uuidv7 } from "../../../src/lib/uuid.ts";
import { IdentityProvider } from "../../../src/models/identity-provider.ts";
import { Identity } from "../../../src/models/identity.ts";
import { SamlConnection } from "../../../src/models/saml-connection.ts";
import { Session } from "../../../src/models/session.ts";
import { UserProfile } from "../../../src/models/user-profile.ts";
import { json, RelyingParty } from "../../support/rp.ts";
import { aConnection, sharedKey } from "../../support/saml.ts";
import { aClient, aServer, type TestServer } from "../../support/server.ts";
import { hasSimpleSaml, startSimpleSaml, type SimpleSaml } from "../../support/simplesamlphp.ts";
import { Visitor } from "../../support/visitor.ts";

const USUAL = { wantEncrypted: false, wantResponseSigned: false, allowLegacyCrypto: false };

/** Both whole: our server, and an identity provider that we did not write. */
describe("signing in at SimpleSAMLphp", function () {
  this.timeout(60_000);
  let home: TestServer;
  let app: RelyingParty;
  let idp: SimpleSaml;
  let id: string;

  before(async function start() {
    if (!hasSimpleSaml()) {
      process.stderr.write(
        "    SimpleSAMLphp is not installed: apt-get install simplesamlphp php-cli php-xml php-mbstring\n",
      );
      this.skip();
    }
    home = await aServer();
    idp = await startSimpleSaml(await sharedKey());
    id = uuidv7();
    const { saml, ...row } = await aConnection(home.deps.seal, {
      xml: idp.metadata,
      provider: { id, issuer: parseMetadata(idp.metadata).entityId },
      settings: { sign_out: true },
    });
    const { knex } = home.database;
    await IdentityProvider.query(knex).insert(row);
    await SamlConnection.query(knex).insert({ ...saml, updatedAt: new Date() });
    app = new RelyingParty(home, await aClient(home, { first_party: true }));
    await introduce();
  });
  after(async () => {
    idp?.stop();
    await home?.stop();
  });

  /** Tells it of us as we are now. */
  const introduce = async () => {
    const answer = await fetch(siteOf(home.issuer, "acme").metadata);
    idp.trust(await answer.text());
  };

  const change = async (saml: Partial<SamlConnection>, settings: Record<string, unknown> = {}) => {
    const { knex } = home.database;
    await SamlConnection.query(knex).patch({ ...saml, updatedAt: new Date() });
    await IdentityProvider.query(knex).patch({ settings: { sign_out: true, ...settings } });
    await knex.raw("UPDATE identity_providers SET version = version + 1");
    // The server hears of it in its own time.
    await delay(500);
    await introduce();
  };

  /** The fields of the form that a page of the provider posts by itself. */
  const formOf = ({ html, url }: Visitor) => {
    const text = (escaped: string) =>
      escaped
        .replaceAll("&amp;", "&")
        .replaceAll(/&#(?:x2B|43);/g, "+")
        .replaceAll("&quot;", '"');
    const fields = [...html.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)];
    const action = /<form[^>]* action="([^"]*)"/.exec(html)?.[1] ?? "";
    return {
      action: new URL(text(action), url).href,
      fields: Object.fromEntries(fields.map(([, name = "", value = ""]) => [name, text(value)])),
    };
  };

  /** Signs in there, where that is asked, and comes back with the answer. */
  async function signsIn(visitor = new Visitor()) {
    await visitor.open(home.issuer + app.authorization());
    const href = /href="([^"]*\/federation\/acme)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.open(home.issuer + href);
    if (visitor.html.includes('name="password"')) {
      const { fields } = formOf(visitor);
      await visitor.submit({ ...fields, username: "ada", password: "adapass" });
    }
    const { action, fields } = formOf(visitor);
    assert.equal(action, siteOf(home.issuer, "acme").acs, visitor.html);
    const headers = { origin: new URL(idp.base).origin, "sec-fetch-site": "cross-site" };
    await visitor.submit(fields, action, headers);
    const code = new URL(visitor.location ?? visitor.url).searchParams.get("code");
    assert.ok(code, visitor.html);
    const { id_token: idToken } = json(await app.redeem(code));
    const claims = decodeJwt(String(idToken));
    const userId = claims.sub ?? "";
    const { knex } = home.database;
    const { uid } = await Session.query(knex)
      .findOne({ userId })
      .orderBy("createdAt", "desc")
      .throwIfNotFound();
    return { visitor, userId, session: () => Session.query(knex).findById(uid).throwIfNotFound() };
  }

  it("takes its metadata, and it takes ours", async () => {
    const { userId } = await signsIn();
    const { knex } = home.database;
    const identity = await Identity.query(knex).findOne({ userId }).throwIfNotFound();
    assert.deepEqual([identity.subject, identity.email], ["ada", "ada@example.com"]);
    const profile = await UserProfile.query(knex).findById(userId);
    assert.equal(profile?.displayName, "Ada Lövelace");
  });

  for (const [what, php, saml, settings] of [
    [
      "assertions that are encrypted for us, for which version 1 knows AES-CBC only",
      "'assertion.encryption' => true",
      { wantEncrypted: true },
      {},
    ],
    [
      "responses and assertions that are signed",
      "'saml20.sign.response' => true, 'saml20.sign.assertion' => true",
      { wantResponseSigned: true },
      {},
    ],
    [
      "responses that are signed around assertions that are not",
      "'saml20.sign.assertion' => false",
      { wantResponseSigned: true },
      { want_assertions_signed: false },
    ],
    [
      "RSA with SHA-512",
      "'signature.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512'",
      {},
      {},
    ],
  ] as const)
    it(`takes ${what}`, async () => {
      idp.configure(php);
      await change(saml, settings);
      try {
        assert.match((await signsIn()).userId, /^[0-9a-f-]{36}$/);
      } finally {
        idp.configure("");
        await change(USUAL);
      }
    });

  it("signs people out there when they sign out here, and it answers", async () => {
    const { visitor, session } = await signsIn();
    await visitor.open(`${home.issuer}/session/end`);
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.submit({ xsrf, logout: "yes" }, `${home.issuer}/session/end/confirm`);
    assert.equal(visitor.page, "signed-out", visitor.html);
    assert.notEqual((await session()).endedAt, null);
    // It asks for the password again, so its own session is gone.
    await visitor.open(home.issuer + app.authorization());
    await visitor.open(
      `${home.issuer}${/href="([^"]*\/federation\/acme)"/.exec(visitor.html)?.[1]}`,
    );
    assert.match(visitor.html, /name="password"/);
  });

  it("signs people out here when they sign out there, and answers", async () => {
    const { visitor, session } = await signsIn();
    const back = encodeURIComponent(idp.base);
    await visitor.open(`${idp.base}saml2/idp/SingleLogoutService.php?ReturnTo=${back}`);
    assert.equal((await session()).endReason, "upstream_logout");
    assert.equal(new URL(visitor.url).origin, new URL(idp.base).origin, visitor.html);
    assert.doesNotMatch(visitor.html, /error report|UNHANDLEDEXCEPTION/i);
  });
});
