import assert from "node:assert/strict";
import { inflateRawSync } from "node:zlib";
import { decodeJwt } from "jose";
import { Identity } from "../../../src/models/identity.ts";
import { IdentityProvider } from "../../../src/models/identity-provider.ts";
import { SamlConnection } from "../../../src/models/saml-connection.ts";
import { Session } from "../../../src/models/session.ts";
import { json, RelyingParty } from "../../support/rp.ts";
import {
  aConnection,
  assertion,
  audience,
  conditions,
  confirmation,
  nameId,
  posted,
  response,
  signed,
  statement,
} from "../../support/saml.ts";
import { aClient, aServer, type TestServer } from "../../support/server.ts";
import { Visitor } from "../../support/visitor.ts";

/** The whole server, with a SAML identity provider that is a pair of hands. */
describe("signing in at a SAML identity provider", () => {
  let home: TestServer;
  let app: RelyingParty;
  let provider: IdentityProvider;
  let site: { acs: string; metadata: string; slo: string };
  before(async () => {
    home = await aServer();
    const here = `${home.issuer}/federation/acme`;
    site = { acs: `${here}/acs`, metadata: `${here}/metadata`, slo: `${here}/slo` };
    const { saml, ...row } = await aConnection(home.deps.seal);
    const { knex } = home.database;
    provider = await IdentityProvider.query(knex).insertAndFetch(row);
    await SamlConnection.query(knex).insert({ ...saml, updatedAt: new Date() });
    app = new RelyingParty(home, await aClient(home, { first_party: true }));
  });
  after(() => home.stop());

  /** Somebody who has pressed the button, and what the provider was asked. */
  const leaves = async () => {
    const visitor = await new Visitor().open(home.issuer + app.authorization());
    const href = /href="([^"]*\/federation\/acme)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.open(home.issuer + href);
    const to = new URL(visitor.location ?? "");
    const request = inflateRawSync(
      Buffer.from(to.searchParams.get("SAMLRequest") ?? "", "base64"),
    ).toString();
    return {
      visitor,
      relayState: to.searchParams.get("RelayState") ?? "",
      requestId: / ID="([^"]+)"/.exec(request)?.[1] ?? "",
    };
  };

  const answerTo = async (requestId: string, name = "ada-0001", more = 'SessionIndex="_s1"') => {
    const inside = await signed(
      assertion({
        nameId: nameId(name),
        conditions: conditions(audience(site.metadata)),
        confirmations: confirmation({ recipient: site.acs, inResponseTo: requestId }),
        statements: statement({ more }),
      }),
      "Assertion",
    );
    return posted(response(inside, { destination: site.acs, inResponseTo: requestId }));
  };

  /** What a browser sends when a page of the provider posts a form: another site's. */
  const posts = async (visitor: Visitor, fields: Record<string, string>, to = site.acs) =>
    visitor.submit(fields, to, { origin: "https://idp.example", "sec-fetch-site": "cross-site" });

  const signsIn = async (name: string, more?: string) => {
    const { visitor, relayState: RelayState, requestId } = await leaves();
    await posts(visitor, { SAMLResponse: await answerTo(requestId, name, more), RelayState });
    const code = new URL(visitor.location ?? "").searchParams.get("code") ?? visitor.page;
    const { id_token: idToken } = json(await app.redeem(code ?? ""));
    return { visitor, claims: decodeJwt(String(idToken)) };
  };

  it("leads through the ACS to the app", async () => {
    const { claims } = await signsIn("ada-0001");
    const identity = await Identity.query(home.database.knex).findOne({ subject: "ada-0001" });
    assert.equal(claims.sub, identity?.userId);
    assert.deepEqual(claims["amr"], ["fed"]);
    const again = await signsIn("ada-0001");
    assert.equal(again.claims.sub, claims.sub);
  });

  it("takes no answer from another browser, or for another request (T-102)", async () => {
    const { visitor, relayState: RelayState, requestId } = await leaves();
    const SAMLResponse = await answerTo(requestId);
    const thief = await posts(new Visitor(), { SAMLResponse, RelayState });
    assert.equal(thief.page, "federation-error");
    const other = await leaves();
    await posts(other.visitor, { SAMLResponse, RelayState: other.relayState });
    assert.equal(other.visitor.page, "federation-error");
    assert.match(other.visitor.html, /data-reason="invalid"/);
    await posts(visitor, { SAMLResponse, RelayState });
    assert.match(visitor.location ?? "", /code=/, "it was not spent by them");
  });

  it("takes no answer that nobody asked for, unless it may begin a sign-in, which it ends by itself never (T-103)", async () => {
    const SAMLResponse = await answerTo("_nothing");
    const { knex } = home.database;
    assert.equal((await posts(new Visitor(), { SAMLResponse })).page, "federation-error");
    await SamlConnection.query(knex).patch({ allowIdpInitiated: true, updatedAt: new Date() });
    try {
      const unasked = await signed(
        assertion({
          nameId: nameId("eve"),
          conditions: conditions(audience(site.metadata)),
          confirmations: confirmation({ recipient: site.acs, inResponseTo: null }),
        }),
        "Assertion",
      );
      const visitor = new Visitor();
      await posts(visitor, {
        SAMLResponse: posted(response(unasked, { destination: site.acs, inResponseTo: undefined })),
        RelayState: "https://evil.example/",
      });
      assert.equal(new URL(visitor.location ?? "").origin, "https://idp.example");
      assert.equal(await Identity.query(knex).findOne({ subject: "eve" }), undefined);
    } finally {
      await SamlConnection.query(knex).patch({ allowIdpInitiated: false, updatedAt: new Date() });
    }
  });

  it("ends our session when the assertion says so (SessionNotOnOrAfter, SAML Core §2.7.2)", async () => {
    const until = new Date(Date.now() + 600_000).toISOString().replace(/\.\d+Z$/, "Z");
    const { claims } = await signsIn("bea", `SessionIndex="_s2" SessionNotOnOrAfter="${until}"`);
    const userId = String(claims.sub);
    const session = await Session.query(home.database.knex).findOne({ userId }).throwIfNotFound();
    assert(session.expiresAt.getTime() <= Date.parse(until));
  });

  it("describes us", async () => {
    const answer = await fetch(site.metadata);
    assert.equal(answer.headers.get("content-type"), "application/samlmetadata+xml");
    assert.match(await answer.text(), new RegExp(`Location="${site.acs}"`));
    assert.equal(provider.slug, "acme");
  });
});
