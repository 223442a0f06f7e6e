import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { FederationTrace } from "../../src/models/federation-trace.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { SamlConnection } from "../../src/models/saml-connection.ts";
import { connectionTo } from "../support/counterparts.ts";
import { aConnection, posted, response, assertion } from "../support/saml.ts";
import { aServer, type TestServer } from "../support/server.ts";
import { Upstream } from "../support/upstream.ts";

/** What nobody has to have signed in for, sent by whoever likes to. */
describe("messages of identity providers that anybody may send (T-104)", () => {
  let server: TestServer;
  let upstream: Upstream;
  let networks = 0;

  before(async () => {
    server = await aServer({ TRUSTED_PROXIES: "1" });
    upstream = await Upstream.start();
    const { knex } = server.database;
    const { saml, ...row } = await aConnection(server.deps.seal, {
      provider: { id: randomUUID(), slug: "saml" },
      saml: { allowIdpInitiated: true },
    });
    await IdentityProvider.query(knex).insert(row);
    await SamlConnection.query(knex).insert({ ...saml, updatedAt: new Date() });
    await IdentityProvider.query(knex).insert(
      connectionTo(upstream, server.deps.seal, { slug: "openid" }),
    );
  });
  after(async () => {
    await server.stop();
    await upstream.stop();
  });

  const newNetwork = (): string => `198.18.${(networks += 1)}.7`;
  const send = async (path: string, fields: Record<string, string>, network: string) =>
    fetch(`${server.issuer}/federation/${path}`, {
      method: "POST",
      redirect: "manual",
      headers: { "x-forwarded-for": network, accept: "text/html" },
      body: new URLSearchParams(fields),
    });
  const junk = { SAMLRequest: posted("<a/>") };
  const noted = async () => {
    const { knex } = server.database;
    const audited = AuditEvent.query(knex).where({ type: "federation.failed" });
    return [await FederationTrace.query(knex).resultSize(), await audited.resultSize()];
  };

  for (const [path, fields] of [
    ["saml/slo", junk],
    ["saml/acs", { SAMLResponse: posted("<a/>") }],
    ["openid/backchannel-logout", { logout_token: "x" }],
  ] as const)
    it(`to /${path} are looked at until thirty of a network have proved nothing in a minute`, async () => {
      const network = newNetwork();
      for (let sent = 0; sent < 30; sent += 1)
        assert.equal((await send(path, fields, network)).status, 400);
      const stopped = await send(path, fields, network);
      assert.equal(stopped.status, 429);
      const wait = Number(stopped.headers.get("retry-after"));
      assert.ok(wait > 0 && wait <= 60, String(wait));
      assert.equal((await send(path, fields, newNetwork())).status, 400, "others are heard");
    });

  it("leave no more behind than thirty notes of each network, however many come at once", async () => {
    const network = newNetwork();
    const [traces = 0, events = 0] = await noted();
    await Promise.all(Array.from({ length: 45 }, () => send("saml/slo", junk, network)));
    assert.deepEqual(await noted(), [traces + 30, events + 30]);
  });

  it("are not counted where they may begin a sign-in", async () => {
    const network = newNetwork();
    const unasked = posted(response(assertion(), { inResponseTo: undefined }));
    for (let sent = 0; sent < 35; sent += 1)
      assert.equal((await send("saml/acs", { SAMLResponse: unasked }, network)).status, 303);
  });
});
